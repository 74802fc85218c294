//! Bytes that are no text, halves of characters, and the roots of clients.

use airlock_tests::mcp::{LEGACY, Session, modern_call, text};
use serde_json::json;

use super::arguments_are_looked_through::{SECRET, leaky};

#[test]
fn bytes_that_are_no_text_go_in_neither_direction() {
    let mut airlock = leaky("");
    let token = airlock.user();
    let mut request = modern_call("/mcp/leaky", 1, "heard", &json!({"a": SECRET, "b": "~"})).bearer(&token);
    for byte in request.body.iter_mut().filter(|byte| **byte == b'~') {
        *byte = 0xff;
    }
    let refused = airlock.send(&request);
    let reason = refused.text();
    assert!(refused.status == 400 && reason.contains("not UTF-8 at byte"), "{reason}");
    assert!(!reason.contains(SECRET), "{reason}");
    // A server's line is left out, and what comes behind it is not.
    let session =
        Session::open_as(airlock.address(), "/mcp/leaky", &token, LEGACY, &json!({})).expect("a session");
    let call = json!({"jsonrpc": "2.0", "id": 9, "method": "tools/call",
        "params": {"name": "bytes", "arguments": {}}});
    let answer = airlock.send(&session.prepare(&call)).answer();
    assert_eq!(text(&answer["result"]), "said", "{answer}");
    assert!(airlock.stop().success());
    assert!(!airlock.log().contains(SECRET) && !format!("{:?}", airlock.audit()).contains(SECRET));
}

#[test]
fn half_a_character_hides_nothing_and_stays_as_it_came() {
    let airlock = leaky("");
    let call = modern_call("/mcp/leaky", 1, "half", &json!({})).bearer(&airlock.user());
    let answer = airlock.send(&call).text();
    assert!(
        answer.contains(r"\ud83d so [redacted:github-token] it is") && !answer.contains(SECRET),
        "{answer}"
    );
    // The same from a client: it is refused, or passes without the secret.
    let mut request = modern_call("/mcp/leaky", 1, "heard", &json!({"a": SECRET})).bearer(&airlock.user());
    let body = String::from_utf8(request.body).expect("JSON").replace(SECRET, &format!(r"\ud83d {SECRET}"));
    request.body = body.into_bytes();
    let answer = airlock.send(&request);
    let is_clean = answer.status == 400 || answer.text().contains("heard nothing of it");
    assert!(is_clean && !answer.text().contains(SECRET), "{}", answer.text());
}

#[test]
fn the_roots_of_a_client_reach_no_server() {
    let airlock = leaky("");
    let can = json!({"roots": {"listChanged": true}});
    let session =
        Session::open_as(airlock.address(), "/mcp/leaky", &airlock.user(), LEGACY, &can).expect("a session");
    let call = json!({"jsonrpc": "2.0", "id": 9, "method": "tools/call",
        "params": {"name": "roots", "arguments": {}}});
    let response = airlock.send(&session.prepare(&call));
    // The client is not asked: the first thing that it hears is the answer.
    let answer = response.answer();
    assert_eq!((&answer["id"], text(&answer["result"])), (&json!(9), r#"{"roots": []}"#), "{answer}");
}
