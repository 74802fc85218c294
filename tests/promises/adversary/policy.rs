//! Principals against a policy that says something else than it seems to.

use std::fs;
use std::process::Command;

use airlock_tests::mcp::modern_call;
use airlock_tests::{Airlock, Setup, tools};
use serde_json::{Value, json};

const HEAD: &str = "package airlock.authz\n\nimport rego.v1\n\ndefault allow := false\n\nallow if \"mcp.users\" in input.subject.groups\n\n";
/// On the side of `deny`, and by the beginning of a text: it does not stand every spelling, but none opens it by its type.
const BY_PREFIX: &str = "deny contains {\"rule_id\": \"no-secrets\", \"reason\": \"not served\"} if {\n\tstartswith(input.call.arguments.path, \"/secret\")\n}\n";

fn start(rules: &str) -> Airlock {
    Setup { policy: format!("{HEAD}{rules}"), ..Setup::default() }.start()
}

/// Calls `read_file` with arguments as they are written; status, answer, and the id under which it is on record.
fn read(airlock: &Airlock, arguments: &Value) -> (u16, Value, String) {
    let response = airlock.send(&modern_call("/mcp/docs", 1, "read_file", arguments).bearer(&airlock.user()));
    let id = response.header("x-correlation-id").expect("an id").to_owned();
    (response.status, response.answer(), id)
}

fn record(airlock: &Airlock, id: &str) -> Value {
    airlock.audited(|record| {
        record["correlation_id"] == *id && (record["event"] == "refusal" || record["event"] == "call.intent")
    })
}

#[test]
fn a_rule_is_not_passed_by_with_a_value_of_another_type() {
    let airlock = start(BY_PREFIX);
    for path in [json!(["/secret/key"]), json!({"x": "/secret/key"}), Value::Null, json!(7)] {
        let (status, answer, id) = read(&airlock, &json!({ "path": path }));
        assert_eq!(
            (status, &answer["error"]["data"]["rule_id"]),
            (403, &json!("policy_error")),
            "{path}: {answer}"
        );
        assert!(
            !answer.to_string().contains(".rego"),
            "the client is not told where the policy is: {answer}"
        );
        let record = record(&airlock, &id);
        let reason = record["reason"].as_str().expect("a reason");
        assert!(reason.contains("authz.rego:10:") && reason.contains("`startswith`"), "{record}");
        assert!(!record.to_string().contains("/secret/key"), "no argument is on record: {record}");
    }
    assert_eq!(read(&airlock, &json!({"path": "/secret/key"})).1["error"]["data"]["rule_id"], "no-secrets");
    assert_eq!(read(&airlock, &json!({"path": "deployment.md"})).0, 200);
}

#[test]
fn the_author_of_a_policy_is_told_of_such_a_rule() {
    let dir = tempfile::tempdir().expect("a directory");
    let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).expect("written");
    write("authz.rego", &format!("{HEAD}{BY_PREFIX}"));
    write(
        "authz_test.rego",
        "package airlock.authz_test\n\nimport data.airlock.authz\nimport rego.v1\n\ntest_list if count(authz.deny) == 0 with input as {\"call\": {\"arguments\": {\"path\": [\"/secret\"]}}}\n",
    );
    let input = json!({
        "subject": {"id": "a", "groups": ["mcp.users"]},
        "call": {"method": "tools/call", "upstream": "docs", "tool": "read_file", "arguments": {"path": ["/secret"]}},
    });
    write("input.json", &input.to_string());
    let told = |args: &[&str]| {
        let output = Command::new(tools::airlock())
            .args(["policy", args[0], "--path"])
            .arg(dir.path())
            .args(&args[1..])
            .output()
            .expect("the built airlock");
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let (code, text) = told(&["test"]);
    assert_eq!(code, Some(1), "{text}");
    assert!(
        text.contains("`policy_error`") && text.contains("authz.rego:10:") && text.contains("`startswith`"),
        "{text}"
    );
    let file = dir.path().join("input.json").display().to_string();
    let (code, text) = told(&["explain", "--input", &file]);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.starts_with("denied by policy_error"), "{text}");
    assert!(text.contains("authz.rego:9: deny contains"), "what decided: {text}");
    assert!(text.contains("deny no-secrets: an error at line 10"), "{text}");
}
