//! How many event streams are open at a time, whichever kind they are and however they end.

use airlock_tests::airlock::until;
use airlock_tests::events::Events;
use airlock_tests::little::{Little, chatty};
use airlock_tests::mcp::{Session, modern, modern_call, text};
use airlock_tests::{Airlock, Setup, start_on};
use serde_json::{Value, json};

use super::refused_by;

fn setup(server: &Little, limits: &str) -> Setup {
    let upstreams = server.entry("chatty").with("era", "modern").to_string();
    Setup { upstreams, more: format!("rate_limiting: {{{limits}}}\n"), ..Setup::default() }
}

fn session(airlock: &Airlock, token: &str) -> Session {
    Session::open(airlock.address(), "/mcp/chatty", token).expect("a session")
}

fn open(airlock: &Airlock, session: &Session) -> Events {
    let mut events = Events::open(airlock.address(), &session.listen(None)).expect("an answer");
    assert_eq!(events.status, 200, "{}", events.head);
    events.next_event().expect("a stream").expect("the first event");
    events
}

#[test]
fn places_are_few_and_come_back_however_a_stream_ends() {
    for io in ["epoll", "io_uring"] {
        let server = Little::start(chatty);
        let Some(airlock) = start_on(io, &setup(&server, "per_principal: {streams: 2}")) else { continue };
        let token = airlock.user();
        let sessions = [(); 3].map(|()| session(&airlock, &token));
        let [first, second] = [open(&airlock, &sessions[0]), open(&airlock, &sessions[1])];
        let refused = airlock.send(&sessions[2].listen(None));
        refused_by(&refused, "rate_limiting.per_principal.streams");
        let listen = json!({"notifications": {"toolsListChanged": true}});
        let listen = modern("/mcp/chatty", 9, "subscriptions/listen", &listen).bearer(&token);
        let refused = airlock.send(&listen);
        refused_by(&refused, "rate_limiting.per_principal.streams");
        assert_eq!(refused.answer()["id"], 9);
        airlock.audited(|r| {
            r["rule_id"] == "rate_limiting.per_principal.streams" && r["method"] == "subscriptions/listen"
        });

        // A call is answered all the same, without what its server says meanwhile.
        for request in [
            modern_call("/mcp/chatty", 5, "count", &json!({})).bearer(&token),
            sessions[2].prepare(&json!({"jsonrpc": "2.0", "id": 5, "method": "tools/call",
                "params": {"name": "count", "arguments": {}, "_meta": {"progressToken": "t"}}})),
        ] {
            let answer = airlock.send(&request);
            assert_eq!(answer.status, 200, "{}", answer.text());
            assert_eq!(answer.header("content-type"), Some("application/json"));
            assert_eq!(text(&answer.answer()["result"]), "counted");
        }

        let other = airlock.token("bob", "acme", &["mcp.users"]);
        drop(open(&airlock, &session(&airlock, &other)));

        // The client of one vanishes, the session of the other ends.
        drop(first);
        let mut third = until(|| {
            let events = Events::open(airlock.address(), &sessions[2].listen(None)).ok()?;
            (events.status == 200).then_some(events)
        })
        .expect("the place of who is gone");
        assert!(third.next_event().expect("a stream").is_some());
        let mut delete = sessions[1].listen(None);
        "DELETE".clone_into(&mut delete.method);
        assert_eq!(airlock.send(&delete).status, 204);
        let mut listening = until(|| {
            let events = Events::open(airlock.address(), &listen).ok()?;
            (events.status == 200).then_some(events)
        })
        .expect("the place of the session that ended");
        assert!(listening.message().is_some());
        drop(second);
        refused_by(
            &airlock.send(&session(&airlock, &token).listen(None)),
            "rate_limiting.per_principal.streams",
        );
        // All of them go, and all places come back.
        drop((third, listening));
        let fresh = [(); 2].map(|()| session(&airlock, &token));
        let both = until(|| {
            let open = |session: &Session| {
                let events = Events::open(airlock.address(), &session.listen(None)).ok()?;
                (events.status == 200).then_some(events)
            };
            Some((open(&fresh[0])?, open(&fresh[1])?))
        });
        assert!(both.is_some());
    }
}

#[test]
fn a_call_gives_its_place_back_when_its_stream_is_over() {
    let server = Little::start(chatty);
    let airlock = setup(&server, "per_tenant: {streams: 1}").start();
    let token = airlock.user();
    let request = |token: &str| {
        let count = json!({"name": "count", "arguments": {}, "_meta": {"progressToken": "t"}});
        modern("/mcp/chatty", 5, "tools/call", &count).bearer(token)
    };
    for _ in 0..3 {
        let messages = airlock.send(&request(&token)).messages();
        assert!(messages.len() > 1, "a stream: {messages:?}");
    }
    // While one streams, another of the tenant is answered without one.
    let mut events = Events::open(airlock.address(), &request(&token)).expect("a stream");
    assert_eq!(events.message().expect("progress")["params"]["progress"], 1);
    let other = airlock.token("bob", "acme", &["mcp.users"]);
    let quiet = airlock.send(&request(&other));
    assert_eq!(quiet.header("content-type"), Some("application/json"), "{}", quiet.text());
    let rest: Vec<Value> = std::iter::from_fn(|| events.message()).collect();
    assert_eq!(text(&rest.last().expect("a result")["result"]), "counted");
    // A stream that stays: nobody else of the tenant gets one.
    let standing = open(&airlock, &session(&airlock, &token));
    let refused = airlock.send(&session(&airlock, &other).listen(None));
    refused_by(&refused, "rate_limiting.per_tenant.streams");
    drop(standing);
}
