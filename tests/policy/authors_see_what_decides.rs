//! The author of a policy sees what tests reach, why a decision is made, and what another policy would
//! change.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use airlock_tests::mcp::modern_call;
use airlock_tests::{Airlock, Setup, tools};
use serde_json::{Value, json};

const POLICY: &str = r#"package airlock.authz

import rego.v1

default allow := false

allow if "mcp.users" in input.subject.groups

rule_id := "members"

deny contains {"rule_id": "no-secrets", "reason": "nobody looks for secrets"} if {
	input.call.method == "tools/call"
	input.call.arguments.query == "secret"
}
"#;

/// The same, but only searching is left.
const NARROWER: &str = r#"
deny contains {"rule_id": "search-only", "reason": "only searching is left"} if {
	input.call.method == "tools/call"
	input.call.tool != "search_docs"
}
"#;

fn policy(args: &[&str]) -> Output {
    Command::new(tools::airlock()).arg("policy").args(args).output().expect("the built airlock")
}

fn text(output: &Output) -> (Option<i32>, String) {
    let both = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
    (output.status.code(), String::from_utf8(both).expect("UTF-8"))
}

/// A directory with one policy and its tests.
fn bundle(policy: &str, tests: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a directory");
    fs::write(dir.path().join("authz.rego"), policy).expect("written");
    if !tests.is_empty() {
        let head = "package airlock.authz_test\n\nimport data.airlock.authz\nimport rego.v1\n\n";
        fs::write(dir.path().join("authz_test.rego"), format!("{head}{tests}\n")).expect("written");
    }
    dir
}

fn shown(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

/// Calls a tool; the status, and the id under which it is on record.
fn call(airlock: &Airlock, tool: &str, arguments: &Value) -> (u16, String) {
    let response = airlock.send(&modern_call("/mcp/docs", 1, tool, arguments).bearer(&airlock.user()));
    let id = response.header("x-correlation-id").expect("an id").to_owned();
    (response.status, id)
}

fn record(airlock: &Airlock, id: &str, event: &str) -> Value {
    airlock.audited(|record| record["correlation_id"] == id && record["event"] == event)
}

#[test]
fn a_failed_test_is_shown_with_the_expression_that_is_not_true() {
    let tests = "test_members if {\n\tauthz.rule_id == \"members\"\n\tauthz.allow with input as {\"subject\": {\"groups\": []}}\n}";
    let dir = bundle(POLICY, tests);
    let (code, told) = text(&policy(&["test", "--path", shown(dir.path())]));
    assert_eq!(code, Some(1), "{told}");
    assert!(told.contains("FAILED  airlock.authz_test.test_members"), "{told}");
    assert!(told.contains("authz_test.rego:6: test_members if {"), "{told}");
    assert!(told.contains("authz_test.rego:8: not true: authz.allow with input as"), "{told}");
    let (code, told) = text(&policy(&["test", "--path", shown(dir.path()), "--json"]));
    let report: Value = serde_json::from_str(&told).expect("JSON");
    assert_eq!((code, &report["tests"][0]["failed_at"]["line"]), (Some(1), &json!(8)), "{told}");
}

#[test]
fn what_no_test_reaches_is_named() {
    let tests = "test_members if authz.allow with input as {\"subject\": {\"groups\": [\"mcp.users\"]}}";
    let dir = bundle(POLICY, tests);
    let path = shown(dir.path());
    let (code, told) = text(&policy(&["test", "--path", path, "--coverage-minimum", "100"]));
    assert_eq!(code, Some(1), "{told}");
    assert!(
        told.contains("no test follows to its end") && told.contains("authz.rego:11: deny contains"),
        "{told}"
    );
    assert!(told.contains("less than 100 %"), "{told}");
    assert_eq!(text(&policy(&["test", "--path", path, "--coverage-minimum", "10"])).0, Some(0));
    let (code, told) = text(&policy(&["test", "--path", path, "--run", "nothing_of_the_kind"]));
    assert_eq!(code, Some(1), "{told}");
}

#[test]
fn the_tests_of_the_shipped_policy_and_of_the_examples_reach_everything() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let examples = fs::read_dir(root.join("docs/examples/policies")).expect("examples");
    let examples: Vec<_> = examples.map(|entry| entry.expect("an entry").path()).collect();
    assert!(examples.len() >= 3, "{examples:?}");
    for path in examples.iter().chain([&root.join("policies")]) {
        let (code, told) = text(&policy(&["test", "--path", shown(path), "--coverage-minimum", "100"]));
        assert_eq!(code, Some(0), "{}: {told}", path.display());
    }
}

#[test]
fn with_on_a_loop_is_refused_because_the_engine_does_not_hear_it() {
    let tests = "test_x if {\n\tsome entry in authz.deny with input as {}\n\tentry.rule_id == \"x\"\n}";
    let (code, told) = text(&policy(&["test", "--path", shown(bundle(POLICY, tests).path())]));
    assert_eq!(code, Some(1), "{told}");
    assert!(told.contains("authz_test.rego:7") && told.contains("bind the collection first"), "{told}");
}

