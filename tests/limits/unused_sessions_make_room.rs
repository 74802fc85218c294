//! Sessions that nobody uses make room for those that somebody wants.

use std::io::Write as _;

use airlock_tests::airlock::{free_address, until};
use airlock_tests::events::Events;
use airlock_tests::http::{Request, connect};
use airlock_tests::little::{Little, silent};
use airlock_tests::mcp::Session;
use airlock_tests::{Airlock, Setup, start_on};
use serde_json::{Value, json};

fn open(airlock: &Airlock, token: &str) -> Result<Session, String> {
    Session::open(airlock.address(), "/mcp/endless", token)
}

fn ping(airlock: &Airlock, session: &Session) -> (u16, Value) {
    let answer = airlock.send(&session.prepare(&json!({"jsonrpc": "2.0", "id": 1, "method": "ping"})));
    (answer.status, answer.answer())
}

fn listen(airlock: &Airlock, session: &Session) -> Events {
    let events = Events::open(airlock.address(), &session.listen(None)).expect("an answer");
    assert_eq!(events.status, 200, "{}", events.head);
    events
}

#[test]
fn what_is_left_alone_makes_room_and_what_is_in_use_does_not() {
    for io in ["epoll", "io_uring"] {
        let server = Little::start(silent);
        let upstreams = server.entry("endless").with("era", "modern").to_string();
        let more = "limits: {sessions: {per_principal: 3}}\n".to_owned();
        // The call has no end, and nobody waits for it.
        let server_keys = "  timeouts: {drain: 1s}\n".to_owned();
        let metrics = free_address().expect("a port");
        let setup = Setup { upstreams, more, server: server_keys, ..Setup::default() }
            .observability("metrics_listen", metrics);
        let Some(airlock) = start_on(io, &setup) else { continue };
        let token = airlock.user();
        let [reads, calls, idle] = [(); 3].map(|()| open(&airlock, &token).expect("a session"));
        let others = open(&airlock, &airlock.token("bob", "acme", &["mcp.users"])).expect("a session");
        let _stream = listen(&airlock, &reads);
        let call = calls.prepare(&json!({"jsonrpc": "2.0", "id": 7, "method": "tools/call",
            "params": {"name": "wait", "arguments": {}}}));
        let mut caller = connect(airlock.address()).expect("a connection");
        caller.write_all(&call.bytes(airlock.address())).expect("a request");
        server.until(|book| book.seen.iter().any(|seen| seen.rpc() == "tools/call").then_some(()));

        let fourth = open(&airlock, &token).expect("the idle one makes room");
        let (status, told) = ping(&airlock, &idle);
        let reason = told["error"]["message"].as_str().unwrap_or_default();
        assert!(status == 404 && reason.contains("send `initialize` again"), "{io}: {told}");
        for session in [&reads, &calls, &fourth, &others] {
            assert_eq!(ping(&airlock, session).0, 200, "{io}");
        }

        let stream = listen(&airlock, &fourth);
        let refused = open(&airlock, &token).expect_err("all three are in use");
        for words in ["HTTP 503", "all 3 sessions", "limits.sessions.per_principal", "try again in 30 s"] {
            assert!(refused.contains(words), "{io}: {refused}");
        }
        drop(stream);
        assert!(until(|| open(&airlock, &token).ok()).is_some(), "{io}: nothing is read any more");
        assert_eq!(ping(&airlock, &fourth).0, 404, "{io}");
        assert_eq!(ping(&airlock, &reads).0, 200, "{io}");

        // Two made room. The second is not a minute later, so one line tells of the first alone.
        for words in ["sessions made room", "or raise `limits.sessions.per_principal`"] {
            assert!(airlock.logs(words), "{io}: {}", airlock.log());
        }
        assert_eq!(airlock.log().matches("sessions made room").count(), 1, "{io}: {}", airlock.log());
        let scraped = Request::get("/metrics").send(metrics).expect("an answer").text();
        let counted = r#"airlock_sessions_made_room_total{limit="limits.sessions.per_principal"} 2"#;
        assert!(scraped.lines().any(|line| line == counted), "{io}: {scraped}");
    }
}
