//! A question of a modern server in the middle of a call reaches the client in the words of its era, and the
//! answer goes back.

use std::io;
use std::net::TcpStream;
use std::sync::Mutex;

use airlock_tests::events::Events;
use airlock_tests::http::Request;
use airlock_tests::little::{Book, Little, Seen, write_json};
use airlock_tests::mcp::{LEGACY, Session, modern, text};
use airlock_tests::{Airlock, Setup, start_on};
use serde_json::{Value, json};

/// A modern server that asks before it answers.
pub(crate) fn asking(seen: &Seen, stream: &mut TcpStream, _: &Mutex<Book>) -> io::Result<()> {
    let params = &seen.body["params"];
    let given = &params["inputResponses"];
    let form = |message: &str| {
        json!({"method": "elicitation/create", "params": {"message": message,
        "requestedSchema": {"type": "object", "properties": {"name": {"type": "string"}}}}})
    };
    let done = |text: String| json!({"resultType": "complete", "content": [{"type": "text", "text": text}]});
    let result = match (seen.rpc(), params["name"].as_str().unwrap_or_default()) {
        ("server/discover", _) => json!({"resultType": "complete", "ttlMs": 0, "cacheScope": "public",
            "supportedVersions": ["2026-07-28"], "capabilities": {"tools": {"listChanged": true}}}),
        ("tools/list", _) => json!({"resultType": "complete", "ttlMs": 0, "cacheScope": "public",
            "tools": [{"name": "greet", "inputSchema": {"type": "object"}}]}),
        // Asks for a name, and for the folders that nobody outside decides on.
        (_, "greet") if given.is_null() => json!({"resultType": "input_required", "requestState": "state-1",
            "inputRequests": {"who": form("your name?"), "where": {"method": "roots/list"}}}),
        (_, "greet") => {
            assert_eq!(params["requestState"], "state-1", "{params}");
            assert_eq!(given["where"], json!({"roots": []}), "{params}");
            assert_eq!(given.as_object().map(serde_json::Map::len), Some(2), "{params}");
            done(format!("good morning, {}", given["who"]["content"]["name"].as_str().unwrap_or("stranger")))
        }
        (_, "folders") if given.is_null() => json!({"resultType": "input_required",
            "inputRequests": {"where": {"method": "roots/list"}}}),
        (_, "folders") => done(given["where"].to_string()),
        // Asks once more for every answer, without end.
        (_, "endless") => json!({"resultType": "input_required", "requestState": "on and on",
            "inputRequests": {"again": {"method": "roots/list"}}}),
        (_, "think") if given.is_null() => json!({"resultType": "input_required", "inputRequests": {"model":
            {"method": "sampling/createMessage", "params": {"messages": [], "maxTokens": 9}}}}),
        (_, "think") => done(given["model"]["content"]["text"].as_str().unwrap_or("nothing").to_owned()),
        (_, other) => done(format!("this is {other}")),
    };
    write_json(stream, &seen.result(&result))
}

/// A modern call by a client that can be asked.
pub(crate) fn call(path: &str, id: u64, tool: &str, more: &Value) -> Request {
    let mut params = json!({"name": tool, "arguments": {"a": 1},
        "_meta": {"io.modelcontextprotocol/clientCapabilities": {"elicitation": {}, "sampling": {}}}});
    for (name, value) in more.as_object().into_iter().flatten() {
        params[name] = value.clone();
    }
    modern(path, id, "tools/call", &params)
}

pub(crate) fn server() -> (Little, String) {
    let server = Little::start(asking);
    let upstreams = server.entry("asking").with("era", "modern").to_string();
    (server, upstreams)
}

/// Ends the daemon, which writes all records before it ends, and counts.
fn intents_and_outcomes(airlock: &mut Airlock) -> (usize, usize) {
    assert!(airlock.stop().success(), "{}", airlock.log());
    let count = |event: &str| airlock.audit().iter().filter(|record| record["event"] == event).count();
    (count("call.intent"), count("call.outcome"))
}

