//! An event that is no message on the stream of an HTTP server is passed over, as on a pipe, and never in the
//! place of an answer.

use std::io;
use std::net::TcpStream;
use std::sync::Mutex;

use airlock_tests::little::{Book, Little, Seen, begin_events, end_events, write_json, write_piece};
use airlock_tests::mcp::{modern_call, text};
use airlock_tests::{Airlock, Setup};
use serde_json::json;

/// Events that are no messages.
const JUNK: [&[u8]; 6] = [
    b"keepalive",
    b"\xff\xfe",
    b"[1, {\"jsonrpc\":\"2.0\"}]",
    b"{\"jsonrpc\":\"1.0\",\"method\":\"x\"}",
    b"{\"jsonrpc\":",
    b"[",
];

fn answer(seen: &Seen, stream: &mut TcpStream, _: &Mutex<Book>) -> io::Result<()> {
    let tool = seen.body["params"]["name"].as_str().unwrap_or_default();
    let complete = json!({"resultType": "complete", "content": [{"type": "text", "text": "done"}]});
    match (seen.rpc(), tool) {
        ("server/discover", _) => {
            let result = json!({"resultType": "complete", "ttlMs": 0, "cacheScope": "public",
                "supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}}});
            write_json(stream, &seen.result(&result))
        }
        ("tools/call", "body") => write_json(stream, "keepalive"),
        ("tools/call", _) => {
            begin_events(stream)?;
            let long = "x".repeat(300 * 1024);
            for junk in JUNK.into_iter().chain([long.as_bytes()]) {
                write_piece(stream, &[b"data: ", junk, b"\n\n"].concat())?;
            }
            // The parts of a batch are judged one by one too, in a short one and in a long one.
            let pad = if tool == "long" { "x".repeat(300 * 1024) } else { String::new() };
            let batch = format!("data: [\"{pad}\",7,{},null]\n\n", seen.result(&complete));
            write_piece(stream, batch.as_bytes())?;
            end_events(stream)
        }
        _ => write_json(stream, &seen.no_such_method()),
    }
}

#[test]
fn junk_on_an_event_stream_is_passed_over_and_told_once() {
    let little = Little::start(answer);
    let mut airlock = Setup { upstreams: little.entry("little").to_string(), ..Setup::default() }.start();
    let token = airlock.user();
    let call = |airlock: &Airlock, tool: &str| {
        airlock.send(&modern_call("/mcp/little", 1, tool, &json!({})).bearer(&token))
    };
    for tool in ["short", "long", "short"] {
        let answer = call(&airlock, tool).answer();
        assert_eq!(text(&answer["result"]), "done", "{tool}: {answer}\n{}", airlock.log());
    }
    let refused = call(&airlock, "body");
    assert_eq!(refused.status, 502, "in the place of the answer it is one: {}", refused.text());
    // All lines are written before the end.
    assert!(airlock.stop().success(), "{}", airlock.log());
    let words = "an event on a stream of the server is not MCP";
    let told = airlock.log().lines().filter(|line| line.contains(words) && line.contains("WARN")).count();
    assert_eq!(told, 1, "{}", airlock.log());
}
