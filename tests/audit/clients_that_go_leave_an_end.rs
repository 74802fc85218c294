//! A client that goes away: what that means for the call is the era's to say, and the record always has its
//! end.

use std::fs::Permissions;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use airlock_tests::airlock::until;
use airlock_tests::http::{Request, connect};
use airlock_tests::mcp::{Session, modern_call};
use airlock_tests::proc::{descendants, open_file_targets};
use airlock_tests::{Airlock, Setup};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A file for the tool `wait`; the call is in flight for as long as the file is there.
struct Held {
    _dir: TempDir,
    file: PathBuf,
}

impl Held {
    fn new() -> Self {
        let dir = airlock_tests::shown_dir("airlock-wait-").expect("a directory");
        let file = dir.path().join("held");
        std::fs::write(&file, "").expect("a file");
        std::fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).expect("ours");
        Self { _dir: dir, file }
    }

    fn shown(&self) -> String {
        self.file.display().to_string()
    }

    /// A call of a legacy client.
    fn call(&self, id: u64) -> Value {
        let params = json!({"name": "wait", "arguments": {"while_exists": self.shown()}});
        json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params})
    }

    /// Sends the request, waits until the server has the call, and hangs up.
    fn call_and_hang_up(&self, airlock: &Airlock, request: &Request) {
        let mut stream = connect(airlock.address()).expect("a connection");
        stream.write_all(&request.bytes(airlock.address())).expect("sent");
        let has_it = |pid: u32| open_file_targets(pid).contains(&self.shown());
        let reached = until(|| descendants(airlock.pid()).into_iter().any(has_it).then_some(()));
        assert!(reached.is_some(), "the call never reached the server; log:\n{}", airlock.log());
    }
}

#[test]
fn of_the_modern_era_has_cancelled_the_call() {
    let airlock = Setup::default().start();
    let token = airlock.user();
    let held = Held::new();
    let call = modern_call("/mcp/docs", 1, "wait", &json!({"while_exists": held.shown()})).bearer(&token);
    held.call_and_hang_up(&airlock, &call);
    // The file is still there: only the client's going can have ended the call.
    let outcome = airlock.audited(|record| record["event"] == "call.outcome");
    assert_eq!(outcome["reason"], "cancelled", "{outcome}");
}

#[test]
fn of_the_legacy_era_has_not() {
    let airlock = Setup::default().start();
    let session = Session::open(airlock.address(), "/mcp/docs", &airlock.user()).expect("a session");
    let held = Held::new();
    held.call_and_hang_up(&airlock, &session.prepare(&held.call(7)));
    std::fs::remove_file(&held.file).expect("ours");
    let outcome = airlock.audited(|record| record["event"] == "call.outcome");
    assert_eq!((&outcome["reason"], &outcome["status"]), (&json!("result"), &json!(200)), "{outcome}");
}

#[test]
fn of_the_legacy_era_can_still_cancel_by_saying_so() {
    let airlock = Setup::default().start();
    let session = Session::open(airlock.address(), "/mcp/docs", &airlock.user()).expect("a session");
    let held = Held::new();
    held.call_and_hang_up(&airlock, &session.prepare(&held.call(7)));
    let cancel = json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 7}});
    assert_eq!(airlock.send(&session.prepare(&cancel)).status, 202);
    let outcome = airlock.audited(|record| record["event"] == "call.outcome");
    assert_eq!(outcome["reason"], "cancelled", "{outcome}");
}

#[test]
fn before_the_server_stood_leaves_a_record_with_an_end() {
    // This server never answers, so the call is still waiting for it to start.
    let silent = airlock_tests::tools::built("bad-server").display().to_string();
    let upstreams = airlock_tests::airlock::stdio_upstream("silent", &[&silent, "--silent"]);
    let airlock = Setup { upstreams, only_listening: true, ..Setup::default() }.start();
    let call = modern_call("/mcp/silent", 1, "anything", &json!({})).bearer(&airlock.user());
    let mut stream = connect(airlock.address()).expect("a connection");
    stream.write_all(&call.bytes(airlock.address())).expect("sent");
    airlock.audited(|record| record["event"] == "call.intent");
    drop(stream);
    let outcome = airlock.audited(|record| record["event"] == "call.outcome");
    assert_eq!(outcome["reason"], "cancelled", "{outcome}");
}