#[test]
fn a_modern_client_is_asked_by_the_end_of_its_request() {
    for io in ["epoll", "io_uring"] {
        let (server, upstreams) = server();
        let Some(mut airlock) = start_on(io, &Setup { upstreams, ..Setup::default() }) else { continue };
        let token = airlock.user();
        for (path, tool) in [("/mcp/asking", "greet"), ("/mcp", "asking__greet")] {
            let asked = airlock.send(&call(path, 1, tool, &Value::Null).bearer(&token)).answer();
            let asked = &asked["result"];
            assert_eq!(asked["resultType"], "input_required", "{asked}");
            assert_eq!(asked["inputRequests"]["who"]["params"]["message"], "your name?", "{asked}");
            assert!(asked["inputRequests"]["where"].is_null(), "folders are not asked for: {asked}");
            assert_ne!(asked["requestState"], "state-1", "the server's state is sealed");
            let more = json!({"requestState": asked["requestState"], "inputResponses": {
                "who": {"action": "accept", "content": {"name": "Åsa"}},
                "where": {"roots": [{"uri": "file:///etc"}]}, "uninvited": {}}});
            for id in [2, 3] {
                let answer = airlock.send(&call(path, id, tool, &more).bearer(&token)).answer();
                assert_eq!(text(&answer["result"]), "good morning, Åsa", "{answer}");
            }
        }
        let declared = &server.asked("tools/call")[0].body["params"]["_meta"];
        assert_eq!(
            declared["io.modelcontextprotocol/clientCapabilities"]["elicitation"],
            json!({"form": {}})
        );
        airlock.audited(|record| record["method"] == "elicitation/create" && record["decision"] == "allow");
        assert_eq!(intents_and_outcomes(&mut airlock), (6, 6), "{:#?}", airlock.audit());
    }
}

