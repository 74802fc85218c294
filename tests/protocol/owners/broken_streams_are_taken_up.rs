//! Streams of legacy sessions: one that breaks is taken up again, and what nobody calls for waits.

use std::time::Duration;

use airlock_tests::events::Events;
use airlock_tests::little::{Little, chatty};
use airlock_tests::mcp::{LEGACY, Session, text};
use airlock_tests::{Airlock, Setup, airlock, start_on};
use rustix::process::Signal;
use serde_json::{Value, json};

fn counting(session: &Session, airlock: &Airlock, id: u64) -> Events {
    let body = json!({"jsonrpc": "2.0", "id": id, "method": "tools/call",
        "params": {"name": "count", "arguments": {}, "_meta": {"progressToken": "t"}}});
    Events::open(airlock.address(), &session.prepare(&body)).expect("a stream")
}

#[test]
fn a_stream_that_broke_is_read_to_its_end() {
    for io in ["epoll", "io_uring"] {
        let server = Little::start(chatty);
        let upstreams = server.entry("chatty").with("era", "modern").to_string();
        let Some(airlock) = start_on(io, &Setup { upstreams, ..Setup::default() }) else { continue };
        let session = Session::open(airlock.address(), "/mcp/chatty", &airlock.user()).expect("a session");
        let mut events = counting(&session, &airlock, 7);
        let first = events.next_event().expect("a stream").expect("an event");
        assert_eq!(first.data.as_deref(), Some(""), "the first event only sets the id: {first:?}");
        assert!(first.id.is_some() && first.retry.is_some_and(|retry| (1_000..=3_000).contains(&retry)));
        let (id, one) = events.identified().expect("progress");
        assert_eq!(one["params"]["progress"], 1);
        drop(events);
        // Not only what has not been said yet: also what was said to nobody.
        std::thread::sleep(Duration::from_millis(250));
        let mut rest = Events::open(airlock.address(), &session.listen(id.as_deref())).expect("a stream");
        let messages: Vec<Value> = std::iter::from_fn(|| rest.message()).collect();
        let progress: Vec<_> = messages.iter().filter_map(|m| m["params"]["progress"].as_u64()).collect();
        assert_eq!(progress, [2, 3, 4, 5], "{messages:?}");
        assert_eq!(text(&messages.last().expect("a result")["result"]), "counted");
        // It can be read once more: the connection may have broken with the last message on its way.
        let again = airlock.send(&session.listen(id.as_deref())).messages();
        assert_eq!(text(&again.last().expect("a result")["result"]), "counted");
    }
}

#[test]
fn a_stream_is_opened_by_a_get_that_is_one() {
    let airlock = Setup::default().start();
    let token = airlock.user();
    let session = Session::open(airlock.address(), "/mcp/docs", &token).expect("a session");
    let mut wrong = session.listen(None);
    wrong.headers.retain(|(name, _)| name != "accept");
    assert_eq!(airlock.send(&wrong.header("accept", "application/json")).status, 406);
    let mut nameless = session.listen(None);
    nameless.headers.retain(|(name, _)| name != "mcp-session-id");
    assert_eq!(airlock.send(&nameless).status, 400);
    let mut modern = session.listen(None);
    modern.headers.retain(|(name, _)| name != "mcp-protocol-version");
    for method in ["GET", "DELETE"] {
        let mut modern = modern.clone().header("mcp-protocol-version", "2026-07-28");
        method.clone_into(&mut modern.method);
        let answer = airlock.send(&modern);
        assert_eq!((answer.status, answer.header("allow")), (405, Some("POST")));
    }
    for rubbish in ["1", "0000000000000000-1", "x-y"] {
        assert_eq!(airlock.send(&session.listen(Some(rubbish))).status, 400, "{rubbish}");
    }
}

