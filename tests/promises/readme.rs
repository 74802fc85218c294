//! What the README shows works as it is shown.

use airlock_tests::Setup;
use airlock_tests::mcp::{modern, modern_call, tool_names};
use serde_json::{Value, json};

const README: &str = include_str!("../../README.md");

/// The first block of code of a kind.
fn block(kind: &str) -> &'static str {
    let fence = format!("```{kind}\n");
    let start = README.find(&fence).expect("a block") + fence.len();
    let length = README[start..].find("```").expect("its end");
    &README[start..start + length]
}

#[test]
fn the_first_policy_does_what_it_says() {
    let airlock = Setup { policy: block("rego").to_owned(), ..Setup::default() }.start();
    let token = airlock.user();
    let call = |tool: &str, arguments: Value| {
        airlock.send(&modern_call("/mcp/docs", 1, tool, &arguments).bearer(&token)).status
    };
    assert_eq!(call("search_docs", json!({"query": "roll back"})), 200);
    assert_eq!(call("read_file", json!({"path": "/secret/key"})), 403);
    assert_eq!(call("phone_home", json!({"address": "127.0.0.1:1"})), 403);
    let list = airlock.send(&modern("/mcp/docs", 1, "tools/list", &Value::Null).bearer(&token)).answer();
    assert_eq!(tool_names(&list["result"]), ["read_file", "search_docs"], "{list}");
}

#[test]
fn the_first_configuration_is_accepted() {
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::write(dir.path().join("authz.rego"), block("rego")).expect("the policy");
    let text = block("yaml").replace("/etc/airlock/policies", &dir.path().display().to_string());
    let file = dir.path().join("airlock.yaml");
    std::fs::write(&file, text).expect("the configuration");
    let output = std::process::Command::new(airlock_tests::tools::airlock())
        .args(["check", "--config"])
        .arg(&file)
        .output()
        .expect("airlock check");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