#[test]
fn a_recorded_decision_is_explained_with_the_line_that_decided() {
    let airlock = Setup { policy: POLICY.to_owned(), ..Setup::default() }.start();
    let arguments = json!({"query": "secret"});
    let (status, id) = call(&airlock, "search_docs", &arguments);
    assert_eq!(status, 403);
    record(&airlock, &id, "refusal");
    let (policies, log) = (airlock.dir().join("policies"), airlock.dir().join("audit"));
    let base = ["explain", "--path", shown(&policies), "--correlation-id", &id, "--audit-dir", shown(&log)];

    let (code, told) = text(&policy(&base));
    assert_eq!(code, Some(2), "what is not known is no answer: {told}");
    assert!(told.starts_with("on record: denied at authorize by no-secrets\nundecided: "), "{told}");
    assert!(
        told.contains("the policy reads input.call.arguments, which is not on record: give --arguments"),
        "{told}"
    );

    let file = airlock.dir().join("arguments.json");
    fs::write(&file, arguments.to_string()).expect("written");
    let with = [base.as_slice(), &["--arguments", shown(&file)]].concat();
    let (code, told) = text(&policy(&with));
    assert_eq!(code, Some(1), "{told}");
    assert!(
        told.starts_with("on record: denied at authorize by no-secrets\ndenied by no-secrets: nobody looks"),
        "{told}"
    );
    assert!(told.contains("authz.rego:11: deny contains"), "{told}");
    assert!(!told.contains("not on record") && !told.contains("undecided"), "{told}");
    let (_, json) = text(&policy(&[with.as_slice(), &["--json"]].concat()));
    let explanation: Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(explanation["decided_by"][0]["line"], json!(11), "{json}");
    assert_eq!(explanation["unknown"], json!([]), "{json}");

    fs::write(&file, r#"{"query":"else"}"#).expect("written");
    let (code, told) = text(&policy(&with));
    assert_eq!(code, Some(2), "{told}");
    assert!(told.contains("these are not the arguments of the call"), "{told}");

    let (code, told) = text(&policy(&["explain", "--correlation-id", "0123", "--audit-dir", shown(&log)]));
    assert_eq!(code, Some(2), "{told}");
    assert!(told.contains("no record has the correlation id 0123"), "{told}");
}

#[test]
fn a_record_has_what_the_policy_judged_by_and_no_arguments() {
    let airlock = Setup { policy: POLICY.to_owned(), ..Setup::default() }.start();
    for (query, event) in [("revert", "call.intent"), ("secret", "refusal")] {
        let (_, id) = call(&airlock, "search_docs", &json!({"query": query}));
        let record = record(&airlock, &id, event);
        assert_eq!(record["groups"], json!(["mcp.users"]), "{record}");
        assert_eq!(record["revision"], json!("2026-07-28"), "{record}");
        assert!(record["issuer"].as_str().is_some_and(|issuer| issuer.starts_with("http")), "{record}");
        assert!(record["input_digest"].as_str().is_some_and(|digest| digest.len() == 64), "{record}");
        assert!(!record.to_string().contains(&format!("\"{query}\"")), "{record}");
    }
}

#[test]
fn a_new_policy_is_compared_with_what_was_decided() {
    let airlock = Setup { policy: POLICY.to_owned(), ..Setup::default() }.start();
    let calls = [
        ("search_docs", json!({"query": "revert"}), 200),
        ("search_docs", json!({"query": "secret"}), 403),
        ("read_file", json!({"path": "deployment.md"}), 200),
    ];
    let mut ids = Vec::new();
    for (tool, arguments, wanted) in &calls {
        let (status, id) = call(&airlock, tool, arguments);
        assert_eq!(status, *wanted, "{tool}");
        record(&airlock, &id, if *wanted == 200 { "call.outcome" } else { "refusal" });
        ids.push(id);
    }
    let log = airlock.dir().join("audit");
    let same = bundle(POLICY, "");
    let narrower = bundle(&format!("{POLICY}{NARROWER}"), "");
    let diff = |path: &Path, more: &[&str]| {
        let base = ["diff", "--path", shown(path), "--audit-dir", shown(&log), "--json"];
        let (code, told) = text(&policy(&[base.as_slice(), more].concat()));
        let report: Value = serde_json::from_str(&told).unwrap_or_else(|_| panic!("{told}"));
        let counts =
            ["decisions", "same", "changed", "open"].map(|key| report[key].as_u64().expect("a count"));
        (code, counts, report)
    };
    // The rule about arguments may hold or not: to say that nothing changes would be a
    // guess.
    let (code, counts, report) = diff(same.path(), &[]);
    assert_eq!((code, counts), (Some(0), [3, 0, 0, 3]), "{report}");
    assert_eq!(report["groups"][0]["open"], json!(["call.arguments"]), "{report}");
    // With the policy that was in force it is: the rule is the same.
    let old = ["--against", shown(same.path())];
    let (code, counts, report) = diff(same.path(), &old);
    assert_eq!((code, counts), (Some(0), [3, 3, 0, 0]), "{report}");
    // A denial that holds whatever the arguments were is certain.
    let (code, counts, report) = diff(narrower.path(), &old);
    assert_eq!((code, counts), (Some(1), [3, 2, 1, 0]), "{report}");
    let group = &report["groups"][0];
    assert_eq!(
        (&group["was"], &group["now"], &group["now_rule"], &group["target"], &group["first_correlation_id"]),
        (&json!("allow"), &json!("deny"), &json!("search-only"), &json!("read_file"), &json!(ids[2])),
        "{report}"
    );
    // A policy that never reads arguments leaves nothing open.
    let open = bundle(POLICY.split("deny contains").next().expect("a part"), "");
    let (code, counts, report) = diff(open.path(), &[]);
    assert_eq!((code, counts), (Some(1), [3, 2, 1, 0]), "{report}");
    assert_eq!(
        (&report["groups"][0]["was_rule"], &report["groups"][0]["now"]),
        (&json!("no-secrets"), &json!("allow"))
    );
    let (_, counts, _) = diff(open.path(), &["--since", "2999-01-01T00:00:00Z"]);
    assert_eq!(counts, [0; 4]);
}

#[test]
fn a_broken_line_of_the_log_is_an_error_with_its_place() {
    let (dir, log) = (bundle(POLICY, ""), tempfile::tempdir().expect("a directory"));
    fs::write(
        log.path().join("00000000000000000000.jsonl"),
        "{\"event\":\"start\",\"time\":\"x\"}\nnot json\n",
    )
    .expect("written");
    let output = policy(&["diff", "--path", shown(dir.path()), "--audit-dir", shown(log.path())]);
    let (code, told) = text(&output);
    assert_eq!(code, Some(2), "{told}");
    assert!(told.contains("00000000000000000000.jsonl:2: not a record"), "{told}");
}

#[test]
fn what_cannot_be_known_is_never_called_the_same() {
    let log = tempfile::tempdir().expect("a directory");
    let line = |event: &str, decision: &str, rule: &str, target: &str| {
        json!({"event": event, "decision": decision, "rule_id": rule, "time": "2026-11-20T10:00:00Z", "method": "tools/call",
            "upstream": "docs", "target": target, "subject": "alice", "tenant": "acme", "issuer": "https://idp.example",
            "groups": ["mcp.users"], "scopes": [], "revision": "2026-07-28", "input_digest": "00".repeat(32),
            "correlation_id": target})
        .to_string()
    };
    let lines = [
        line("refusal", "deny", "no-secrets", "denied"),
        line("call.intent", "allow", "default", "allowed"),
        line("call.intent", "allow", "shadow:no-secrets", "shadowed"),
        // Not the policy's decisions.
        line("refusal", "deny", "rate_limiting.per_tool", "limited"),
        line("refusal", "deny", "allow_tools", "hidden"),
    ];
    fs::write(log.path().join("00000000000000000000.jsonl"), lines.join("\n") + "\n").expect("written");
    let deny = &POLICY[POLICY.find("deny contains").expect("a denial")..];
    let head = "package airlock.authz\n\nimport rego.v1\n\n";
    for allow in
        ["default allow := true", "allow := true", "default allow := false\n\nallow if input.subject.id"]
    {
        let dir = bundle(&format!("{head}{allow}\n\n{deny}"), "");
        let base = ["diff", "--path", shown(dir.path()), "--audit-dir", shown(log.path()), "--json"];
        let (code, told) = text(&policy(&base));
        let report: Value = serde_json::from_str(&told).unwrap_or_else(|_| panic!("{told}"));
        let counts = ["decisions", "same", "changed", "open"].map(|key| report[key].as_u64());
        assert_eq!((code, counts), (Some(0), [Some(3), Some(0), Some(0), Some(3)]), "{allow}: {report}");
    }
    // Where nothing that is missing is read, all is known, constants and defaults included.
    for (rules, changed) in [
        ("default allow := true", 2),
        ("allow := true", 2),
        ("allow := true\n\ndeny contains {\"rule_id\": \"closed\", \"reason\": \"x\"}", 1),
    ] {
        let dir = bundle(&format!("{head}{rules}\n"), "");
        let base = ["diff", "--path", shown(dir.path()), "--audit-dir", shown(log.path()), "--json"];
        let (code, told) = text(&policy(&base));
        let report: Value = serde_json::from_str(&told).unwrap_or_else(|_| panic!("{told}"));
        assert_eq!(
            (code, &report["changed"], &report["open"]),
            (Some(1), &json!(changed), &json!(0)),
            "{rules}: {report}"
        );
    }
}
