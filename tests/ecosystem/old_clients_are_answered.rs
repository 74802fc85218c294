//! Clients of the first revisions: they are answered in the revision that they ask for, and see nothing that
//! they cannot read.

use airlock_tests::events::Events;
use airlock_tests::little::{Little, chatty};
use airlock_tests::mcp::{Session, text, tool_names};
use airlock_tests::{Setup, airlock, start_on};
use serde_json::json;

#[test]
fn who_asks_for_2024_11_05_gets_it_and_no_batches() {
    for io in ["epoll", "io_uring"] {
        let Some(airlock) = start_on(io, &Setup::default()) else { continue };
        let token = airlock.user();
        let open = |revision| Session::open_as(airlock.address(), "/mcp/docs", &token, revision, &json!({}));
        let mut session = open("2024-11-05").expect("a session");
        assert_eq!(session.initialized["protocolVersion"], "2024-11-05");
        let tools = session.result("tools/list", &json!({})).expect("a list");
        assert!(tool_names(&tools).iter().any(|name| name == "search_docs"), "{tools}");
        let found = session.call("search_docs", &json!({"query": "cgroup"})).expect("an answer");
        assert!(!text(&found).is_empty(), "{found}");
        let batch = json!([{"jsonrpc": "2.0", "id": 1, "method": "ping"}]);
        let refused = airlock.send(&session.prepare(&batch));
        assert_eq!(refused.status, 400, "{}", refused.text());
        // One that nobody knows is answered with the newest, as ever.
        let unknown = open("2023-01-01").expect("a session");
        assert_eq!(unknown.initialized["protocolVersion"], "2025-11-25");
    }
}

#[test]
fn before_2025_11_25_no_event_is_without_data() {
    let server = Little::start(chatty);
    let airlock = Setup {
        upstreams: server.entry("chatty").with("era", "modern").to_string(),
        ..airlock::Setup::default()
    }
    .start();
    let token = airlock.user();
    for revision in ["2024-11-05", "2025-03-26", "2025-06-18"] {
        let session = Session::open_as(airlock.address(), "/mcp/chatty", &token, revision, &json!({}));
        let session = session.expect("a session");
        let body = json!({"jsonrpc": "2.0", "id": 7, "method": "tools/call",
            "params": {"name": "count", "arguments": {}, "_meta": {"progressToken": "t"}}});
        let mut events = Events::open(airlock.address(), &session.prepare(&body)).expect("a stream");
        let all: Vec<_> = std::iter::from_fn(|| events.next_event().expect("a stream")).collect();
        assert!(all.len() >= 6, "{all:?}");
        assert!(all[0].retry.is_some() && all[1..].iter().all(|said| said.retry.is_none()), "{all:?}");
        for said in &all {
            let data = said.data.as_deref().unwrap_or_default();
            assert!(data.starts_with('{') && said.id.is_some(), "{said:?}");
        }
    }
}
