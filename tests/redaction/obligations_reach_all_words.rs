//! Obligations of the policy reach what a server says outside of calls, and its questions in them.

use airlock_tests::airlock::{stdio_upstream, until};
use airlock_tests::events::Events;
use airlock_tests::mcp::{LEGACY, Session, modern, text};
use airlock_tests::{Airlock, Setup, airlock};
use serde_json::{Value, json};

const MAIL: &str = "alice@acme.com";

/// The leaky server behind a policy that obliges requests of this method to the pack `pii`.
fn obliged(method: &str) -> Airlock {
    let policy = format!(
        "{}\nobligations := {{\"redact\": [\"pii\"]}} if input.call.method == {method:?}\n",
        airlock::POLICY
    );
    let server = include_str!("leaky_server.py");
    let upstreams = stdio_upstream("leaky", &["python3", "-c", server]) + "    era: legacy\n";
    Setup { upstreams, policy, ..Setup::default() }.start()
}

fn session(airlock: &Airlock, token: &str) -> Session {
    let can = json!({"elicitation": {}, "sampling": {}});
    let session = Session::open_as(airlock.address(), "/mcp/leaky", token, LEGACY, &can).expect("a session");
    session.notify("notifications/initialized").expect("taken");
    session
}

/// That an address is in a message, or what takes its place.
fn holds(message: &Value, is_redacted: bool, what: &str) {
    let message = message.to_string();
    assert_eq!(message.contains("says [redacted:email]"), is_redacted, "{what}: {message}");
    assert_eq!(message.contains(MAIL), !is_redacted, "{what}: {message}");
}

#[test]
fn notifications_of_no_call_are_redacted_as_the_policy_obliges_to() {
    for (method, said, is_redacted) in [
        ("logging/setLevel", "notifications/message", true),
        ("prompts/list", "notifications/message", true),
        ("tasks/get", "notifications/message", false),
        ("tasks/get", "notifications/tasks/status", true),
        ("tools/list", "notifications/tasks/status", false),
    ] {
        let airlock = obliged(method);
        let mut session = session(&airlock, &airlock.user());
        let mut events = Events::open(airlock.address(), &session.listen(None)).expect("a stream");
        session.call("aside", &json!({"method": said})).expect("a result");
        let message = events.message().expect("a message");
        assert_eq!(message["method"], said, "{method}: {message}");
        holds(&message, is_redacted, method);
    }
}

#[test]
fn how_a_task_stands_is_told_to_whom_the_policy_lets_ask() {
    let server = include_str!("leaky_server.py");
    let upstreams = stdio_upstream("leaky", &["python3", "-c", server]) + "    era: legacy\n";
    let policy = airlock::POLICY.to_owned()
        + "\ndeny contains {\"rule_id\": \"no_tasks\", \"reason\": \"none\"} if input.call.method == \"tasks/get\"\n";
    let airlock = Setup { upstreams, policy, ..Setup::default() }.start();
    let mut session = session(&airlock, &airlock.user());
    let mut events = Events::open(airlock.address(), &session.listen(None)).expect("a stream");
    for said in ["notifications/tasks/status", "notifications/message"] {
        session.call("aside", &json!({"method": said})).expect("a result");
    }
    assert_eq!(events.message().expect("a message")["method"], "notifications/message");
}

#[test]
fn questions_of_no_call_and_their_answers_are_redacted_as_the_policy_obliges_to() {
    for (asked, obliging, is_redacted) in [
        ("elicitation/create", "elicitation/create", true),
        ("elicitation/create", "sampling/createMessage", false),
        ("sampling/createMessage", "sampling/createMessage", true),
    ] {
        let airlock = obliged(obliging);
        let mut session = session(&airlock, &airlock.user());
        let mut events = Events::open(airlock.address(), &session.listen(None)).expect("a stream");
        session.call("aside", &json!({"method": asked})).expect("a result");
        let question = events.message().expect("a question");
        assert_eq!(question["method"], asked, "{question}");
        holds(&question, is_redacted, obliging);
        let result = match asked {
            "elicitation/create" => json!({"action": "accept", "content": {"mail": MAIL}}),
            _ => json!({"role": "assistant", "model": "m", "content": {"type": "text", "text": MAIL}}),
        };
        let answer = json!({"jsonrpc": "2.0", "id": question["id"], "result": result});
        assert_eq!(airlock.send(&session.prepare(&answer)).status, 202);
        let told = until(|| {
            let told = session.call("told", &json!({})).expect("a result");
            (told["structuredContent"]["answers"] == 1).then_some(told)
        });
        let told = told.expect("the server has its answer");
        assert_eq!(told["structuredContent"]["mail"], !is_redacted, "{obliging}: {told}");
    }
}

#[test]
fn a_question_in_a_call_is_redacted_as_the_policy_obliges_to_for_it() {
    for (method, is_redacted) in [("elicitation/create", true), ("tools/list", false)] {
        let airlock = obliged(method);
        let token = airlock.user();
        // A legacy client answers while the call goes on.
        let session = session(&airlock, &token);
        let body = json!({"jsonrpc": "2.0", "id": 9, "method": "tools/call",
            "params": {"name": "ask", "arguments": {}}});
        let mut events = Events::open(airlock.address(), &session.prepare(&body)).expect("a stream");
        let question = events.message().expect("a question");
        holds(&question, is_redacted, method);
        let answer = json!({"jsonrpc": "2.0", "id": question["id"],
            "result": {"action": "accept", "content": {"mail": MAIL}}});
        assert_eq!(airlock.send(&session.prepare(&answer)).status, 202);
        let told = events.message().expect("an answer")["result"].clone();
        assert_eq!(
            (text(&told), &told["structuredContent"]["mail"]),
            ("heard nothing of it", &json!(!is_redacted))
        );
        // A modern one comes back with its answer.
        let params = json!({"name": "ask", "arguments": {},
            "_meta": {"io.modelcontextprotocol/clientCapabilities": {"elicitation": {}}}});
        let asked = airlock.send(&modern("/mcp/leaky", 4, "tools/call", &params).bearer(&token)).answer();
        holds(&asked["result"], is_redacted, method);
    }
}
