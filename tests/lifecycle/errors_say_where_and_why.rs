//! Whatever is wrong, the error says where, why and what to do.

use std::net::TcpListener;

use airlock_tests::airlock::{docs_upstream, free_address, run, start_in, stdio_upstream, until};
use airlock_tests::http::Request;
use airlock_tests::mcp::{modern, modern_call, text, tool_names};
use airlock_tests::{Airlock, Setup, Upstream, skip, tools};
use serde_json::{Value, json};

/// The verdict of `airlock check` on a whole configuration text.
fn check(yaml: &str) -> (bool, String) {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("airlock.yaml");
    std::fs::write(&file, yaml).expect("ours");
    let (well, out, err) = run(&["check", "--config", &file.display().to_string()]);
    (well, out + &err)
}

/// Starts a setup that cannot work; gives what it said.
fn refused(setup: &Setup) -> String {
    match setup.try_start() {
        Ok(airlock) => panic!("it started:\n{}", airlock.log()),
        Err(failed) => {
            let status =
                failed.status.unwrap_or_else(|| panic!("it neither started nor ended:\n{}", failed.log));
            assert!(!status.success(), "{}", failed.log);
            assert!(!failed.log.contains("panicked"), "{}", failed.log);
            failed.log
        }
    }
}

/// The example server and one that misbehaves.
fn with_bad_server(mode: &str) -> Airlock {
    let bad = tools::built("bad-server").display().to_string();
    let upstreams =
        docs_upstream() + &Upstream::stdio("bad", &[&bad, mode]).with("timeout", "1s").to_string();
    Setup { upstreams, ..Setup::default() }.start()
}

/// Calls the tool of the bad server: the error answer, checked for its shape, and that the good server still
/// works.
fn call_fails(airlock: &Airlock, tool: &str) -> Value {
    let token = airlock.user();
    let response = airlock.send(&modern_call("/mcp/bad", 9, tool, &json!({})).bearer(&token));
    assert!(
        [502, 504].contains(&response.status),
        "HTTP {}: {}\n{}",
        response.status,
        response.text(),
        airlock.log()
    );
    let answer = response.answer();
    assert_eq!(answer["id"], json!(9), "{answer}");
    let data = &answer["error"]["data"];
    assert!(data["reason"].as_str().is_some_and(|reason| !reason.is_empty()), "{answer}");
    assert!(data["correlation_id"].is_string(), "{answer}");
    // The server's program and path are nothing for the client; the operator finds them in the log.
    assert!(!answer.to_string().contains("bad-server"), "{answer}");
    let logged = until(|| airlock.log().contains("bad").then_some(()));
    assert!(logged.is_some(), "the log does not name the upstream:\n{}", airlock.log());

    let good = modern_call("/mcp/docs", 1, "search_docs", &json!({"query": "roll back"})).bearer(&token);
    assert!(text(&airlock.send(&good).answer()["result"]).contains("deployment.md"));
    let merged = airlock.send(&modern("/mcp", 1, "tools/list", &Value::Null).bearer(&token)).answer();
    let names = tool_names(&merged["result"]);
    assert!(names.contains(&"docs__search_docs".to_owned()), "one bad server empties the list: {merged}");
    answer
}

#[test]
fn broken_yaml_is_shown_with_line_and_column() {
    let (well, told) = check("server:\n  listen: [\"127.0.0.1:8080\"\npolicy: {}\n");
    assert!(!well);
    assert!(told.contains("airlock.yaml:"), "{told}");
    let place = told.split("airlock.yaml:").nth(1).and_then(|rest| rest.lines().next()).unwrap_or_default();
    let (line, column) = place.split_once(':').unwrap_or_default();
    assert!(line.parse::<u32>().is_ok() && column.parse::<u32>().is_ok(), "{told}");
    assert!(told.contains("policy: {}"), "the line itself is not shown: {told}");
}

#[test]
fn all_mistakes_come_at_once_and_a_wrong_key_gets_a_suggestion() {
    let (well, told) = check(
        "server:\n  lisen: [\"127.0.0.1:8080\"]\n  max_request_bytes: many\nkernel:\n  mode: sometimes\nupstreams:\n  - {name: docs, type: stdio}\n",
    );
    assert!(!well);
    for expected in ["lisen", "listen", "many", "sometimes", ":2:", ":3:", ":5:"] {
        assert!(told.contains(expected), "{expected} is missing:\n{told}");
    }
}

#[test]
fn a_configuration_that_is_not_there_or_unreadable() {
    let (well, _, told) = run(&["serve", "--config", "/nowhere/airlock.yaml"]);
    assert!(!well && told.contains("/nowhere/airlock.yaml"), "{told}");
    let (well, told) = check("\u{0}\u{1}");
    assert!(!well && !told.contains("panicked"), "{told}");
}

