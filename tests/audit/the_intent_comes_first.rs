//! Requests that cannot be recorded do not happen: no server is started or asked before the record of the
//! request is made.

use std::io;
use std::net::TcpStream;
use std::sync::Mutex;
use std::time::SystemTime;

use airlock_tests::events::Events;
use airlock_tests::little::{Book, Little, Seen, write_json};
use airlock_tests::mcp::{Session, modern, modern_call};
use airlock_tests::{Airlock, Setup};
use serde_json::{Value, json};

/// A modern server that offers everything, and whose tool `broken` has an annotation that is wrong.
fn answer(seen: &Seen, stream: &mut TcpStream, _: &Mutex<Book>) -> io::Result<()> {
    let mut result = match seen.rpc() {
        "server/discover" => json!({"supportedVersions": ["2026-07-28"], "capabilities":
            {"tools": {"listChanged": true}, "prompts": {}, "resources": {"subscribe": true}, "completions": {}}}),
        "tools/list" => json!({"tools": [
            {"name": "query", "inputSchema": {"type": "object", "properties": {"p": {"type": "string", "x-mcp-header": "P"}}}},
            {"name": "broken", "inputSchema": {"type": "object", "properties": {"p": {"type": "string", "x-mcp-header": ""}}}},
        ]}),
        "prompts/list" => json!({"prompts": []}),
        "resources/list" => json!({"resources": []}),
        "resources/templates/list" => json!({"resourceTemplates": []}),
        "prompts/get" => json!({"messages": []}),
        "resources/read" => json!({"contents": []}),
        "completion/complete" => json!({"completion": {"values": []}}),
        "tools/call" => json!({"content": [{"type": "text", "text": "done"}]}),
        _ => return write_json(stream, &seen.no_such_method()),
    };
    result["resultType"] = json!("complete");
    result["ttlMs"] = json!(0);
    result["cacheScope"] = json!("public");
    write_json(stream, &seen.result(&result))
}

/// A daemon that is ready, in front of a server of which it knows the era and no schema. The time is that of
/// the end of what the start of the daemon asks.
fn cold() -> (Little, Airlock, String, SystemTime) {
    let little = Little::start(answer);
    let airlock = Setup { upstreams: little.entry("little").to_string(), ..Setup::default() }.start();
    let token = airlock.user();
    assert!(little.asked("tools/list").is_empty(), "nobody has asked for schemas");
    (little, airlock, token, SystemTime::now())
}

/// Holds the first thing that the server got against the record of what caused it.
fn recorded_before(method: &str, little: &Little, airlock: &Airlock, since: SystemTime) {
    let first = little.until(|book| book.seen.iter().find(|seen| seen.at > since).cloned());
    let record = airlock.audited(|record| {
        record["method"] == method
            && ["call.intent", "request", "list"].iter().any(|event| record["event"] == *event)
    });
    let time = humantime::parse_rfc3339(record["time"].as_str().expect("a time")).expect("RFC 3339");
    assert!(time <= first.at, "{method}: the server got {} before {record}", first.rpc());
}

#[test]
fn every_method_of_a_modern_client_is_on_record_before_its_server_is_asked() {
    for (method, params) in [
        ("tools/call", json!({"name": "query", "arguments": {}})),
        ("prompts/get", json!({"name": "brief"})),
        ("resources/read", json!({"uri": "notes://a"})),
        (
            "completion/complete",
            json!({"ref": {"type": "ref/prompt", "name": "brief"}, "argument": {"name": "day", "value": "s"}}),
        ),
        ("tools/list", json!({})),
        ("prompts/list", json!({})),
        ("resources/list", json!({})),
        ("resources/templates/list", json!({})),
    ] {
        let (little, airlock, token, since) = cold();
        let request = match method {
            "tools/call" => modern_call("/mcp/little", 1, "query", &json!({})),
            _ => modern("/mcp/little", 1, method, &params),
        };
        let answer = airlock.send(&request.bearer(&token)).answer();
        assert!(answer["result"].is_object(), "{method}: {answer}");
        recorded_before(method, &little, &airlock, since);
    }
    let (little, airlock, token, since) = cold();
    let wanted = json!({"notifications": {"toolsListChanged": true}});
    let request = modern("/mcp/little", 1, "subscriptions/listen", &wanted).bearer(&token);
    let stream = Events::open(airlock.address(), &request).expect("a stream");
    recorded_before("subscriptions/listen", &little, &airlock, since);
    drop(stream);
}

