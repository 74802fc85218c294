//! Every call can be read afterwards, and nobody can change what is read.

use std::path::PathBuf;

use airlock_tests::airlock::run;
use airlock_tests::mcp::modern_call;
use airlock_tests::{Airlock, Setup};
use serde_json::{Value, json};

fn call(airlock: &Airlock, token: &str, tool: &str) -> Value {
    let arguments = json!({"query": "timeline of the review", "address": "127.0.0.1:9"});
    airlock.send(&modern_call("/mcp/docs", 1, tool, &arguments).bearer(token)).answer()
}

fn verify(airlock: &Airlock) -> (bool, String) {
    let (well, out, err) =
        run(&["audit", "verify", "--dir", &airlock.dir().join("audit").display().to_string()]);
    (well, out + &err)
}

fn segments(airlock: &Airlock) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(airlock.dir().join("audit")).expect("the audit directory");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let mut paths: Vec<PathBuf> =
        paths.filter(|path| path.extension().is_some_and(|e| e == "jsonl")).collect();
    paths.sort();
    paths
}

#[test]
fn calls_and_refusals_are_recorded_without_what_they_carried() {
    let mut airlock = Setup::default().start();
    let token = airlock.user();
    call(&airlock, &token, "search_docs");
    let refused = call(&airlock, &token, "phone_home");
    let correlation = refused["error"]["data"]["correlation_id"].clone();
    assert!(correlation.is_string(), "{refused}");

    let denied =
        airlock.audited(|record| record["correlation_id"] == correlation && record["decision"] == "deny");
    for (field, value) in [
        ("subject", "alice"),
        ("tenant", "acme"),
        ("upstream", "docs"),
        ("method", "tools/call"),
        ("target", "phone_home"),
        ("rule_id", "no_phone_home"),
        ("stage", "authorize"),
    ] {
        assert_eq!(denied[field], json!(value), "{denied}");
    }
    let allowed =
        airlock.audited(|record| record["target"] == "search_docs" && record["decision"] == "allow");
    assert_eq!(allowed["subject"], json!("alice"));
    for field in ["seq", "time", "prev", "event", "correlation_id"] {
        assert!(!allowed[field].is_null(), "{field} is missing: {allowed}");
    }

    // A client without a token is recorded as well.
    let nobody = airlock.send(&modern_call("/mcp/docs", 1, "search_docs", &json!({})));
    assert_eq!(nobody.status, 401);
    airlock.audited(|record| record["status"] == json!(401));

    assert!(airlock.stop().success(), "{}", airlock.log());
    let text: String =
        segments(&airlock).iter().map(|path| std::fs::read_to_string(path).expect("a segment")).collect();
    assert!(!text.contains("timeline"), "an argument is in the log");
    assert!(!text.contains(&token) && !text.contains(&token[token.len() - 20..]), "a token is in the log");
    assert!(!airlock.log().contains(&token[token.len() - 20..]), "a token is in the daemon's log");
}

#[test]
fn an_untouched_log_verifies_also_across_restarts_and_a_touched_one_does_not() {
    let mut airlock = Setup::default().start();
    let token = airlock.user();
    for _ in 0..5 {
        call(&airlock, &token, "search_docs");
        call(&airlock, &token, "phone_home");
    }
    airlock.audited(|record| record["decision"] == "deny");
    let (well, told) = verify(&airlock);
    assert!(well, "a log that is being written: {told}");
    assert!(airlock.stop().success());
    let (well, told) = verify(&airlock);
    assert!(well, "{told}");

    let path = segments(&airlock).first().expect("a segment").clone();
    let original = std::fs::read_to_string(&path).expect("a segment");
    let lines: Vec<&str> = original.lines().collect();
    assert!(lines.len() >= 10, "{original}");
    let join = |lines: &[&str]| lines.join("\n") + "\n";

    let changed = original.replacen("\"alice\"", "\"alicf\"", 1);
    let removed = join(&[&lines[..4], &lines[5..]].concat());
    let mut swapped = lines.clone();
    swapped.swap(3, 4);
    let cut = original[..original.len() - 10].to_owned();
    for (what, text) in
        [("changed", changed), ("removed", removed), ("swapped", join(&swapped)), ("cut", cut)]
    {
        assert_ne!(text, original);
        std::fs::write(&path, &text).expect("root or owner may write");
        let (well, told) = verify(&airlock);
        assert!(!well, "a line was {what} and nobody noticed: {told}");
        assert!(!told.trim().is_empty());
    }
    std::fs::write(&path, &original).expect("root or owner may write");
    assert!(verify(&airlock).0);
}

#[test]
fn a_directory_without_a_log_does_not_verify() {
    let dir = tempfile::tempdir().expect("a directory");
    let missing = dir.path().join("missing").display().to_string();
    let (well, _, told) = run(&["audit", "verify", "--dir", &missing]);
    assert!(!well && told.contains("missing"), "{told}");
}
