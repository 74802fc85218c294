//! Servers that are slow to start are reached all the same, sooner or later.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;

use airlock_tests::airlock::{run, until};
use airlock_tests::http::Response;
use airlock_tests::mcp::{Session, modern_call, text};
use airlock_tests::{Airlock, Setup, Upstream, shown_dir, tools};
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

fn upstream(mode: &str, file: &str) -> Upstream {
    Upstream::stdio("bad", &[&tools::built("bad-server").display().to_string(), mode, file])
}

#[test]
fn a_modern_server_that_is_silent_at_first_is_asked_once_more() {
    let (_dir, file) = held();
    let setup = Setup {
        upstreams: upstream("--late-modern", &file).to_string(),
        only_listening: true,
        ..Setup::default()
    };
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
    let late = upstream("--late", &file).with("era", "legacy").with("timeout", "1s");
    let upstreams = late.with("timeout_total", "50s").to_string();
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

/// The server, for whose calls clients do not wait long, while it may take longer for each answer.
fn impatient(mode: &str, file: &str) -> String {
    upstream(mode, file).with("timeout", "1s").with("timeout_total", "10m").to_string()
}

fn call(airlock: &Airlock) -> Response {
    airlock.send(&modern_call("/mcp/bad", 1, "break", &json!({})).bearer(&airlock.user()))
}

/// Calls again until the server has started.
fn is_reached(airlock: &Airlock) -> bool {
    until(|| (call(airlock).status == 200).then_some(())).is_some()
}

fn converges(mode: &str) {
    let (_dir, file) = held();
    let folder = tempfile::tempdir().expect("a folder");
    let socket = folder.path().join("admin.sock").display().to_string();
    // Nobody who waits for readiness waits for the server.
    let airlock = Setup { upstreams: impatient(mode, &file), ..Setup::default() }
        .observability("admin_listen", &socket)
        .start();
    let late = call(&airlock);
    assert_eq!(late.status, 504, "{}", late.text());
    assert!(late.text().contains("within 1s (`upstreams[].timeout`)"), "{}", late.text());
    assert!(airlock.logs("the server is slow to start: it has 10m for each answer"), "{}", airlock.log());
    let (_, status, _) = run(&["status", "--socket", &socket]);
    assert!(status.contains("it is starting: ") && status.contains("and 10m for each answer"), "{status}");
    std::fs::remove_file(&file).expect("ours");
    assert!(is_reached(&airlock), "{}", airlock.log());
}

#[test]
fn a_modern_server_slower_than_any_call_is_reached() {
    converges("--late-modern");
}

#[test]
fn a_legacy_server_slower_than_any_call_is_reached() {
    converges("--late");
}

#[test]
fn a_start_that_outlasts_a_call_is_the_only_one() {
    let (_dir, file) = held();
    let upstreams = impatient("--late-modern", &file);
    let airlock = Setup { upstreams, only_listening: true, ..Setup::default() }.start();
    assert_eq!(call(&airlock).status, 504);
    assert!(airlock.logs("the server is slow to start"), "{}", airlock.log());
    assert_eq!(call(&airlock).status, 504);
    std::fs::remove_file(&file).expect("ours");
    assert!(is_reached(&airlock), "{}", airlock.log());
    assert_eq!(starts(&airlock.log()), 1, "{}", airlock.log());
}

#[test]
fn a_modern_server_that_loses_its_first_request_is_asked_once_more() {
    let upstreams = impatient("--forgetful-modern", "");
    let airlock = Setup { upstreams, only_listening: true, ..Setup::default() }.start();
    assert!(is_reached(&airlock), "{}", airlock.log());
    assert_eq!(starts(&airlock.log()), 1, "{}", airlock.log());
}

#[test]
fn shutting_down_breaks_a_first_start_off() {
    let (_dir, file) = held();
    let upstreams = impatient("--late-modern", &file);
    let mut airlock = Setup { upstreams, only_listening: true, ..Setup::default() }.start();
    assert!(airlock.logs("the server is slow to start"), "{}", airlock.log());
    let ended = airlock.stop();
    let log = airlock.log();
    assert!(ended.success(), "{log}");
    assert!(!log.contains("server processes were still running at the end"), "{log}");
}

/// How often a process was started, as the log tells.
fn starts(log: &str) -> usize {
    log.matches("a server process has started").count()
}
