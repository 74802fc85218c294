//! 2025-03-26 has batches: each message in one is checked, allowed and recorded by itself.

use airlock_tests::http::Response;
use airlock_tests::mcp::Session;
use airlock_tests::{Setup, start_on};
use serde_json::{Value, json};

fn call(id: u64, tool: &str) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "method": "tools/call",
        "params": {"name": tool, "arguments": {"query": "roll back", "address": "127.0.0.1:9"}}})
}

fn array(response: &Response) -> Vec<Value> {
    serde_json::from_slice(&response.body).unwrap_or_else(|_| panic!("no array: {}", response.text()))
}

#[test]
fn each_message_of_a_batch_is_judged_by_itself() {
    for io in ["epoll", "io_uring"] {
        let Some(airlock) = start_on(io, &Setup::default()) else { continue };
        let token = airlock.user();
        let open = |revision: &str| {
            Session::open_as(airlock.address(), "/mcp/docs", &token, revision, &json!({})).expect("a session")
        };
        let session = open("2025-03-26");
        let batch = json!([
            call(1, "search_docs"),
            {"jsonrpc": "2.0", "method": "notifications/initialized"},
            call(2, "phone_home"),
            {"jsonrpc": "2.0", "id": 3, "method": "ping"},
            {"jsonrpc": "2.0", "id": "nobody-asked", "result": {}},
        ]);
        let answers = airlock.send(&session.prepare(&batch));
        assert_eq!(answers.status, 200, "{}", answers.text());
        let answers = array(&answers);
        assert_eq!(answers.len(), 4, "{answers:?}");
        assert!(answers[0]["result"].to_string().contains("deployment.md"), "{answers:?}");
        assert_eq!(
            (&answers[1]["id"], &answers[1]["error"]["data"]["rule_id"]),
            (&json!(2), &json!("no_phone_home"))
        );
        assert_eq!((&answers[2]["id"], &answers[2]["result"]), (&json!(3), &json!({})));
        assert!(answers[3]["error"].is_object(), "{answers:?}");
        let allowed = airlock.audited(|r| r["event"] == "call.outcome" && r["target"] == "search_docs");
        let refused = airlock.audited(|r| r["event"] == "refusal" && r["target"] == "phone_home");
        assert_ne!(allowed["correlation_id"], refused["correlation_id"], "each has a record of its own");

        let quiet = json!([{"jsonrpc": "2.0", "method": "notifications/initialized"}]);
        assert_eq!(airlock.send(&session.prepare(&quiet)).status, 202);
        let initialize = json!([{"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {}}]);
        let twice = json!([call(1, "search_docs"), call(1, "search_docs")]);
        let many = Value::from(vec![call(1, "search_docs"); 65]);
        for wrong in [&json!([]), &json!([1]), &initialize, &twice, &many] {
            assert_eq!(airlock.send(&session.prepare(wrong)).status, 400, "{wrong}");
        }
        // No other revision has them.
        for revision in ["2025-06-18", "2025-11-25"] {
            let answer = airlock.send(&open(revision).prepare(&batch));
            assert_eq!(answer.status, 400, "{}", answer.text());
        }
    }
}
