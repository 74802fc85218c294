//! A mistake in a policy is told as one in the configuration is: message, place, the line with a caret under
//! it, remedy.

use std::fs;
use std::process::{Command, Output};

use airlock_tests::tools;
use serde_json::{Value, json};

/// Columns are characters, whatever the engine counts for a tab.
const BROKEN: &str =
    "package airlock.authz\n\nimport rego.v1\n\nallow if {\n\t\tinput.call.tool == undefined_name(1)\n}\n";
const UNREADABLE: &str = "package airlock.authz\n\nimport rego.v1\n\nallow if {\n\tinput.call.tool == %\n}\n";

fn airlock(args: &[&str]) -> Output {
    Command::new(tools::airlock()).args(args).output().expect("the built airlock")
}

fn bundle(policy: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a directory");
    fs::write(dir.path().join("authz.rego"), policy).expect("written");
    dir
}

#[test]
fn a_caret_stands_under_what_is_wrong() {
    for (policy, place, line, caret) in [
        (
            BROKEN,
            "authz.rego:6:22\n",
            "6 |   input.call.tool == undefined_name(1)\n",
            "  |                      ^^",
        ),
        (UNREADABLE, "authz.rego:6:21\n", "6 |  input.call.tool == %\n", "  |                     ^\n"),
    ] {
        let dir = bundle(policy);
        let path = dir.path().to_str().expect("UTF-8");
        let output = airlock(&["policy", "test", "--path", path]);
        let told = String::from_utf8(output.stderr).expect("UTF-8");
        assert_eq!(output.status.code(), Some(1), "{told}");
        assert!(told.starts_with("error: ") && told.contains(&format!("/{place}")), "{told}");
        assert!(told.contains(line) && told.contains(caret), "{told}");
        assert!(told.contains("  = help: "), "{told}");
    }
}

#[test]
fn json_has_line_and_column() {
    let dir = bundle(BROKEN);
    let path = dir.path().to_str().expect("UTF-8");
    let output = airlock(&["policy", "test", "--json", "--path", path]);
    let told: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let [mistake] = told["mistakes"].as_array().expect("a list").as_slice() else { panic!("{told}") };
    assert_eq!((&mistake["line"], &mistake["column"]), (&json!(6), &json!(22)), "{told}");

    let config = dir.path().join("airlock.yaml");
    let text = format!(
        "auth: {{development_issuer: {{listen: \"127.0.0.1:0\"}}}}\npolicy: {{path: {path:?}}}\n\
         upstreams: [{{name: a, type: stdio, command: [/bin/true]}}]\n"
    );
    fs::write(&config, text).expect("written");
    let output = airlock(&["check", "--json", "--config", config.to_str().expect("UTF-8")]);
    let told: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!((&told[0]["line"], &told[0]["column"]), (&json!(6), &json!(22)), "{told}");
    assert!(told[0]["file"].as_str().is_some_and(|file| file.ends_with("/authz.rego")), "{told}");
}