#[test]
fn every_method_of_a_legacy_client_is_on_record_before_its_server_is_asked() {
    let (little, airlock, token, _) = cold();
    let mut session = Session::open(airlock.address(), "/mcp/little", &token).expect("a session");
    for (method, params) in [
        ("tools/call", json!({"name": "query", "arguments": {}})),
        ("prompts/get", json!({"name": "brief"})),
        ("resources/read", json!({"uri": "notes://a"})),
        ("tools/list", json!({})),
        ("prompts/list", json!({})),
        ("resources/list", json!({})),
        ("resources/templates/list", json!({})),
        (
            "completion/complete",
            json!({"ref": {"type": "ref/prompt", "name": "brief"}, "argument": {"name": "day", "value": "s"}}),
        ),
    ] {
        session.result(method, &params).expect(method);
        let seen = little.until(|book| book.seen.iter().find(|seen| seen.rpc() == method).cloned());
        let record = airlock.audited(|record| record["method"] == method && record["decision"] == "allow");
        let time = humantime::parse_rfc3339(record["time"].as_str().expect("a time")).expect("RFC 3339");
        // `tools/list` is asked for the schemas of the call before as well; that one has its intent.
        let call = airlock.audited(|record| record["event"] == "call.intent");
        let call = humantime::parse_rfc3339(call["time"].as_str().expect("a time")).expect("RFC 3339");
        assert!(time.min(call) <= seen.at, "{method}: the server got it before {record}");
    }
}

#[test]
fn each_message_of_a_batch_is_on_record_before_its_server_is_asked() {
    let (little, airlock, token, since) = cold();
    let session = Session::open_as(airlock.address(), "/mcp/little", &token, "2025-03-26", &json!({}));
    let session = session.expect("a session");
    let batch = json!([
        {"jsonrpc": "2.0", "id": 1, "method": "prompts/get", "params": {"name": "brief"}},
        {"jsonrpc": "2.0", "id": 2, "method": "resources/read", "params": {"uri": "notes://a"}},
    ]);
    let answers = airlock.send(&session.prepare(&batch));
    assert_eq!(answers.status, 200, "{}", answers.text());
    for method in ["prompts/get", "resources/read"] {
        let seen = little.until(|book| book.seen.iter().find(|seen| seen.rpc() == method).cloned());
        assert!(seen.at > since);
        let record = airlock.audited(|r| r["event"] == "call.intent" && r["method"] == method);
        let time = humantime::parse_rfc3339(record["time"].as_str().expect("a time")).expect("RFC 3339");
        assert!(time <= seen.at, "{method}: the server got it before {record}");
    }
}

/// A server of the legacy era that takes levels for log messages and has tasks.
fn legacy(seen: &Seen, stream: &mut TcpStream, _: &Mutex<Book>) -> io::Result<()> {
    let result = match seen.rpc() {
        "initialize" => {
            json!({"protocolVersion": "2025-11-25", "serverInfo": {"name": "old", "version": "1"},
            "capabilities": {"logging": {}, "tools": {}, "tasks": {"requests": {"tools": {"call": {}}}}}})
        }
        "logging/setLevel" => json!({}),
        "tools/call" => json!({"task": {"taskId": "t1", "status": "working", "ttl": 1000,
            "createdAt": "2026-01-01T00:00:00Z", "lastUpdatedAt": "2026-01-01T00:00:00Z"}}),
        _ => return write_json(stream, &seen.no_such_method()),
    };
    write_json(stream, &seen.result(&result))
}

#[test]
fn levels_and_tasks_are_on_record_before_a_legacy_server_is_asked() {
    let little = Little::start(legacy);
    let airlock = Setup { upstreams: little.entry("little").to_string(), ..Setup::default() }.start();
    let token = airlock.user();
    let mut session = Session::open(airlock.address(), "/mcp/little", &token).expect("a session");
    for (method, params) in [
        ("logging/setLevel", json!({"level": "error"})),
        ("tools/call", json!({"name": "slow", "arguments": {}, "task": {"ttl": 1000}})),
    ] {
        let since = SystemTime::now();
        session.result(method, &params).expect(method);
        recorded_before(method, &little, &airlock, since);
    }
}

#[test]
fn a_call_that_cannot_be_sent_has_an_outcome() {
    let (little, mut airlock, token, since) = cold();
    let answer = airlock.send(&modern_call("/mcp/little", 1, "broken", &json!({})).bearer(&token)).answer();
    let id = answer["error"]["data"]["correlation_id"].clone();
    assert!(id.is_string(), "{answer}");
    recorded_before("tools/call", &little, &airlock, since);
    let of_call = |event: &str| airlock.audited(|r| r["correlation_id"] == id && r["event"] == event);
    assert_eq!(of_call("call.outcome")["reason"], "refused");
    assert_eq!(of_call("refusal")["stage"], "mirror");
    // All records are written before the end.
    assert!(airlock.stop().success(), "{}", airlock.log());
    let calls: Vec<Value> = airlock.audit().into_iter().filter(|r| r["event"] == "call.intent").collect();
    assert_eq!(calls.len(), 1, "{calls:?}");
    assert!(little.asked("tools/call").is_empty(), "the server never got the call");
}
