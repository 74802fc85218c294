//! A server whose answers have other ids than the requests, or are no answers, is told so at once, on a pipe
//! as over HTTP.

use std::io;
use std::net::TcpStream;
use std::sync::Mutex;

use airlock_tests::little::{Book, Little, Seen, begin_events, wait_for_end, write_json, write_piece};
use airlock_tests::mcp::modern_call;
use airlock_tests::{Airlock, Setup, Upstream, tools};
use serde_json::{Value, json};

/// Answers in which `ID` is the number of the request, and what the operator is told of them.
const WRONG: [(&str, &str); 7] = [
    (r#"{"jsonrpc":"2.0","id":"ID","result":{"content":[]}}"#, "its answer has the id \""),
    (r#"{"jsonrpc":"2.0","id":ID.0,"result":{"content":[]}}"#, "its answer has the id "),
    (r#"{"jsonrpc":"2.0","id":null,"result":{"content":[]}}"#, "its answer has the id null"),
    (r#"{"jsonrpc":"2.0","result":{"content":[]}}"#, "its answer has the id null"),
    (r#"{"jsonrpc":"2.0","id":"call-1","result":{"content":[]}}"#, "its answer has the id \"call-1\""),
    (r#"{"jsonrpc":"2.0","id":ID,"result":null}"#, "its answer has not either"),
    (r#"{"jsonrpc":"2.0","id":ID,"result":{},"error":{}}"#, "its answer has not either"),
];

/// An error of a server that could not read the request, and so does not know its id.
const UNREAD: &str = r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"not a request to me"}}"#;

fn call(airlock: &Airlock, tool: &str) -> (u16, Value) {
    let response = airlock.send(&modern_call("/mcp/odd", 1, tool, &json!({})).bearer(&airlock.user()));
    (response.status, response.answer())
}

fn fails_at_once(airlock: &Airlock, tool: &str, told: &str) {
    // The deadline is far away: who waits for it gets 504.
    for _ in 0..2 {
        let (status, answer) = call(airlock, tool);
        assert_eq!(status, 502, "{told}: {answer}");
    }
    let record =
        airlock.audited(|record| record["reason"].as_str().is_some_and(|reason| reason.contains(told)));
    assert_eq!(record["upstream"], "odd", "{record}");
}

#[test]
fn on_a_pipe_the_call_that_is_meant_fails_and_says_why() {
    let bad = tools::built("bad-server").display().to_string();
    for (answer, told) in WRONG {
        let upstreams =
            Upstream::stdio("odd", &[&bad, "--answer", answer]).with("timeout", "10m").to_string();
        let airlock = Setup { upstreams, ..Setup::default() }.start();
        fails_at_once(&airlock, "break", told);
        assert!(airlock.logs("an answer of the server is wrong"), "{}", airlock.log());
    }
    let upstreams = Upstream::stdio("odd", &[&bad, "--answer", UNREAD]).with("timeout", "10m").to_string();
    let airlock = Setup { upstreams, ..Setup::default() }.start();
    let (_, answer) = call(&airlock, "break");
    assert_eq!(answer["error"]["message"], "not a request to me", "{answer}");
}

/// The tool is named by the place of its answer, and by how it comes.
fn answer(seen: &Seen, stream: &mut TcpStream, _: &Mutex<Book>) -> io::Result<()> {
    let id = seen.body["id"].to_string();
    match seen.rpc() {
        "server/discover" => {
            let result = json!({"resultType": "complete", "ttlMs": 0, "cacheScope": "public",
                "supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}}});
            write_json(stream, &seen.result(&result))
        }
        "tools/call" => {
            let tool = seen.body["params"]["name"].as_str().unwrap_or_default();
            let (way, place) = tool.split_once('-').unwrap_or_default();
            let pattern = place.parse().ok().and_then(|place: usize| WRONG.get(place));
            let text = pattern.map_or(UNREAD, |(pattern, _)| pattern).replace("ID", &id);
            if way == "json" {
                return write_json(stream, &text);
            }
            begin_events(stream)?;
            write_piece(stream, format!("data: {text}\n\n").as_bytes())?;
            wait_for_end(stream)
        }
        _ => write_json(stream, &seen.no_such_method()),
    }
}

#[test]
fn over_http_it_is_the_same() {
    let little = Little::start(answer);
    let upstreams = little.entry("odd").with("timeout", "10m").to_string();
    let airlock = Setup { upstreams, ..Setup::default() }.start();
    for way in ["json", "events"] {
        for (place, (_, told)) in WRONG.iter().enumerate() {
            fails_at_once(&airlock, &format!("{way}-{place}"), told);
        }
        let (_, answer) = call(&airlock, &format!("{way}-unread"));
        assert_eq!(answer["error"]["message"], "not a request to me", "{answer}");
    }
}