#[test]
fn a_newer_reader_takes_over_and_delete_ends_all() {
    for io in ["epoll", "io_uring"] {
        let Some(airlock) = start_on(io, &Setup::default()) else { continue };
        let token = airlock.user();
        let session =
            Session::open_as(airlock.address(), "/mcp", &token, "2025-06-18", &json!({})).expect("a session");
        let open = || Events::open(airlock.address(), &session.listen(None)).expect("a stream");
        let mut first = open();
        let mut second = open();
        assert!(first.next_event().expect("a stream").is_none(), "the older one has ended");
        let mut delete = session.listen(None);
        "DELETE".clone_into(&mut delete.method);
        assert_eq!(airlock.send(&delete).status, 204);
        assert!(second.next_event().expect("a stream").is_none(), "the session has ended");
        assert_eq!(airlock.send(&session.listen(None)).status, 404);
    }
}

#[test]
fn a_session_that_is_listened_to_is_in_use() {
    let folder = tempfile::tempdir().expect("a folder");
    let socket = folder.path().join("admin.sock").display().to_string();
    let airlock = Setup::default()
        .server("timeouts", json!({"idle": "1s"}))
        .observability("admin_listen", &socket)
        .start();
    let token = airlock.user();
    let mut session = Session::open(airlock.address(), "/mcp/docs", &token).expect("a session");
    let events = Events::open(airlock.address(), &session.listen(None)).expect("a stream");
    // Opened later, so that whatever ends it would end the other as well, were that not in use.
    let left = Session::open(airlock.address(), "/mcp/docs", &token).expect("a session");
    let ping = json!({"jsonrpc": "2.0", "id": 9, "method": "ping"});
    let sessions = || {
        let (_, text, errors) = airlock::run(&["status", "--json", "--socket", &socket]);
        let status: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {errors}"));
        status["sessions"].as_u64().expect("a number")
    };
    airlock::until(|| (sessions() <= 1).then_some(())).expect("one of them ends");
    assert_eq!(airlock.send(&left.prepare(&ping)).status, 404);
    session.result("ping", &Value::Null).expect("it lives");
    drop(events);
}

#[test]
fn streams_end_when_the_process_does() {
    // Nothing waits for the end of the drain time: no test has the patience for it.
    let mut airlock = Setup::default().server("timeouts", json!({"drain": "1h"})).start();
    let session = Session::open(airlock.address(), "/mcp/docs", &airlock.user()).expect("a session");
    let mut events = Events::open(airlock.address(), &session.listen(None)).expect("a stream");
    events.next_event().expect("a stream").expect("the first");
    airlock.signal(Signal::TERM);
    assert!(events.next_event().expect("a stream").is_none());
    assert!(airlock.wait().success());
}

#[test]
fn another_policy_is_told_and_in_force() {
    let server = Little::start(chatty);
    let setup =
        Setup { upstreams: server.entry("chatty").with("era", "modern").to_string(), ..Setup::default() };
    let airlock = setup.start();
    let token = airlock.user();
    let can = json!({});
    let mut session = Session::open_as(airlock.address(), "/mcp", &token, LEGACY, &can).expect("a session");
    let listed = session.result("tools/list", &Value::Null).expect("tools");
    assert_eq!(listed["tools"].as_array().map(Vec::len), Some(1), "{listed}");
    let mut events = Events::open(airlock.address(), &session.listen(None)).expect("a stream");
    events.next_event().expect("a stream").expect("the first");

    // One that does not compile changes nothing.
    let policy = airlock.dir().join("policies/authz.rego");
    std::fs::write(&policy, "package airlock.authz\nallow if {").expect("a policy");
    airlock.signal(Signal::HUP);
    airlock.audited(|record| record["event"] == "policy.rejected");
    assert_eq!(session.result("tools/list", &Value::Null).expect("tools"), listed);

    let hidden = "\ndeny contains {\"rule_id\": \"hidden\", \"reason\": \"not any more\"} if input.call.tool == \"count\"\n";
    std::fs::write(&policy, airlock::POLICY.to_owned() + hidden).expect("a policy");
    airlock.signal(Signal::HUP);
    let told = events.message().expect("a notification");
    assert_eq!(told["method"], "notifications/tools/list_changed", "{told}");
    let listed = session.result("tools/list", &Value::Null).expect("tools");
    assert_eq!(listed["tools"], json!([]), "{listed}");
    airlock.audited(|record| record["event"] == "policy.loaded");
}
