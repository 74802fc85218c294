//! A server with sessions over HTTP: its session goes along, is ended with ours, and when it is lost the
//! client is told.

use std::io;
use std::net::TcpStream;
use std::sync::Mutex;

use airlock_tests::little::{Book, Little, Seen, begin_events, end_events, wait_for_end, write, write_piece};
use airlock_tests::mcp::{Session, text};
use airlock_tests::{Airlock, Setup, Upstream, start_on};
use serde_json::{Value, json};

const JSON: &str = "Content-Type: application/json\r\n";

/// A legacy server: it refuses what comes without its session, and hands out `s1`, `s2`, …
fn answer(seen: &Seen, stream: &mut TcpStream, book: &Mutex<Book>) -> io::Result<()> {
    let count = |wanted: fn(&Seen) -> bool| {
        book.lock().expect("not poisoned").seen.iter().filter(|seen| wanted(seen)).count()
    };
    if seen.rpc() == "initialize" {
        let number = count(|seen| seen.rpc() == "initialize");
        let result = seen.result(&json!({"protocolVersion": "2025-06-18", "capabilities": {"tools": {}},
            "serverInfo": {"name": "little", "version": "1"}}));
        return write(stream, "200 OK", &format!("{JSON}Mcp-Session-Id: s{number}\r\n"), &result);
    }
    if seen.header("mcp-session-id").is_none() || seen.header("mcp-protocol-version") != Some("2025-06-18") {
        let error = json!({"jsonrpc": "2.0", "id": null,
            "error": {"code": -32_000, "message": "Bad Request: No valid session ID provided"}});
        return write(stream, "400 Bad Request", JSON, &error.to_string());
    }
    if seen.method == "DELETE" {
        return write(stream, "200 OK", "", "");
    }
    if seen.method == "GET" {
        // Taken up where the stream broke off: the answer to the last call.
        let called = {
            let book = book.lock().expect("not poisoned");
            book.seen.iter().rfind(|seen| seen.rpc() == "tools/call").cloned().expect("a call before")
        };
        assert_eq!(seen.header("last-event-id"), Some("7"));
        begin_events(stream)?;
        write_piece(stream, format!("data: {}\n\n", called.result(&content("resumed"))).as_bytes())?;
        return end_events(stream);
    }
    if seen.body["id"].is_null() || seen.rpc().is_empty() {
        return write(stream, "202 Accepted", "", "");
    }
    let session = seen.header("mcp-session-id").unwrap_or_default();
    match seen.body["params"]["name"].as_str().unwrap_or_default() {
        "lost" => write(stream, "404 Not Found", "", ""),
        "lost_in_words" => {
            let error = json!({"jsonrpc": "2.0", "id": null,
                "error": {"code": -32_000, "message": "Bad Request: No valid session ID provided"}});
            write(stream, "400 Bad Request", JSON, &error.to_string())
        }
        "hang" => wait_for_end(stream),
        "resume" => {
            begin_events(stream)?;
            write_piece(stream, b"id: 7\nretry: 100\ndata:\n\n")?;
            end_events(stream)
        }
        "ask" => {
            begin_events(stream)?;
            for (id, method) in [("1", "ping"), ("\"r\"", "roots/list"), ("2", "sampling/createMessage")] {
                let request = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}"}}"#);
                write_piece(stream, format!("event: message\ndata: {request}\n\n").as_bytes())?;
            }
            write_piece(stream, format!("data: {}\n\n", seen.result(&content("asked"))).as_bytes())?;
            end_events(stream)
        }
        _ => write(stream, "200 OK", JSON, &seen.result(&content(session))),
    }
}

fn content(text: &str) -> Value {
    json!({"content": [{"type": "text", "text": text}]})
}

fn start(io: &str, upstream: &Upstream) -> Option<Airlock> {
    start_on(io, &Setup { upstreams: upstream.to_string(), ..Setup::default() }.server("workers", 1))
}

fn open(airlock: &Airlock, path: &str) -> Session {
    Session::open(airlock.address(), path, &airlock.user()).expect("a session")
}

#[test]
fn a_session_goes_along_and_is_ended_with_its_clients() {
    for io in ["epoll", "io_uring"] {
        let little = Little::start(answer);
        let Some(mut airlock) = start(io, &little.entry("little")) else { continue };
        let mut one = open(&airlock, "/mcp/little");
        let mut two = open(&airlock, "/mcp/little");
        let first = text(&one.call("which", &json!({})).expect("a call")).to_owned();
        let second = text(&two.call("which", &json!({})).expect("a call")).to_owned();
        assert_ne!(first, second, "no two clients share a session");
        assert_eq!(text(&one.call("which", &json!({})).expect("a call")), first, "it lasts");
        for seen in little.asked("tools/call") {
            assert_eq!(seen.header("mcp-method"), None, "a word of the other era");
        }
        assert!(little.asked("notifications/initialized").len() >= 2);

        let ended = |session: &str| {
            let session = session.to_owned();
            little.until(move |book| {
                let mut deleted = book.seen.iter().filter(|seen| seen.method == "DELETE");
                deleted.find(|seen| seen.header("mcp-session-id") == Some(session.as_str())).map(|_| ())
            });
        };
        let mut delete = one.prepare(&Value::Null);
        delete.method = "DELETE".to_owned();
        delete.body.clear();
        assert_eq!(airlock.send(&delete).status, 204);
        ended(&first);
        assert_eq!(text(&two.call("which", &json!({})).expect("a call")), second, "the other goes on");
        assert!(airlock.stop().success());
        ended(&second);
    }
}

