//! `subscriptions/listen`: a modern client hears of what it asked for and may know, and of nothing else.

use std::io;
use std::net::TcpStream;
use std::sync::Mutex;

use airlock_tests::events::Events;
use airlock_tests::little::{Book, Little, Seen, begin_events, wait_for_end, write_json, write_piece};
use airlock_tests::mcp::modern;
use airlock_tests::{Setup, airlock, start_on};
use rustix::process::Signal;
use serde_json::{Value, json};

/// A modern server with everything that can be listened to.
fn rich(seen: &Seen, stream: &mut TcpStream, _: &Mutex<Book>) -> io::Result<()> {
    if seen.rpc() == "subscriptions/listen" {
        let acknowledged = json!({"jsonrpc": "2.0", "method": "notifications/subscriptions/acknowledged",
            "params": {"notifications": seen.body["params"]["notifications"], "_meta": {ID: seen.body["id"]}}});
        begin_events(stream)?;
        write_piece(stream, format!("data: {acknowledged}\n\n").as_bytes())?;
        return wait_for_end(stream);
    }
    let result = json!({"resultType": "complete", "ttlMs": 0, "cacheScope": "public",
        "supportedVersions": ["2026-07-28"],
        "capabilities": {"tools": {"listChanged": true}, "resources": {"subscribe": true, "listChanged": true}}});
    write_json(stream, &seen.result(&result))
}

const ID: &str = "io.modelcontextprotocol/subscriptionId";

fn filter() -> Value {
    json!({"notifications": {"toolsListChanged": true, "promptsListChanged": true,
        "resourceSubscriptions": ["docs://open", "docs://closed"]}})
}

#[test]
fn a_subscription_is_acknowledged_as_far_as_it_is_granted_and_ends_in_good_order() {
    let policy = airlock::POLICY.to_owned()
        + "\ndeny contains {\"rule_id\": \"closed\", \"reason\": \"not for you\"} if input.call.resource == \"docs://closed\"\n";
    for io in ["epoll", "io_uring"] {
        let server = Little::start(rich);
        let upstreams = server.entry("rich").with("era", "modern").to_string();
        let setup = Setup { upstreams, policy: policy.clone(), ..Setup::default() };
        let Some(mut airlock) = start_on(io, &setup) else { continue };
        let token = airlock.user();
        let request = modern("/mcp/rich", 41, "subscriptions/listen", &filter()).bearer(&token);
        let mut events = Events::open(airlock.address(), &request).expect("a stream");
        assert_eq!(events.status, 200, "{}", events.head);
        let acknowledged = events.message().expect("an acknowledgement");
        assert_eq!(acknowledged["method"], "notifications/subscriptions/acknowledged");
        assert_eq!(acknowledged["params"]["_meta"][ID], 41, "{acknowledged}");
        assert_eq!(
            acknowledged["params"]["notifications"],
            json!({"toolsListChanged": true, "resourceSubscriptions": ["docs://open"]}),
            "the server has no prompts, and the policy closes a resource"
        );
        airlock.audited(|r| r["rule_id"] == "closed" && r["method"] == "resources/subscribe");
        airlock.audited(|r| r["event"] == "request" && r["method"] == "subscriptions/listen");

        std::fs::write(airlock.dir().join("policies/authz.rego"), airlock::POLICY).expect("a policy");
        airlock.signal(Signal::HUP);
        let changed = events.message().expect("a notification");
        assert_eq!(changed["method"], "notifications/tools/list_changed");
        assert_eq!(changed["params"]["_meta"][ID], 41, "{changed}");

        airlock.signal(Signal::TERM);
        let last = events.message().expect("a result");
        assert_eq!((&last["id"], &last["result"]["resultType"]), (&json!(41), &json!("complete")), "{last}");
        assert_eq!(last["result"]["_meta"][ID], 41);
        assert!(events.next_event().expect("a stream").is_none());
        assert!(airlock.wait().success());
    }
}

#[test]
fn a_subscription_of_nobody_is_refused() {
    let server = Little::start(rich);
    let setup =
        Setup { upstreams: server.entry("rich").with("era", "modern").to_string(), ..Setup::default() };
    let airlock = setup.start();
    let mallory = airlock.token("mallory", "acme", &["somewhere.else"]);
    let request = modern("/mcp/rich", 1, "subscriptions/listen", &filter()).bearer(&mallory);
    assert_eq!(airlock.send(&request).status, 403);
    let wrong = json!({"notifications": {"toolsListChanged": "yes"}});
    let request = modern("/mcp/rich", 1, "subscriptions/listen", &wrong).bearer(&airlock.user());
    assert_eq!(airlock.send(&request).status, 400);
}
