//! The story that `cargo xtask demo` tells: one door, one server behind it, and what may and may not pass.
//! Every step is checked; the first that differs from the story ends it with an error.

use std::io::{BufRead as _, Write as _};
use std::net::TcpListener;
use std::process::ExitCode;

use airlock_tests::airlock::{Airlock, run, until};
use airlock_tests::http::Request;
use airlock_tests::mcp::{Session, modern, modern_call, text, tool_names};
use airlock_tests::{Setup, tools};
use serde_json::{Value, json};

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args.iter().any(|arg| arg != "--keep") {
        eprintln!("usage: demo-story [--keep]");
        return ExitCode::from(2);
    }
    match story(!args.is_empty()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\nThe story went differently: {error}");
            ExitCode::FAILURE
        }
    }
}

fn story(keep: bool) -> Result<(), String> {
    let (airlock, pinned) = start()?;
    say(
        "1",
        &format!("Airlock listens on http://{}, with one MCP server behind it: docs.", airlock.address()),
    );
    let info = airlock.send(&Request::get("/info").bearer(&airlock.user())).text();
    note(&info);

    let alice = airlock.user();
    allowed(&airlock, &alice)?;
    refused(&airlock, &alice)?;
    redacted(&airlock, &alice)?;
    phone_home(&airlock, pinned)?;
    audited(&airlock)?;

    say("8", "Now your own client. Any MCP client that speaks Streamable HTTP will do:");
    note(&format!("url     http://{}/mcp", airlock.address()));
    note("header  Authorization: Bearer TOKEN");
    note(&format!(
        "token   {} token --config {} --subject you --tenant acme --group mcp.users",
        tools::airlock().display(),
        airlock.config().display()
    ));
    if keep {
        stay(&airlock);
    } else {
        note("`cargo xtask demo --keep` leaves all this running.");
    }
    Ok(())
}

/// With the kernel half where the host has one, otherwise without, and says so.
fn start() -> Result<(Airlock, bool), String> {
    let setup = |kernel: &str| Setup {
        kernel: kernel.to_owned(),
        log: "info".to_owned(),
        shipped_policy: true,
        ..Setup::default()
    };
    let first = match setup("required").try_start() {
        Ok(airlock) => return Ok((airlock, true)),
        Err(failed) => failed.log,
    };
    println!("This host gives no kernel half, so the server will not be pinned:");
    note(first.lines().last().unwrap_or("no reason was given"));
    match setup("preferred").try_start() {
        Ok(airlock) => Ok((airlock, false)),
        Err(failed) => Err(format!("airlock does not start: {}", failed.log)),
    }
}

fn allowed(airlock: &Airlock, token: &str) -> Result<(), String> {
    say("2", "Alice, a member of mcp.users, lists the tools and searches the documents.");
    let listed = airlock.send(&modern("/mcp", 1, "tools/list", &Value::Null).bearer(token));
    let names = tool_names(&listed.answer()["result"]);
    note(&format!("tools/list shows {}", names.join(", ")));
    expect(names.iter().any(|name| name == "docs__search_docs"), "docs__search_docs is not listed")?;
    expect(!names.iter().any(|name| name == "docs__phone_home"), "docs__phone_home is listed")?;

    let call = modern_call("/mcp", 2, "docs__search_docs", &json!({"query": "roll back"})).bearer(token);
    let response = airlock.send(&call);
    let answer = response.answer();
    note(&format!(
        "docs__search_docs \"roll back\" -> HTTP {}: {}",
        response.status,
        text(&answer["result"])
    ));
    expect(response.status == 200 && text(&answer["result"]).contains("deployment.md"), &response.text())?;

    let mut session = Session::open(airlock.address(), "/mcp/docs", token)?;
    let found = session.call("search_docs", &json!({"query": "incident lead"}))?;
    note(&format!("the same for a client of the older protocol, {}: {}", session.revision, text(&found)));
    expect(text(&found).contains("incident-runbook.md"), &found.to_string())
}

fn refused(airlock: &Airlock, token: &str) -> Result<(), String> {
    say("3", "Somebody without a token is sent to the identity provider.");
    let response = airlock.send(&modern_call("/mcp", 3, "docs__search_docs", &json!({"query": "x"})));
    let challenge = response.header("www-authenticate").unwrap_or_default();
    note(&format!("HTTP {}, WWW-Authenticate: {challenge}", response.status));
    expect(response.status == 401 && challenge.contains("resource_metadata="), &response.text())?;

    say("4", "Alice calls a tool that the policy keeps for operators.");
    let call = modern_call("/mcp", 4, "docs__phone_home", &json!({"address": "127.0.0.1:9"})).bearer(token);
    let response = airlock.send(&call);
    let data = response.answer()["error"]["data"].clone();
    note(&format!(
        "HTTP {}, rule {}, reason {}, correlation id {}",
        response.status, data["rule_id"], data["reason"], data["correlation_id"]
    ));
    expect(response.status == 403 && data["rule_id"] == "default", &response.text())
}

