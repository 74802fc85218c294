//! A handle that was given to one principal is worthless to every other, also to one of the same name in
//! another tenant.

use airlock_tests::airlock::{POLICY, stdio_upstream};
use airlock_tests::events::Events;
use airlock_tests::http::Request;
use airlock_tests::mcp::{LEGACY, Session, modern};
use airlock_tests::{Airlock, Setup, skip, tools};
use serde_json::{Value, json};

use crate::protocol::eras::modern_questions_are_asked::{call, server};

/// The owner, and those who steal: another subject, and the same subject of another tenant.
fn principals(airlock: &Airlock) -> (String, [String; 2]) {
    (airlock.user(), airlock.strangers())
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
    let (first, upstreams) = server();
    let other = first.entry("other").with("era", "modern");
    let upstreams = format!("{upstreams}{other}");
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

/// The id of a subscription, and of any request, is the client's own choice: two may choose the same, and one
/// may name the other's in a cancellation.
#[test]
fn a_subscription_does_not_hear_of_who_uses_its_id() {
    let airlock = Setup::default().start();
    let (owner, thieves) = principals(&airlock);
    let listen = |token: &str| {
        let filter = json!({"notifications": {"toolsListChanged": true}});
        let request = modern("/mcp/docs", 7, "subscriptions/listen", &filter).bearer(token);
        Events::open(airlock.address(), &request).expect("a stream")
    };
    let mut events = listen(&owner);
    let acknowledged = events.message().expect("an acknowledgement");
    assert_eq!(acknowledged["params"]["notifications"], json!({"toolsListChanged": true}), "{acknowledged}");
    for thief in &thieves {
        let mut own = listen(thief);
        assert!(own.message().is_some());
        let cancel = modern("/mcp/docs", 7, "notifications/cancelled", &json!({"requestId": 7}));
        let mut cancel = cancel.bearer(thief);
        let body = String::from_utf8(cancel.body).expect("JSON").replacen("\"id\":7,", "", 1);
        cancel.body = body.into_bytes();
        assert_eq!(airlock.send(&cancel).status, 202);
        drop(own);
    }
    let authz = airlock.dir().join("policies/authz.rego");
    std::fs::write(&authz, format!("{POLICY}\n# another\n")).expect("written");
    airlock.signal(rustix::process::Signal::HUP);
    let changed = events.message().expect("the subscription is still there");
    assert_eq!(changed["method"], "notifications/tools/list_changed", "{changed}");
}

/// Everything-server reports progress by a token that the client has chosen: two clients choose the same.
#[test]
fn progress_goes_to_the_call_and_not_to_the_token() {
    let [node, script] = match tools::in_node(tools::EVERYTHING) {
        Ok(words) => words,
        Err(reason) => return skip(&reason),
    };
    let upstreams = stdio_upstream("everything", &[&node, &script, "stdio"]);
    let airlock = Setup { upstreams, ..Setup::default() }.start();
    let (owner, thieves) = principals(&airlock);
    let work = |token: &str, steps: u64| {
        let params = json!({"name": "trigger-long-running-operation",
            "arguments": {"duration": 0.5, "steps": steps}, "_meta": {"progressToken": "same"}});
        let request = modern("/mcp/everything", 3, "tools/call", &params).bearer(token);
        let messages = airlock.send(&request).messages();
        let total = |message: &Value| message["params"]["total"].as_u64();
        messages.iter().filter_map(total).collect::<Vec<_>>()
    };
    std::thread::scope(|scope| {
        let all: Vec<_> = std::iter::once(&owner).chain(&thieves).zip(2..).collect();
        let running: Vec<_> =
            all.into_iter().map(|(token, steps)| (steps, scope.spawn(move || work(token, steps)))).collect();
        for (steps, run) in running {
            let totals = run.join().expect("a call");
            assert!(!totals.is_empty() && totals.iter().all(|total| *total == steps), "{steps}: {totals:?}");
        }
    });
}
