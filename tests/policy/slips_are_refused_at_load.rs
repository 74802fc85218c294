//! A policy that could open the door by a slip of the pen is refused when it is loaded, by the daemon and by
//! every command.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use airlock_tests::mcp::modern_call;
use airlock_tests::{Setup, tools};
use serde_json::{Value, json};

fn policy(args: &[&str]) -> Output {
    Command::new(tools::airlock()).arg("policy").args(args).output().expect("the built airlock")
}

fn readme_policy() -> String {
    let readme =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md")).expect("README");
    let (_, rest) = readme.split_once("```rego\n").expect("a policy");
    rest.split_once("```").expect("its end").0.to_owned()
}

/// The outcome of `airlock policy test` on a bundle with this policy: exit code, and its messages.
fn told(text: &str, tests: &str) -> (Option<i32>, String) {
    let dir = tempfile::tempdir().expect("a directory");
    fs::write(dir.path().join("authz.rego"), text).expect("written");
    let head = "package airlock.authz_test\n\nimport data.airlock.authz\nimport rego.v1\n\n";
    fs::write(dir.path().join("authz_test.rego"), format!("{head}{tests}\n")).expect("written");
    let output = policy(&["test", "--path", dir.path().to_str().expect("UTF-8")]);
    (output.status.code(), String::from_utf8(output.stderr).expect("UTF-8"))
}

#[test]
fn a_slip_of_the_pen_in_the_first_policy_is_refused() {
    let right = readme_policy();
    let test = "test_home if count(authz.deny) > 0 with input.call.tool as \"phone_home\"";
    assert_eq!(told(&right, test), (Some(0), String::new()));
    // Each field that it reads, misspelt by one letter.
    let mut slips = 0;
    for field in ["call", "method", "tool", "subject", "groups", "upstream", "arguments"] {
        for (at, _) in right.match_indices(&format!(".{field}")) {
            let mut wrong = right.clone();
            wrong.replace_range(at + 1..=at + field.len(), &format!("{field}s"));
            let (code, told) = told(&wrong, test);
            assert_eq!(code, Some(1), "{wrong}");
            assert!(told.contains(&format!("did you mean `{field}`?")) && told.contains(".rego:"), "{told}");
            slips += 1;
        }
    }
    assert!(slips > 10, "{slips}");
    let (code, told) = told(
        &right,
        "test_home if count(authz.deny) > 0 with input as {\"call\": {\"tol\": \"phone_home\"}}",
    );
    assert!(
        code == Some(1) && told.contains("authz_test.rego:6:") && told.contains("did you mean `tool`?"),
        "{told}"
    );
}

#[test]
fn what_may_be_absent_is_not_negated() {
    let text = "package airlock.authz\n\nimport rego.v1\n\nallow if {\n\tnot startswith(input.call.arguments.path, \"/secret\")\n}\n";
    let (code, told) = told(text, "test_x if true");
    assert_eq!(code, Some(1), "{told}");
    assert!(
        told.contains("authz.rego:6:17") && told.contains("`input.call.arguments.path` may be absent"),
        "{told}"
    );
    assert!(told.contains("bind it first (`value := input.call.arguments.path`"), "{told}");
}

#[test]
fn the_input_document_is_shown() {
    let text = |args: &[&str]| String::from_utf8(policy(args).stdout).expect("UTF-8");
    let commented = text(&["input"]);
    assert!(commented.contains("// text: the MCP method\n    \"method\": \"tools/call\","), "{commented}");
    // The document that is shown can be asked.
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("input.json");
    fs::write(&file, text(&["input", "--json"])).expect("written");
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../policies");
    let (path, input) = (shipped.to_str().expect("UTF-8"), file.to_str().expect("UTF-8"));
    let asked = policy(&["explain", "--path", path, "--input", input]);
    assert_eq!(asked.status.code(), Some(0), "{}", String::from_utf8_lossy(&asked.stdout));
    let schema: Value = serde_json::from_str(&text(&["input", "--schema"])).expect("JSON");
    assert_eq!(schema["properties"]["call"]["additionalProperties"], false);
}

#[test]
fn a_rule_without_a_name_is_on_record_by_file_and_line() {
    let policy = "package airlock.authz\n\nimport rego.v1\n\ndefault allow := false\n\nallow if input.call.tool == \"read_file\"\n\n\
                  allow if input.call.tool != \"read_file\"\n\n\
                  deny contains \"nobody writes\" if input.call.tool == \"write_file\"\n";
    let airlock = Setup { policy: policy.to_owned(), ..Setup::default() }.start();
    for (tool, event, rule) in
        [("search_docs", "call.intent", "authz.rego:9"), ("write_file", "refusal", "authz.rego:11")]
    {
        let call = modern_call("/mcp/docs", 1, tool, &json!({"query": "x"})).bearer(&airlock.user());
        let response = airlock.send(&call);
        let id = response.header("x-correlation-id").expect("an id").to_owned();
        let record = airlock.audited(|record| record["correlation_id"] == *id && record["event"] == event);
        assert_eq!(record["rule_id"], rule, "{record}");
    }
}