#[test]
fn a_session_that_the_server_lost_is_told_so_once_and_opened_again() {
    for (io, tool) in [("epoll", "lost"), ("io_uring", "lost"), ("epoll", "lost_in_words")] {
        let little = Little::start(answer);
        let Some(airlock) = start(io, &little.entry("little")) else { continue };
        let mut session = open(&airlock, "/mcp/little");
        let before = text(&session.call("which", &json!({})).expect("a call")).to_owned();
        let lost = session.request("tools/call", &json!({"name": tool, "arguments": {}})).expect("an answer");
        assert_eq!(lost.status, 502, "{}", lost.text());
        assert!(airlock.logs("has ended the session"), "{}", airlock.log());
        // The client's state there is gone: it is told before it is served by a session that knows nothing of
        // it.
        let told =
            session.request("tools/call", &json!({"name": "which", "arguments": {}})).expect("an answer");
        assert_eq!(told.status, 404, "{}", told.text());
        let after = text(&session.call("which", &json!({})).expect("a call")).to_owned();
        assert_ne!(before, after, "{tool} on {io}");
        let deleted = little.book(|book| {
            let mut deleted = book.seen.iter().filter(|seen| seen.method == "DELETE");
            deleted.any(|seen| seen.header("mcp-session-id") == Some(before.as_str()))
        });
        assert!(!deleted, "there was nothing left to end");
    }
}

#[test]
fn what_a_server_asks_is_answered() {
    for io in ["epoll", "io_uring"] {
        let little = Little::start(answer);
        let Some(airlock) = start(io, &little.entry("little")) else { continue };
        let mut session = open(&airlock, "/mcp/little");
        assert_eq!(text(&session.call("ask", &json!({})).expect("a call")), "asked");
        let answered = |id: Value| {
            little.until(|book| {
                let mut answers =
                    book.seen.iter().filter(|seen| seen.rpc().is_empty() && !seen.body.is_null());
                answers.find(|seen| seen.body["id"] == id).cloned()
            })
        };
        assert_eq!(answered(json!(1)).body["result"], json!({}));
        assert_eq!(answered(json!("r")).body["result"], json!({"roots": []}));
        assert_eq!(answered(json!(2)).body["error"]["code"], json!(-32_601));
    }
}

#[test]
fn a_call_that_nobody_waits_for_is_cancelled_in_words() {
    for io in ["epoll", "io_uring"] {
        let little = Little::start(answer);
        let Some(airlock) = start(io, &little.entry("little").with("timeout", "300ms")) else { continue };
        let mut session = open(&airlock, "/mcp/little");
        let response =
            session.request("tools/call", &json!({"name": "hang", "arguments": {}})).expect("an answer");
        assert_eq!(response.status, 504, "{}", response.text());
        let call = little.asked("tools/call").pop().expect("the call");
        let cancelled = little
            .until(|book| book.seen.iter().find(|seen| seen.rpc() == "notifications/cancelled").cloned());
        assert_eq!(cancelled.body["params"]["requestId"], call.body["id"]);
        assert_eq!(cancelled.header("mcp-session-id"), call.header("mcp-session-id"));
    }
}

#[test]
fn a_stream_that_ends_early_is_taken_up_again() {
    for io in ["epoll", "io_uring"] {
        let little = Little::start(answer);
        let Some(airlock) = start(io, &little.entry("little")) else { continue };
        let mut session = open(&airlock, "/mcp/little");
        assert_eq!(text(&session.call("resume", &json!({})).expect("a call")), "resumed");
    }
}

#[test]
fn an_era_that_is_configured_is_not_probed() {
    let little = Little::start(answer);
    let Some(airlock) = start("epoll", &little.entry("little").with("era", "legacy")) else { return };
    let mut session = open(&airlock, "/mcp/little");
    session.call("which", &json!({})).expect("a call");
    assert_eq!(little.asked("server/discover").len(), 0);

    let Some(airlock) = start("epoll", &little.entry("little").with("era", "modern")) else { return };
    let response =
        open(&airlock, "/mcp/little").request("tools/call", &json!({"name": "which", "arguments": {}}));
    assert_eq!(response.expect("an answer").status, 502);
    assert!(airlock.logs("it answers server/discover with"), "{}", airlock.log());
}

#[test]
fn a_session_and_a_connection_that_nobody_uses_are_given_back() {
    for io in ["epoll", "io_uring"] {
        let little = Little::start(answer);
        let setup = Setup { upstreams: little.entry("little").to_string(), ..Setup::default() }
            .server("timeouts", json!({"idle": "300ms"}));
        let Some(airlock) = start_on(io, &setup) else { continue };
        let mut session = open(&airlock, "/mcp/little");
        let name = text(&session.call("which", &json!({})).expect("a call")).to_owned();
        let last = little.until(|book| {
            let mut deleted = book.seen.iter().filter(|seen| seen.method == "DELETE");
            deleted
                .find(|seen| seen.header("mcp-session-id") == Some(name.as_str()))
                .map(|seen| seen.connection)
        });
        little.until(|book| book.closed.contains(&last).then_some(()));
    }
}
