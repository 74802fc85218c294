//! Event streams of servers over HTTP, and modern tasks: the first event is looked through as the last is,
//! and ids of tasks stay what the client knows.

use std::io;
use std::net::TcpStream;
use std::sync::Mutex;

use airlock_tests::Setup;
use airlock_tests::airlock::until;
use airlock_tests::events::Events;
use airlock_tests::little::{
    Book, Little, Seen, begin_events, end_events, wait_for_end, write, write_json, write_piece,
};
use airlock_tests::mcp::{LEGACY, Session, text};
use serde_json::{Value, json};

use super::answers_are_looked_through::is_redacted;
use super::arguments_are_looked_through::SECRET;
use crate::protocol::owners::handles_stay_with_their_owner::tasks_modern::request;

fn leak() -> String {
    format!("so {SECRET} it is")
}

fn event(message: &Value) -> Vec<u8> {
    format!("event: message\ndata: {message}\n\n").into_bytes()
}

fn said(method: &str, params: &Value) -> Vec<u8> {
    event(&json!({"jsonrpc": "2.0", "method": method, "params": params}))
}

/// A legacy server with a session, whose standing stream and whose answers are events.
fn streams(seen: &Seen, stream: &mut TcpStream, book: &Mutex<Book>) -> io::Result<()> {
    let log = json!({"level": "error", "data": {"deep": [leak()]}});
    if seen.method == "GET" {
        begin_events(stream)?;
        // One at each call of the client, which listens by then.
        for calls in 1..=2 {
            until(|| {
                let book = book.lock().expect("not poisoned");
                (book.seen.iter().filter(|seen| seen.rpc() == "tools/call").count() >= calls).then_some(())
            });
            write_piece(stream, &said("notifications/message", &log))?;
        }
        return wait_for_end(stream);
    }
    match seen.rpc() {
        "initialize" => {
            let result = json!({"protocolVersion": "2025-11-25", "capabilities": {"tools": {}, "logging": {}},
                "serverInfo": {"name": "streams", "version": "1"}});
            let headers = "Content-Type: application/json\r\nMcp-Session-Id: s1\r\n";
            write(stream, "200 OK", headers, &seen.result(&result))
        }
        "tools/call" => {
            let token = &seen.body["params"]["_meta"]["progressToken"];
            begin_events(stream)?;
            let progress = json!({"progressToken": token, "progress": 1, "message": leak()});
            write_piece(stream, &said("notifications/progress", &progress))?;
            write_piece(stream, &said("notifications/message", &log))?;
            let result = json!({"content": [{"type": "text", "text": leak()}]});
            write_piece(stream, format!("data: {}\n\n", seen.result(&result)).as_bytes())?;
            end_events(stream)
        }
        _ if seen.body["id"].is_null() => write(stream, "202 Accepted", "", ""),
        _ => write_json(stream, &seen.result(&json!({}))),
    }
}

#[test]
fn the_first_event_of_a_server_over_http_and_the_last_are_looked_through() {
    let little = Little::start(streams);
    let upstreams = little.entry("old").with("era", "legacy").to_string();
    let airlock = Setup { upstreams, ..Setup::default() }.start();
    let token = airlock.user();
    let session =
        Session::open_as(airlock.address(), "/mcp/old", &token, LEGACY, &json!({})).expect("a session");
    session.notify("notifications/initialized").expect("taken");
    let mut standing = Events::open(airlock.address(), &session.listen(None)).expect("a stream");
    let body = json!({"jsonrpc": "2.0", "id": 9, "method": "tools/call",
        "params": {"name": "any", "arguments": {}, "_meta": {"progressToken": "p"}}});
    for _ in 0..2 {
        let mut events = Events::open(airlock.address(), &session.prepare(&body)).expect("a stream");
        let first = events.message().expect("a message");
        assert_eq!(
            (&first["method"], &first["params"]["progressToken"]),
            (&json!("notifications/progress"), &json!("p")),
            "{first}"
        );
        is_redacted("the first of the answer", &first);
        is_redacted("the second of the answer", &events.message().expect("a message"));
        let last = events.message().expect("an answer");
        assert_eq!(last["id"], 9, "{last}");
        is_redacted("the last of the answer", &last);
        is_redacted("the standing stream", &standing.message().expect("a message"));
    }
}