#[test]
fn a_policy_that_cannot_be_read() {
    let dir = Setup::default().write().expect("a directory");
    std::fs::remove_dir_all(dir.path().join("policies")).expect("ours");
    let shown = dir.path().join("policies").display().to_string();
    let failed = start_in(dir).expect_err("it started without a policy");
    assert!(
        failed.status.is_some_and(|status| !status.success()) && failed.log.contains(&shown),
        "{}",
        failed.log
    );
}

#[test]
fn a_server_command_that_does_not_exist_is_named() {
    let upstreams = docs_upstream() + &stdio_upstream("gone", &["/nowhere/mcp-server"]);
    match (Setup { upstreams, ..Setup::default() }).try_start() {
        Err(failed) => assert!(failed.log.contains("/nowhere/mcp-server"), "{}", failed.log),
        // A server that may be installed later need not keep the others from working.
        Ok(airlock) => {
            let token = airlock.user();
            let response = airlock.send(&modern_call("/mcp/gone", 1, "any", &json!({})).bearer(&token));
            assert_eq!(response.status, 502, "{}", response.text());
            assert!(!response.text().contains("/nowhere"), "a path leaks: {}", response.text());
            assert!(airlock.logs("/nowhere/mcp-server"), "{}", airlock.log());
        }
    }
}

#[test]
fn a_port_that_is_taken_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let setup = Setup { listen: vec![address.clone()], ..Setup::default() };
    let failed = setup.try_start().expect_err("it started on a port that is taken");
    assert!(failed.status.is_some_and(|status| !status.success()), "{}", failed.log);
    assert!(failed.log.contains(&address) && failed.log.contains("in use"), "{}", failed.log);
}

#[test]
fn missing_privileges_are_named_with_the_remedy() {
    let nobody = 65_534;
    let setup = Setup { kernel: "required".to_owned(), ..Setup::default() };
    if tools::is_root() && !others_may_run(&tools::airlock()) {
        return skip("the built program lies where only root may look");
    }
    let told = refused(&Setup { user: tools::is_root().then_some(nobody), ..setup });
    let remedy = ["root", "CAP_", "kernel.mode"].iter().any(|word| told.contains(word));
    assert!(remedy, "{told}");
}

/// True where every directory on the way lets everybody through.
fn others_may_run(path: &std::path::Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    let open =
        |path: &std::path::Path| path.metadata().is_ok_and(|found| found.permissions().mode() & 1 == 1);
    path.ancestors().filter(|path| !path.as_os_str().is_empty()).all(open)
}

#[test]
fn an_issuer_that_does_not_answer_is_named_and_nobody_comes_in() {
    let issuer = format!("http://{}", free_address().expect("a port"));
    let setup = Setup { only_listening: true, ..Setup::default() };
    let airlock = setup.issuers(json!([{"issuer": issuer, "audience": ["http://127.0.0.1/mcp"]}])).start();
    let ready = airlock.send(&Request::get("/ready"));
    assert_eq!(ready.status, 503, "{}", ready.text());
    assert_eq!(airlock.send(&Request::get("/live")).status, 200);
    let named = until(|| airlock.log().contains(&issuer).then_some(()));
    assert!(named.is_some(), "the log does not name the issuer:\n{}", airlock.log());

    let other = Setup::default().start();
    let token = other.user();
    let response = airlock.send(&modern("/mcp/docs", 1, "tools/list", &Value::Null).bearer(&token));
    assert_eq!(response.status, 401, "{}", response.text());
}

#[test]
fn a_server_that_prints_rubbish() {
    call_fails(&with_bad_server("--rubbish"), "break");
}

#[test]
fn a_server_that_exits_at_once() {
    call_fails(&with_bad_server("--exit"), "break");
}

#[test]
fn a_server_that_never_answers() {
    let airlock = with_bad_server("--silent");
    call_fails(&airlock, "break");
}

#[test]
fn a_server_that_dies_when_it_is_called_is_started_again() {
    let airlock = with_bad_server("--crash-on-call");
    call_fails(&airlock, "break");
    let token = airlock.user();
    let listed = || airlock.send(&modern("/mcp/bad", 1, "tools/list", &Value::Null).bearer(&token)).answer();
    let again = until(|| (tool_names(&listed()["result"]) == ["break"]).then_some(()));
    assert!(again.is_some(), "{}\n{}", listed(), airlock.log());
}

#[test]
fn a_server_whose_answer_is_larger_than_allowed() {
    call_fails(&with_bad_server("--huge"), "break");
}

#[test]
fn an_answer_to_a_question_nobody_asked_is_ignored() {
    let airlock = with_bad_server("--stranger");
    let token = airlock.user();
    for _ in 0..3 {
        let answer = airlock.send(&modern_call("/mcp/bad", 4, "break", &json!({})).bearer(&token)).answer();
        assert_eq!((text(&answer["result"]), &answer["id"]), ("xx", &json!(4)), "{answer}");
    }
}
