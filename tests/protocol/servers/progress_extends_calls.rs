//! Calls that take long: progress puts their deadline off, and silence does not make them look dead to what
//! is between.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;

use airlock_tests::events::Events;
use airlock_tests::http::Request;
use airlock_tests::mcp::{Session, modern, modern_call, text};
use airlock_tests::{Airlock, Setup, Upstream, shown_dir, start_on, tools};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Steps of 50 ms that are many more than the deadline of the test's server.
const MANY: u64 = 40;

/// A directory that servers see, and a file in it for as long as calls are to take.
fn held() -> (TempDir, String) {
    let dir = shown_dir("airlock-long-").expect("a directory");
    std::fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).expect("ours");
    let file = dir.path().join("held");
    std::fs::write(&file, "").expect("a file");
    let file = file.display().to_string();
    (dir, file)
}

fn steps(timeout: &str) -> Upstream {
    let program = tools::built("bad-server").display().to_string();
    Upstream::stdio("bad", &[&program, "--steps"]).with("era", "legacy").with("timeout", timeout)
}

fn start(io: &str, upstream: &Upstream) -> Option<Airlock> {
    start_on(io, &Setup { upstreams: upstream.to_string(), ..Setup::default() })
}

/// The call in both eras, and the session of the second one.
fn calls(airlock: &Airlock, path: &str, params: &Value) -> ([Request; 2], Session) {
    let token = airlock.user();
    let session = Session::open(airlock.address(), path, &token).expect("a session");
    let body = json!({"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": params});
    ([modern(path, 7, "tools/call", params).bearer(&token), session.prepare(&body)], session)
}

#[test]
fn progress_puts_the_deadline_off() {
    for io in ["epoll", "io_uring"] {
        let (_dir, file) = held();
        let Some(airlock) = start(io, &steps("1s")) else { continue };
        let params =
            json!({"name": "break", "arguments": {"while_exists": file}, "_meta": {"progressToken": "t"}});
        for call in calls(&airlock, "/mcp/bad", &params).0 {
            std::fs::write(&file, "").expect("a file");
            let mut events = Events::open(airlock.address(), &call).expect("a stream");
            let mut last = Value::Null;
            while last["params"]["progress"].as_u64() < Some(MANY) {
                last = events.message().expect("a message");
                assert_eq!(last["method"], "notifications/progress", "{last}");
            }
            std::fs::remove_file(&file).expect("ours");
            let end = std::iter::from_fn(|| events.message()).last().expect("the result");
            assert_eq!(text(&end["result"]), "xx", "{end}");
        }
    }
}

#[test]
fn the_key_to_raise_is_named() {
    for io in ["epoll", "io_uring"] {
        let (_dir, file) = held();
        let Some(airlock) = start(io, &steps("1s").with("timeout_total", "2s")) else { continue };
        let silent =
            modern_call("/mcp/bad", 1, "break", &json!({"while_exists": file})).bearer(&airlock.user());
        let silent = airlock.send(&silent);
        assert_eq!(silent.status, 504, "{}", silent.text());
        assert!(silent.text().contains("within 1s (`upstreams[].timeout`)"), "{}", silent.text());
        // The server does one thing at a time.
        std::fs::remove_file(&file).expect("ours");
        let file = format!("{file}-longer");
        std::fs::write(&file, "").expect("a file");
        let params =
            json!({"name": "break", "arguments": {"while_exists": file}, "_meta": {"progressToken": "t"}});
        for call in calls(&airlock, "/mcp/bad", &params).0 {
            let last = airlock.send(&call).messages().pop().expect("an answer");
            let said = last.to_string();
            assert!(said.contains("within 2s (`upstreams[].timeout_total`)"), "{said}");
        }
    }
}

#[test]
fn a_call_that_says_nothing_for_long_is_answered_by_a_stream() {
    let (_dir, file) = held();
    let airlock = Setup::default().start();
    let params = json!({"name": "wait", "arguments": {"while_exists": file}});
    let (calls, session) = calls(&airlock, "/mcp/docs", &params);
    let calls = calls.map(|call| {
        let address = airlock.address();
        std::thread::spawn(move || {
            // The head comes though the call goes on: nothing but silence has opened the stream.
            Events::open(address, &call).expect("a stream")
        })
    });
    let [mut modern, mut legacy] = calls.map(|call| call.join().expect("a stream"));
    for events in [&modern, &legacy] {
        assert!(events.head.contains("text/event-stream"), "{}", events.head);
    }
    let primed = legacy.next_event().expect("a stream").expect("an event");
    assert_eq!(primed.data.as_deref(), Some(""), "the first event only sets the id: {primed:?}");
    // A client of a session whose connection breaks in the silence gets the answer where it left off.
    drop(legacy);
    let mut resumed =
        Events::open(airlock.address(), &session.listen(primed.id.as_deref())).expect("a stream");
    std::fs::remove_file(&file).expect("ours");
    let first = modern.next_event().expect("a stream").expect("an event");
    assert_eq!(first.comment.as_deref(), Some("alive"), "{first:?}");
    let answer = serde_json::from_str(first.data.as_deref().unwrap_or_default()).expect("JSON");
    for (answer, mut events) in [(Some(answer), modern), (resumed.message(), resumed)] {
        let answer = answer.expect("the answer");
        assert_eq!(answer["id"], 7, "{answer}");
        assert!(answer["result"]["content"].is_array(), "{answer}");
        assert!(events.message().is_none(), "the answer ends the stream");
    }
}
