//! Clients that others wrote come through the door.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use airlock_tests::{Airlock, Setup, skip, tools};
use serde_json::{Value, json};

fn output(command: &mut Command, airlock: &Airlock) -> Output {
    let output = command.stdin(Stdio::null()).output().expect("an installed program");
    if !output.status.success() {
        eprintln!("{}", String::from_utf8_lossy(&output.stderr));
        eprintln!("{}", airlock.log());
    }
    output
}

/// The last line of standard output as JSON.
fn last_json(output: &Output) -> Value {
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().rfind(|line| line.starts_with('{')).unwrap_or_default();
    serde_json::from_str(line)
        .unwrap_or_else(|error| panic!("{error}: {text}\n{}", String::from_utf8_lossy(&output.stderr)))
}

#[test]
fn the_python_client_in_both_eras() {
    let python = match tools::python("python") {
        Ok(python) => python,
        Err(reason) => return skip(&reason),
    };
    let airlock = Setup::default().start();
    let token = airlock.user();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/plain.py");
    let run = |endpoint: &str, token: &str, mode: &str, tool: &str| {
        let url = format!("http://{}{endpoint}", airlock.address());
        let mut command = Command::new(&python);
        command.arg(&script).args([&url, token, mode, tool, r#"{"query": "roll back"}"#]);
        output(&mut command, &airlock)
    };
    for (mode, revision) in [("auto", "2026-07-28"), ("legacy", "2025-11-25"), ("2026-07-28", "2026-07-28")] {
        for (endpoint, tool) in [("/mcp/docs", "search_docs"), ("/mcp", "docs__search_docs")] {
            let output = run(endpoint, &token, mode, tool);
            assert!(output.status.success(), "{mode} at {endpoint}");
            let told = last_json(&output);
            assert_eq!(told["revision"], json!(revision), "{told}");
            assert!(told["text"].as_str().is_some_and(|text| text.contains("deployment.md")), "{told}");
            assert_eq!(told["is_error"], json!(false));
            assert!(!told.to_string().contains("phone_home"), "shown what it may not call: {told}");
        }
    }
    assert!(!run("/mcp/docs", "rubbish", "auto", "search_docs").status.success(), "in without a token");
    // The message is all that its user sees of a refusal.
    for mode in ["auto", "legacy"] {
        let denied = run("/mcp/docs", &token, mode, "phone_home");
        let shown = String::from_utf8_lossy(&denied.stderr);
        assert!(!denied.status.success(), "{mode}: {shown}");
        assert!(shown.contains("Forbidden: only operators may call phone_home"), "{mode}: {shown}");
    }
}

#[test]
fn the_inspector_on_the_command_line() {
    let launcher = tools::node_script("@modelcontextprotocol/inspector/clients/launcher/build/index.js");
    let (node, launcher) = match (tools::node(), launcher) {
        (Ok(node), Ok(launcher)) => (node, launcher),
        (Err(reason), _) | (_, Err(reason)) => return skip(&reason),
    };
    let airlock = Setup::default().start();
    let token = airlock.user();
    let home = tempfile::tempdir().expect("a directory");
    let run = |token: &str, method: &[&str]| {
        let mut command = Command::new(&node);
        command.arg(&launcher).args(["--cli", &format!("http://{}/mcp/docs", airlock.address())]);
        command.args(["--transport", "http", "--header", &format!("Authorization: Bearer {token}")]);
        command.args(method).args(["--format", "json"]);
        // It keeps files in the home directory otherwise, and asks the desktop's key ring.
        command.env("MCP_INSPECTOR_SECRET_STORE", "memory").env("HOME", home.path());
        command
    };
    let listed = output(&mut run(&token, &["--method", "tools/list"]), &airlock);
    assert!(listed.status.success());
    let listed = last_json(&listed).to_string();
    assert!(listed.contains("search_docs") && !listed.contains("phone_home"), "{listed}");

    let call = ["--method", "tools/call", "--tool-name", "search_docs", "--tool-arg", "query=roll back"];
    let called = output(&mut run(&token, &call), &airlock);
    assert!(called.status.success());
    let called = last_json(&called).to_string();
    assert!(called.contains("deployment.md"), "{called}");

    let denied = ["--method", "tools/call", "--tool-name", "phone_home", "--tool-arg", "address=127.0.0.1:9"];
    assert!(!run(&token, &denied).stdin(Stdio::null()).output().expect("a program").status.success());
}
