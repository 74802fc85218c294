//! What was given to one principal is worthless to every other, also to one of the same name in another tenant.

use airlock_tests::events::Events;
use airlock_tests::http::Request;
use airlock_tests::mcp::{LEGACY, Session};
use airlock_tests::{Airlock, Setup};
use serde_json::{Value, json};

use crate::questions::{call, server};

/// The owner, and those who steal: another subject, and the same subject of another tenant.
fn principals(airlock: &Airlock) -> (String, [String; 2]) {
    let group = ["mcp.users"];
    let thieves = [airlock.token("mallory", "acme", &group), airlock.token("alice", "globex", &group)];
    (airlock.user(), thieves)
}

fn with_token(request: &Request, token: &str) -> Request {
    let mut request = request.clone();
    request.headers.retain(|(name, _)| !name.eq_ignore_ascii_case("authorization"));
    request.bearer(token)
}

#[test]
fn a_session_and_its_events_are_their_owners() {
    let airlock = Setup::default().start();
    let (owner, thieves) = principals(&airlock);
    let session = Session::open(airlock.address(), "/mcp/docs", &owner).expect("a session");
    let mut events = Events::open(airlock.address(), &session.listen(None)).expect("a stream");
    assert_eq!(events.status, 200);
    let id = events.next_event().expect("an event").expect("the first").id.expect("an id");
    for thief in &thieves {
        for request in [session.listen(None), session.listen(Some(&id))] {
            assert_eq!(airlock.send(&with_token(&request, thief)).status, 404);
        }
        let own = Session::open(airlock.address(), "/mcp/docs", thief).expect("a session of its own");
        let stolen = airlock.send(&own.listen(Some(&id)));
        assert_eq!(stolen.status, 400, "{}", stolen.text());
        assert!(stolen.text().contains("Last-Event-ID"), "{}", stolen.text());
        let mut delete = with_token(&session.listen(None), thief);
        delete.method = "DELETE".to_owned();
        assert_eq!(airlock.send(&delete).status, 404);
        let subscribe = json!({"jsonrpc": "2.0", "id": 5, "method": "resources/subscribe", "params": {"uri": "docs://x"}});
        assert_eq!(airlock.send(&with_token(&session.prepare(&subscribe), thief)).status, 404);
    }
    // The owner still listens, and comes back with the same id.
    drop(events);
    assert_eq!(Events::open(airlock.address(), &session.listen(Some(&id))).expect("a stream").status, 200);
}

#[test]
fn a_state_is_for_its_owner_and_its_request() {
    let (_server, upstreams) = server();
    let (_other, more) = server();
    let upstreams = upstreams + &more.replace("name: asking", "name: other");
    let airlock = Setup { upstreams, ..Setup::default() }.start();
    let (owner, thieves) = principals(&airlock);
    let asked = airlock.send(&call("/mcp/asking", 1, "greet", &Value::Null).bearer(&owner)).answer();
    let state = &asked["result"]["requestState"];
    let back = json!({"requestState": state, "inputResponses": {"who": {"action": "decline"}}});
    let refused = |request: Request| {
        let answer = airlock.send(&request);
        assert_eq!(
            (answer.status, &answer.answer()["error"]["code"]),
            (400, &json!(-32_602)),
            "{}",
            answer.text()
        );
    };
    for thief in &thieves {
        refused(call("/mcp/asking", 2, "greet", &back).bearer(thief));
    }
    // Another upstream, endpoint, target, arguments; one that was tampered with.
    refused(call("/mcp/other", 2, "greet", &back).bearer(&owner));
    refused(call("/mcp", 2, "asking__greet", &back).bearer(&owner));
    refused(call("/mcp/asking", 2, "think", &back).bearer(&owner));
    let mut other = back.clone();
    other["arguments"] = json!({"a": 2});
    refused(call("/mcp/asking", 2, "greet", &other).bearer(&owner));
    // Answers to nothing that was asked here do not reach the server: it asks.
    let unasked = json!({"inputResponses": {"who": {"action": "accept", "content": {"name": "Eve"}}}});
    let again = airlock.send(&call("/mcp/asking", 2, "greet", &unasked).bearer(&owner)).answer();
    assert_eq!(again["result"]["resultType"], "input_required", "{again}");
    let mut tampered = back.clone();
    tampered["requestState"] =
        json!(state.as_str().expect("a state").replace(|c: char| c.is_ascii_digit(), "A"));
    refused(call("/mcp/asking", 2, "greet", &tampered).bearer(&owner));
    refused(
        call("/mcp/asking", 2, "greet", &json!({"requestState": state, "inputResponses": {"who": 1}}))
            .bearer(&owner),
    );
    airlock.audited(|record| {
        record["event"] == "refusal"
            && record["reason"].as_str().is_some_and(|reason| reason.contains("requestState"))
    });
    let good = airlock.send(&call("/mcp/asking", 2, "greet", &back).bearer(&owner));
    assert_eq!(good.status, 200, "{}", good.text());
}

#[test]
fn an_answer_is_taken_from_the_client_that_was_asked() {
    let (_server, upstreams) = server();
    let airlock = Setup { upstreams, ..Setup::default() }.start();
    let (owner, thieves) = principals(&airlock);
    let can = json!({"elicitation": {}});
    let open = |token: &str| {
        Session::open_as(airlock.address(), "/mcp/asking", token, LEGACY, &can).expect("a session")
    };
    let session = open(&owner);
    let body = json!({"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": {"name": "greet"}});
    let mut events = Events::open(airlock.address(), &session.prepare(&body)).expect("a stream");
    let question = events.message().expect("a question");
    let answer = |name: &str| json!({"jsonrpc": "2.0", "id": question["id"], "result": {"action": "accept", "content": {"name": name}}});
    for thief in &thieves {
        assert_eq!(airlock.send(&with_token(&session.prepare(&answer("Mallory")), thief)).status, 404);
        assert_eq!(airlock.send(&open(thief).prepare(&answer("Mallory"))).status, 400);
    }
    // Not even another session of the same principal.
    assert_eq!(airlock.send(&open(&owner).prepare(&answer("Mallory"))).status, 400);
    assert_eq!(airlock.send(&session.prepare(&answer("Alice"))).status, 202);
    let told = events.message().expect("an answer").to_string();
    assert!(told.contains("good morning, Alice"), "{told}");
}
