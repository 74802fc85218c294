//! Everything that a server says is looked through before anything of it leaves: results, errors,
//! notifications, questions, lists and instructions.

use airlock_tests::events::Events;
use airlock_tests::mcp::{LEGACY, Session, modern, modern_call, text};
use serde_json::{Value, json};

use super::arguments_are_looked_through::{SECRET, leaky};

/// That a message has been looked through: the secret is not in it, and what takes its place is.
pub(super) fn is_redacted(what: &str, message: &Value) {
    let text = message.to_string();
    assert!(!text.contains(SECRET), "{what}: {text}");
    assert!(text.contains("[redacted:github-token]"), "{what}: {text}");
}

const ASKED: [(&str, &str); 8] = [
    ("tools/list", "{}"),
    ("resources/list", "{}"),
    ("resources/templates/list", "{}"),
    ("prompts/list", "{}"),
    ("resources/read", r#"{"uri":"leak://one"}"#),
    ("prompts/get", r#"{"name":"p"}"#),
    (
        "completion/complete",
        r#"{"ref":{"type":"ref/prompt","name":"p"},"argument":{"name":"a","value":"b"}}"#,
    ),
    ("tools/call", r#"{"name":"fails","arguments":{}}"#),
];

#[test]
fn nothing_of_a_server_goes_by_unseen() {
    let mut airlock = leaky("");
    let token = airlock.user();
    let at = airlock.address();
    let can = json!({"elicitation": {}});
    let mut session = Session::open_as(at, "/mcp/leaky", &token, LEGACY, &can).expect("a session");
    for (method, params) in ASKED {
        let params: Value = serde_json::from_str(params).expect("JSON");
        is_redacted(method, &session.request(method, &params).expect("an answer").answer());
        is_redacted(method, &airlock.send(&modern("/mcp/leaky", 5, method, &params).bearer(&token)).answer());
    }
    // Instructions are known once the server has run.
    let hello = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params":
        {"protocolVersion": LEGACY, "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}});
    for path in ["/mcp", "/mcp/leaky"] {
        let request = airlock_tests::http::Request::post(path, hello.to_string()).bearer(&token);
        is_redacted("initialize", &airlock.send(&request).answer());
        is_redacted(
            "server/discover",
            &airlock.send(&modern(path, 2, "server/discover", &json!({})).bearer(&token)).answer(),
        );
    }
    is_redacted("/mcp", &airlock.send(&modern("/mcp", 3, "tools/list", &json!({})).bearer(&token)).answer());
    assert!(airlock.stop().success());
    let outcome = airlock.audit().into_iter().find(|record| record["event"] == "call.outcome");
    assert!(outcome.is_some_and(|record| record["redactions"]["github-token"].as_u64() > Some(0)));
    assert!(!airlock.log().contains(SECRET) && !format!("{:?}", airlock.audit()).contains(SECRET));
}

#[test]
fn the_first_event_of_a_stream_and_the_last_are_looked_through() {
    let airlock = leaky("");
    let token = airlock.user();
    let can = json!({"elicitation": {}});
    let session = Session::open_as(airlock.address(), "/mcp/leaky", &token, LEGACY, &can).expect("a session");
    let call = |tool: &str| {
        let body = json!({"jsonrpc": "2.0", "id": 9, "method": "tools/call",
            "params": {"name": tool, "arguments": {}, "_meta": {"progressToken": "p"}}});
        Events::open(airlock.address(), &session.prepare(&body)).expect("a stream")
    };
    let mut events = call("all");
    for expected in ["notifications/progress", "notifications/message"] {
        let message = events.message().expect("a message");
        assert_eq!(message["method"], expected, "{message}");
        is_redacted(expected, &message);
    }
    let last = events.message().expect("an answer");
    is_redacted("the answer", &last);
    let structured = &last["result"]["structuredContent"];
    assert_eq!((&structured["card"], &structured["kept"]), (&json!(0), &json!(1.5)), "{last}");
    let mut events = call("ask");
    let question = events.message().expect("a question");
    is_redacted("elicitation/create", &question);
    let answer = json!({"jsonrpc": "2.0", "id": question["id"],
        "result": {"action": "accept", "content": {"key": SECRET}}});
    assert_eq!(airlock.send(&session.prepare(&answer)).status, 202);
    assert_eq!(text(&events.message().expect("an answer")["result"]), "heard nothing of it");
}

#[test]
fn a_modern_client_is_asked_and_answers_in_the_same_way() {
    let airlock = leaky("");
    let token = airlock.user();
    let ask = |more: &Value| {
        let mut params = json!({"name": "ask", "arguments": {"a": SECRET},
            "_meta": {"io.modelcontextprotocol/clientCapabilities": {"elicitation": {}}}});
        for (name, value) in more.as_object().into_iter().flatten() {
            params[name] = value.clone();
        }
        airlock.send(&modern("/mcp/leaky", 4, "tools/call", &params).bearer(&token)).answer()["result"]
            .clone()
    };
    let asked = ask(&Value::Null);
    is_redacted("input_required", &asked);
    let answers = json!({"1": {"action": "accept", "content": {"key": SECRET}}});
    let done = ask(&json!({"requestState": asked["requestState"], "inputResponses": answers}));
    assert_eq!(text(&done), "heard nothing of it", "{done}");
}

#[test]
fn what_is_clean_passes_as_it_came_and_a_long_answer_too() {
    let airlock = leaky("");
    let token = airlock.user();
    let mut session = Session::open(airlock.address(), "/mcp/leaky", &token).expect("a session");
    let params = json!({"name": "clean", "arguments": {}});
    let clean = session.request("tools/call", &params).expect("an answer").text();
    let expected = r#""result":{"content": [{"type": "text", "text": "nothing to see \u00e9"}], "n": 1.5}"#;
    assert!(clean.contains(expected), "{clean}");
    let long = session.call("long", &json!({})).expect("a result");
    assert!(text(&long).ends_with("so [redacted:github-token] it is") && text(&long).len() > 300_000);
}

#[test]
fn a_blocking_detector_gives_an_error_that_names_it() {
    let mut airlock = leaky("dlp: {response: block}\n");
    let token = airlock.user();
    let call =
        |tool: &str| airlock.send(&modern_call("/mcp/leaky", 1, tool, &json!({})).bearer(&token)).answer();
    for tool in ["all", "long", "fails"] {
        let answer = call(tool);
        assert_eq!(answer["error"]["data"]["rule_id"], "github-token", "{tool}: {answer}");
        assert!(!answer.to_string().contains(SECRET), "{tool}: {answer}");
    }
    assert_eq!(text(&call("clean")["result"]), "nothing to see é");
    let outcome = airlock.audited(|record| record["event"] == "call.outcome" && record["target"] == "all");
    assert_eq!(
        (&outcome["decision"], &outcome["stage"], &outcome["rule_id"]),
        (&json!("deny"), &json!("redact"), &json!("github-token")),
        "{outcome}"
    );
    // Entries of lists are left out one by one.
    let listed = airlock.send(&modern("/mcp/leaky", 2, "tools/list", &json!({})).bearer(&token)).answer();
    assert_eq!(listed["result"]["tools"], json!([]), "{listed}");
    assert!(airlock.stop().success());
    assert!(!airlock.log().contains(SECRET) && !format!("{:?}", airlock.audit()).contains(SECRET));
}
