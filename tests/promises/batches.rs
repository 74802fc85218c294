//! Batches belong to 2025-03-26, and hide nothing: each message of one meets every check by itself.

use airlock_tests::http::{Request, Response};
use airlock_tests::{Airlock, Setup};
use serde_json::{Value, json};

struct Client<'a> {
    airlock: &'a Airlock,
    token: String,
    session: String,
}

impl<'a> Client<'a> {
    fn open(airlock: &'a Airlock, revision: &str) -> Self {
        let token = airlock.user();
        let body = json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {"protocolVersion": revision,
            "capabilities": {}, "clientInfo": {"name": "airlock-tests", "version": "1"}}});
        let response = airlock.send(&Request::post("/mcp/docs", body.to_string()).bearer(&token));
        assert_eq!(response.answer()["result"]["protocolVersion"], revision);
        let session = response.header("mcp-session-id").expect("a session").to_owned();
        Self { airlock, token, session }
    }

    fn send(&self, body: &str) -> Response {
        let request = Request::post("/mcp/docs", body.to_owned()).bearer(&self.token);
        self.airlock.send(&request.header("mcp-session-id", &self.session))
    }
}

fn call(id: u64, tool: &str) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "method": "tools/call",
        "params": {"name": tool, "arguments": {"query": "roll back", "address": "127.0.0.1:9"}}})
}

#[test]
fn each_message_of_a_batch_is_decided_and_recorded_by_itself() {
    for io in ["epoll", "io_uring"] {
        let Some(airlock) = crate::start_on(io, &Setup::default()) else { continue };
        let client = Client::open(&airlock, "2025-03-26");
        let batch = json!([
            {"jsonrpc": "2.0", "method": "notifications/initialized"},
            call(1, "search_docs"),
            call(2, "phone_home"),
            {"jsonrpc": "2.0", "id": "p", "method": "ping"},
            {"jsonrpc": "2.0", "id": 4, "method": "tools/list"},
        ]);
        let response = client.send(&batch.to_string());
        assert_eq!(response.status, 200, "{}", response.text());
        let answers: Value = serde_json::from_str(&response.text()).expect("an array");
        let ids: Vec<_> = answers.as_array().expect("an array").iter().map(|one| one["id"].clone()).collect();
        assert_eq!(ids, [json!(1), json!(2), json!("p"), json!(4)]);
        assert!(answers[0]["result"]["content"].is_array(), "{answers}");
        assert_eq!(answers[1]["error"]["data"]["rule_id"], "no_phone_home", "{answers}");
        assert!(!answers[3].to_string().contains("phone_home"), "{answers}");
        // Each under a correlation id of its own.
        let refused = airlock.audited(|record| record["event"] == "refusal");
        assert_eq!(refused["target"], "phone_home");
        assert_eq!(refused["correlation_id"], answers[1]["error"]["data"]["correlation_id"]);
        let intent = airlock.audited(|record| record["event"] == "call.intent");
        assert_ne!(intent["correlation_id"], refused["correlation_id"]);
        let outcome = airlock.audited(|record| record["event"] == "call.outcome");
        assert_eq!(intent["correlation_id"], outcome["correlation_id"]);

        let quiet =
            json!([{"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 77}}]);
        assert_eq!(client.send(&quiet.to_string()).status, 202);
    }
}

#[test]
fn a_batch_that_is_not_right_is_not_carried_out_at_all() {
    let airlock = Setup::default().start();
    let client = Client::open(&airlock, "2025-03-26");
    let good = call(1, "search_docs").to_string();
    for (body, expected) in [
        ("[]".to_owned(), "between 1 and 64"),
        (format!("[{good},{good}]"), "the id of another"),
        (
            format!(
                "[{good},{}]",
                call(2, "search_docs").to_string().replacen("\"id\":2", "\"id\":2,\"id\":3", 1)
            ),
            "duplicate",
        ),
        (format!("[{good},[{}]]", call(2, "search_docs")), "message 2"),
        (format!("[{good},{{\"jsonrpc\":\"2.0\",\"id\":9,\"method\":\"initialize\"}}]"), "comes alone"),
    ] {
        let response = client.send(&body);
        assert_eq!(response.status, 400, "{body}: {}", response.text());
        assert!(response.text().contains(expected), "{body}: {}", response.text());
    }
    assert!(!airlock.audit().iter().any(|record| record["event"] == "call.intent"), "something was called");
}

#[test]
fn no_other_revision_has_batches() {
    let airlock = Setup::default().start();
    let body = format!("[{}]", call(1, "search_docs"));
    for revision in ["2025-06-18", "2025-11-25"] {
        let response = Client::open(&airlock, revision).send(&body);
        assert!(response.status == 400 && response.text().contains("2025-03-26"), "{}", response.text());
    }
    let token = airlock.user();
    let alone = airlock.send(&Request::post("/mcp/docs", body.clone()).bearer(&token));
    assert_eq!(alone.status, 400, "{}", alone.text());
    let modern = Request::post("/mcp/docs", body).bearer(&token).header("mcp-protocol-version", "2026-07-28");
    assert_eq!(airlock.send(&modern.header("mcp-method", "tools/call")).status, 400);
    assert!(!airlock.audit().iter().any(|record| record["event"] == "call.intent"), "something was called");
}