#[test]
fn what_concerns_no_client_is_answered_here() {
    let (_server, upstreams) = server();
    let airlock = Setup { upstreams, ..Setup::default() }.start();
    let token = airlock.user();
    let folders = airlock.send(&call("/mcp/asking", 1, "folders", &Value::Null).bearer(&token)).answer();
    assert_eq!(text(&folders["result"]), r#"{"roots":[]}"#, "{folders}");
    let mut session = Session::open(airlock.address(), "/mcp/asking", &token).expect("a session");
    assert_eq!(text(&session.call("folders", &json!({})).expect("a result")), r#"{"roots":[]}"#);
    let endless = airlock.send(&call("/mcp/asking", 1, "endless", &Value::Null).bearer(&token));
    assert_eq!(endless.status, 502, "{}", endless.text());
    assert!(airlock.logs("more than 16 times"), "{}", airlock.log());
}

#[test]
fn a_client_is_not_asked_what_it_has_not_declared() {
    let (_server, upstreams) = server();
    let airlock = Setup { upstreams, ..Setup::default() }.start();
    let token = airlock.user();
    let params = json!({"name": "greet", "arguments": {}});
    let answer = airlock.send(&modern("/mcp/asking", 1, "tools/call", &params).bearer(&token));
    assert_eq!(answer.status, 502, "{}", answer.text());
    let mut session = Session::open(airlock.address(), "/mcp/asking", &token).expect("a session");
    session.call("greet", &json!({})).expect_err("it cannot be asked");
}

#[test]
fn the_policy_says_what_a_server_may_ask() {
    let policy = airlock_tests::airlock::POLICY.to_owned()
        + "\ndeny contains {\"rule_id\": \"no_questions\", \"reason\": \"nobody is asked here\"} if {\n    \
           input.call.method in {\"elicitation/create\", \"sampling/createMessage\"}\n}\n";
    let (_server, upstreams) = server();
    let airlock = Setup { upstreams, policy, ..Setup::default() }.start();
    let token = airlock.user();
    // A refused form is declined: the server goes on without it.
    let greeted = airlock.send(&call("/mcp/asking", 1, "greet", &Value::Null).bearer(&token)).answer();
    assert_eq!(text(&greeted["result"]), "good morning, stranger", "{greeted}");
    let thought = airlock.send(&call("/mcp/asking", 1, "think", &Value::Null).bearer(&token)).answer();
    assert!(thought["error"]["code"].is_i64(), "{thought}");
    airlock.audited(|r| r["rule_id"] == "no_questions" && r["method"] == "sampling/createMessage");
}

/// Opens a legacy call whose server asks; gives its stream and the question.
fn asked(airlock: &Airlock, session: &Session, tool: &str, id: u64) -> (Events, Value) {
    let body = json!({"jsonrpc": "2.0", "id": id, "method": "tools/call",
        "params": {"name": tool, "arguments": {}}});
    let mut events = Events::open(airlock.address(), &session.prepare(&body)).expect("a stream");
    assert!(events.head.contains("text/event-stream"), "{}", events.head);
    let question = events.message().expect("a question");
    (events, question)
}

#[test]
fn a_legacy_client_is_asked_on_the_stream_of_its_call() {
    for io in ["epoll", "io_uring"] {
        let (_server, upstreams) = server();
        let Some(mut airlock) = start_on(io, &Setup { upstreams, ..Setup::default() }) else { continue };
        let token = airlock.user();
        let can = json!({"elicitation": {}, "sampling": {}});
        let session =
            Session::open_as(airlock.address(), "/mcp/asking", &token, LEGACY, &can).expect("a session");
        let (mut events, question) = asked(&airlock, &session, "greet", 7);
        assert_eq!(question["method"], "elicitation/create", "{question}");
        assert_eq!(question["params"]["message"], "your name?");
        assert!(question["id"].as_str().is_some_and(|id| id.len() >= 32), "{question}");
        let response = json!({"jsonrpc": "2.0", "id": question["id"],
            "result": {"action": "accept", "content": {"name": "Bo"}}});
        assert_eq!(airlock.send(&session.prepare(&response)).status, 202);
        let answer = events.message().expect("an answer");
        assert_eq!(answer["id"], 7);
        assert_eq!(text(&answer["result"]), "good morning, Bo", "{answer}");
        assert!(events.next_event().expect("a stream").is_none(), "the stream has ended");
        // The same answer again answers nothing.
        assert_eq!(airlock.send(&session.prepare(&response)).status, 400);

        // An error of the client's ends the call: a modern server knows answers only.
        let (mut events, question) = asked(&airlock, &session, "think", 8);
        assert_eq!(question["method"], "sampling/createMessage");
        let error = json!({"jsonrpc": "2.0", "id": question["id"], "error": {"code": -1, "message": "no"}});
        assert_eq!(airlock.send(&session.prepare(&error)).status, 202);
        assert_eq!(events.message().expect("an answer")["error"]["message"], "no");
        assert_eq!(intents_and_outcomes(&mut airlock), (2, 2), "{:#?}", airlock.audit());
    }
}

#[test]
fn a_client_that_does_not_answer_holds_nothing_up_for_ever() {
    let (_server, upstreams) = server();
    let airlock = Setup { upstreams, ..Setup::default() }.server("timeouts", json!({"input": "1s"})).start();
    let token = airlock.user();
    let can = json!({"elicitation": {}});
    let session =
        Session::open_as(airlock.address(), "/mcp/asking", &token, LEGACY, &can).expect("a session");
    let (mut events, _) = asked(&airlock, &session, "greet", 7);
    // The form counts as dismissed, and the client need not show it any longer.
    let told = events.message().expect("a notification");
    assert_eq!(told["method"], "notifications/cancelled", "{told}");
    let answer = events.message().expect("an answer");
    assert_eq!(text(&answer["result"]), "good morning, stranger", "{answer}");

    let asked = airlock.send(&call("/mcp/asking", 1, "greet", &Value::Null).bearer(&token)).answer();
    std::thread::sleep(std::time::Duration::from_millis(2_200));
    let more = json!({"requestState": asked["result"]["requestState"], "inputResponses": {}});
    let late = airlock.send(&call("/mcp/asking", 2, "greet", &more).bearer(&token));
    assert_eq!(late.status, 400, "{}", late.text());
    assert!(late.text().contains("has expired"), "{}", late.text());
}
