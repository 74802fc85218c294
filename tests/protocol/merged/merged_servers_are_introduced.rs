//! Additions of the merged endpoint to its servers: their instructions under their names, and advice to the
//! operator.

use std::io;
use std::net::TcpStream;
use std::sync::Mutex;

use airlock_tests::Setup;
use airlock_tests::airlock::{POLICY, run, until};
use airlock_tests::little::{Book, Little, Seen, write, write_json};
use airlock_tests::mcp::{Session, modern, tool_names};
use serde_json::{Value, json};

fn answer(seen: &Seen, stream: &mut TcpStream, _: &Mutex<Book>) -> io::Result<()> {
    let tool = |name: &str| json!({"name": name, "inputSchema": {"type": "object"}});
    let mut result = match seen.rpc() {
        "server/discover" => json!({"supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}},
            "instructions": "Ask \"first\".\n"}),
        "tools/list" => json!({"tools": [tool("good"), tool("a.b"), tool(&"x".repeat(60))]}),
        other => panic!("an unexpected request: {other}"),
    };
    result["resultType"] = json!("complete");
    result["ttlMs"] = json!(0);
    result["cacheScope"] = json!("public");
    write_json(stream, &seen.result(&result))
}

#[test]
fn instructions_are_joined_and_names_that_do_not_fit_are_told() {
    let little = Little::start(answer);
    let upstreams = little.entry("one").to_string()
        + &little.entry("two").with("allow_tools", json!(["good", "gone"])).to_string();
    let folder = tempfile::tempdir().expect("a folder");
    let socket = folder.path().join("admin.sock").display().to_string();
    let airlock = Setup { upstreams, ..Setup::default() }.observability("admin_listen", &socket).start();
    let token = airlock.user();
    let wanted = "# one\n\n> Ask \"first\".\n\n# two\n\n> Ask \"first\".";
    let discovered =
        airlock.send(&modern("/mcp", 1, "server/discover", &Value::Null).bearer(&token)).answer();
    assert_eq!(discovered["result"]["instructions"], wanted, "{discovered}");
    let session = Session::open(airlock.address(), "/mcp", &token).expect("a session");
    assert_eq!(session.initialized["instructions"], wanted);

    let listed = airlock.send(&modern("/mcp", 1, "tools/list", &Value::Null).bearer(&token)).answer();
    assert_eq!(tool_names(&listed["result"]).len(), 4, "{listed}");
    let (_, status, errors) = run(&["status", "--json", "--socket", &socket]);
    let status: Value = serde_json::from_str(&status).unwrap_or_else(|error| panic!("{error}: {errors}"));
    let warnings = status["warnings"].to_string();
    assert!(
        warnings.contains("upstream one: APIs of models refuse the names of 2 of its tools"),
        "{warnings}"
    );
    assert!(warnings.contains("`a.b`, `xxxx"), "{warnings}");
    assert!(
        warnings.contains("upstream two: 1 of its `allow_tools` are no tools that it lists"),
        "{warnings}"
    );
    assert!(warnings.contains("`gone`") && !warnings.contains("`good`"), "{warnings}");
}

/// A server of both eras that breaks off the first `initialize` and answers each later one.
fn answer_of_both(seen: &Seen, stream: &mut TcpStream, book: &Mutex<Book>) -> io::Result<()> {
    let result = match seen.rpc() {
        "server/discover" => json!({"resultType": "complete", "ttlMs": 0, "cacheScope": "public",
            "supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}}}),
        "initialize" => {
            let asked = book
                .lock()
                .map_or(0, |book| book.seen.iter().filter(|one| one.rpc() == "initialize").count());
            if asked < 2 {
                return Err(io::ErrorKind::ConnectionAborted.into());
            }
            json!({"protocolVersion": "2025-11-25", "serverInfo": {"name": "both", "version": "1"},
                "capabilities": {"tools": {}, "prompts": {}}})
        }
        _ => return write(stream, "202 Accepted", "", ""),
    };
    write_json(stream, &seen.result(&result))
}

#[test]
fn a_server_that_broke_off_once_is_asked_again_for_the_legacy_era() {
    let little = Little::start(answer_of_both);
    let airlock = Setup { upstreams: little.entry("both").to_string(), ..Setup::default() }.start();
    let token = airlock.user();
    let learnt = until(|| {
        let session = Session::open(airlock.address(), "/mcp/both", &token).expect("a session");
        session.initialized["capabilities"]["prompts"].is_object().then_some(())
    });
    assert!(learnt.is_some(), "{}", airlock.log());
    assert!(little.asked("initialize").len() >= 2);
}

#[test]
fn nothing_reaches_a_server_for_who_may_not_use_it() {
    let (open, closed) = (Little::start(answer_of_one), Little::start(answer_of_one));
    let policy = POLICY.to_owned()
        + "\ndeny contains {\"rule_id\": \"closed\", \"reason\": \"not for you\"} if {\n    input.call.upstream == \"closed\"\n    not \"mcp.operators\" in input.subject.groups\n}\n";
    let upstreams = open.entry("open").to_string() + &closed.entry("closed").to_string();
    let airlock = Setup { upstreams, policy, ..Setup::default() }.start();
    let initialize = |token: &str, path: &str| {
        Session::open(airlock.address(), path, token).expect("a session");
        (open.asked("initialize").len(), closed.asked("initialize").len())
    };
    let user = airlock.user();
    assert_eq!(initialize(&user, "/mcp"), (1, 0));
    assert_eq!(initialize(&user, "/mcp/closed"), (1, 0));
    let operator = airlock.token("olga", "acme", &["mcp.users", "mcp.operators"]);
    assert_eq!(initialize(&operator, "/mcp"), (1, 1), "it is asked for who may use it");
}

/// A server of the modern era alone.
fn answer_of_one(seen: &Seen, stream: &mut TcpStream, book: &Mutex<Book>) -> io::Result<()> {
    match seen.rpc() {
        "initialize" => write_json(stream, &seen.no_such_method()),
        _ => answer(seen, stream, book),
    }
}