/// A modern server whose tool is always a task, that asks once and is done then.
fn tasks(seen: &Seen, stream: &mut TcpStream, _: &Mutex<Book>) -> io::Result<()> {
    let params = &seen.body["params"];
    // The id is not looked at: a handle of Airlock's takes its place.
    let task = |more: Value| {
        let mut task = json!({"resultType": "complete", "taskId": SECRET, "status": "working",
            "statusMessage": leak(), "createdAt": "2026-08-01T00:00:00Z",
            "lastUpdatedAt": "2026-08-01T00:00:00Z", "ttlMs": 60_000});
        task.as_object_mut().expect("an object").extend(more.as_object().cloned().unwrap_or_default());
        task
    };
    let cacheable = |more: Value| {
        let mut result = json!({"resultType": "complete", "ttlMs": 0, "cacheScope": "public"});
        result.as_object_mut().expect("an object").extend(more.as_object().cloned().unwrap_or_default());
        result
    };
    let result = match seen.rpc() {
        "server/discover" => cacheable(json!({"supportedVersions": ["2026-07-28"],
            "capabilities": {"tools": {}, "extensions": {"io.modelcontextprotocol/tasks": {}}}})),
        "tools/list" => cacheable(json!({"tools": [{"name": "slow", "inputSchema": {"type": "object"}}]})),
        "tools/call" => task(json!({"resultType": "task"})),
        "tasks/get" if params["_meta"]["ask"] == json!(true) => {
            task(json!({"status": "input_required", "inputRequests": {"a": {"method": "elicitation/create",
                "params": {"message": leak(), "requestedSchema": {"type": "object", "properties": {}}}}}}))
        }
        "tasks/get" => task(json!({"status": "completed",
            "result": {"content": [{"type": "text", "text": leak()}], "structuredContent": {SECRET: leak()}}})),
        _ => json!({"resultType": "complete"}),
    };
    write_json(stream, &seen.result(&result))
}

#[test]
fn modern_tasks_are_looked_through_and_keep_their_ids() {
    let little = Little::start(tasks);
    let airlock =
        Setup { upstreams: little.entry("new").with("era", "modern").to_string(), ..Setup::default() }
            .start();
    let token = airlock.user();
    for path in ["/mcp/new", "/mcp"] {
        let ask = |method: &str, params: &Value| {
            let mut request = request(path, method, params).bearer(&token);
            let body = String::from_utf8(request.body).expect("JSON");
            request.body = body.replace(r#"{"extensions""#, r#"{"elicitation":{},"extensions""#).into_bytes();
            let answer = airlock.send(&request).answer();
            is_redacted(method, &answer);
            answer["result"].clone()
        };
        let name = if path == "/mcp" { "new__slow" } else { "slow" };
        let begun = ask("tools/call", &json!({"name": name, "arguments": {}}));
        assert_eq!(begun["resultType"], "task", "{begun}");
        let id = &begun["taskId"];
        let done = ask("tasks/get", &json!({"taskId": id}));
        assert_eq!(&done["taskId"], id, "{done}");
        assert_eq!(text(&done["result"]), "so [redacted:github-token] it is", "{done}");
        let asked = ask("tasks/get", &json!({"taskId": id, "_meta": {"ask": true}}));
        let message = &asked["inputRequests"]["a"]["params"]["message"];
        assert_eq!(message, "so [redacted:github-token] it is", "{asked}");
    }
    let seen = little.asked("tasks/get").remove(0);
    assert_eq!(seen.body["params"]["taskId"], SECRET, "the server gets its own id back");
}
