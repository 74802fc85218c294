//! Servers that are slow to start are reached all the same, sooner or later.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;

use airlock_tests::airlock::stdio_upstream;
use airlock_tests::mcp::{Session, modern_call, text};
use airlock_tests::{Setup, shown_dir, tools};
use serde_json::json;
use tempfile::TempDir;

/// A directory that servers see, and a file in it for as long as they are not to be ready.
fn held() -> (TempDir, String) {
    let dir = shown_dir("airlock-cold-").expect("a directory");
    std::fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).expect("ours");
    let file = dir.path().join("held").display().to_string();
    std::fs::write(&file, "").expect("a file");
    (dir, file)
}

fn upstream(mode: &str, file: &str, keys: &str) -> String {
    stdio_upstream("bad", &[&tools::built("bad-server").display().to_string(), mode, file]) + keys
}

#[test]
fn a_modern_server_that_is_silent_at_first_is_asked_once_more() {
    let (_dir, file) = held();
    let setup =
        Setup { upstreams: upstream("--late-modern", &file, ""), only_listening: true, ..Setup::default() };
    let airlock = setup.start();
    assert!(airlock.logs("initialize is tried"), "{}", airlock.log());
    std::fs::remove_file(&file).expect("ours");
    let call = modern_call("/mcp/bad", 1, "break", &json!({})).bearer(&airlock.user());
    let answer = airlock.send(&call);
    assert_eq!(text(&answer.answer()["result"]), "xx", "{}", answer.text());
    assert_eq!(starts(&airlock.log()), 1, "{}", airlock.log());
}

#[test]
fn a_start_that_outlasts_its_caller_is_the_next_ones() {
    let (_dir, file) = held();
    std::fs::remove_file(&file).expect("ours");
    let upstreams = upstream("--late", &file, "    era: legacy\n    timeout: 1s\n    timeout_total: 50s\n");
    let airlock = Setup { upstreams, ..Setup::default() }.start();
    let token = airlock.user();
    let open = || Session::open(airlock.address(), "/mcp/bad", &token).expect("a session");
    open().call("break", &json!({})).expect("it is fast the first time");
    std::fs::write(&file, "").expect("a file");
    let mut session = open();
    let before = starts(&airlock.log());
    let late = session.request("tools/call", &json!({"name": "break", "arguments": {}})).expect("an answer");
    assert_eq!(late.status, 504, "{}", late.text());
    std::fs::remove_file(&file).expect("ours");
    let answer = session.call("break", &json!({})).expect("it has started meanwhile");
    assert_eq!(text(&answer), "xx");
    assert_eq!(starts(&airlock.log()), before + 1, "{}", airlock.log());
}

/// How often a process was started, as the log tells.
fn starts(log: &str) -> usize {
    log.matches("a server process has started").count()
}