fn redacted(airlock: &Airlock, token: &str) -> Result<(), String> {
    say("5", "A document has a card and a key in it, and Alice sends a card herself. Neither arrives.");
    let call = modern_call("/mcp", 6, "docs__search_docs", &json!({"query": "emergency"})).bearer(token);
    let answer = airlock.send(&call).answer();
    let found = text(&answer["result"]);
    note(found);
    let is_clean = found.contains("[redacted:card]") && found.contains("[redacted:github-token]");
    expect(is_clean && !found.contains("4111") && !found.contains("318wPf"), &answer.to_string())?;

    let query = json!({"query": "4111 1111 1111 1111"});
    let answer = airlock.send(&modern_call("/mcp", 7, "docs__search_docs", &query).bearer(token)).answer();
    let heard = text(&answer["result"]);
    note(&format!("the server was asked for the card, and says: {heard}"));
    expect(heard.contains("[redacted:card]") && !heard.contains("4111"), &answer.to_string())
}

fn phone_home(airlock: &Airlock, pinned: bool) -> Result<(), String> {
    say(
        "6",
        "Oscar, an operator, may. So the server tries to leave its cage, to a port that really is open.",
    );
    let door = TcpListener::bind("127.0.0.1:0").map_err(|error| error.to_string())?;
    door.set_nonblocking(true).map_err(|error| error.to_string())?;
    let address = door.local_addr().map_err(|error| error.to_string())?.to_string();
    let oscar = airlock.token("oscar", "acme", &["mcp.users", "mcp.admins"]);
    let call = modern_call("/mcp", 5, "docs__phone_home", &json!({"address": address})).bearer(&oscar);
    let response = airlock.send(&call);
    let answer = response.answer();
    let told = text(&answer["result"]);
    told.lines().for_each(note);
    expect(response.status == 200 && told.contains(&address), &response.text())?;
    if !pinned {
        note("This host cannot pin the server (see above): what it reached, it reached.");
        return Ok(());
    }
    let stopped = |line: &str| line.contains("errno 1 ") || line.contains("errno 13 ");
    let network: Vec<&str> = told.lines().filter(|line| !line.starts_with("unix")).collect();
    expect(network.len() == 2 && network.into_iter().all(stopped), "the kernel let the server out")?;
    expect(door.accept().is_err(), "somebody came through the door")?;
    note("The kernel said no, and nobody knocked at the port.");
    Ok(())
}

fn audited(airlock: &Airlock) -> Result<(), String> {
    say("7", "All of it is in the audit log, without a word of what was asked or answered.");
    let records = || {
        let mut records = airlock.audit();
        records.retain(|record| record["method"] == "tools/call" || record["rule_id"] == "kernel.pin");
        records
    };
    // The intent and the outcome of the last call, and the refusal before it; they are written behind the
    // answers.
    let complete = until(|| {
        let records = records();
        let of = |subject: &str, decision: &str| {
            let mine = |record: &&Value| record["subject"] == subject && record["decision"] == decision;
            records.iter().filter(mine).count()
        };
        (of("oscar", "allow") >= 2 && of("alice", "deny") >= 1).then_some(())
    });
    for record in records() {
        let field = |name: &str| record[name].as_str().unwrap_or("-").to_owned();
        note(&format!(
            "{:>4}  {:<14} {:<6} {:<6} {:<12} {:<14} prev {:.16}\u{2026}",
            record["seq"],
            field("event"),
            field("decision"),
            field("subject"),
            field("target"),
            field("rule_id"),
            field("prev")
        ));
    }
    expect(complete.is_some(), "a record is missing")?;
    let dir = airlock.dir().join("audit").display().to_string();
    let (well, out, err) = run(&["audit", "verify", "--dir", &dir]);
    format!("{out}{err}").lines().for_each(note);
    expect(well, "the chain does not verify")
}

/// Until Enter is pressed, or, without a terminal, until airlock is told to end.
fn stay(airlock: &Airlock) {
    note("It keeps running. Press Enter to end it.");
    let mut line = String::new();
    if std::io::stdin().lock().read_line(&mut line).is_ok_and(|count| count > 0) {
        return;
    }
    let alive = format!("/proc/{}/exe", airlock.pid());
    while std::fs::read_link(&alive).is_ok() {
        std::thread::sleep(std::time::Duration::from_millis(200));
    }
}

fn expect(held: bool, otherwise: &str) -> Result<(), String> {
    if held { Ok(()) } else { Err(otherwise.to_owned()) }
}

fn say(number: &str, sentence: &str) {
    println!("\n{number}. {sentence}");
    let _ = std::io::stdout().flush();
}

fn note(line: &str) {
    println!("   {line}");
}
