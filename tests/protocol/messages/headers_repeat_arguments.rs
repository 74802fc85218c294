//! Headers that repeat arguments say what the arguments say: for a client that sends them, and for a server
//! that gets them.

use std::io;
use std::net::TcpStream;
use std::sync::Mutex;

use airlock_tests::http::Request;
use airlock_tests::little::{Book, Little, Seen, write_json};
use airlock_tests::mcp::{Session, modern, modern_call, text, tool_names};
use airlock_tests::{Airlock, Setup};
use serde_json::{Value, json};

/// A modern server with annotated tools, and tools whose annotations are wrong.
fn answer(seen: &Seen, stream: &mut TcpStream, _: &Mutex<Book>) -> io::Result<()> {
    let schema = |property: Value| json!({"type": "object", "properties": {"p": property}});
    let cacheable = |mut result: Value| {
        result["resultType"] = json!("complete");
        result["ttlMs"] = json!(0);
        result["cacheScope"] = json!("public");
        result
    };
    let result = match seen.rpc() {
        "server/discover" => {
            cacheable(json!({"supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}}}))
        }
        "tools/list" if seen.body["params"]["cursor"] == json!("more") => cacheable(json!({"tools": [
            {"name": "query", "inputSchema": {"type": "object", "properties": {
                "region": {"type": "string", "x-mcp-header": "Region"},
                "limit": {"type": "integer", "x-mcp-header": "Limit"},
                "options": {"type": "object", "properties": {"dry": {"type": "boolean", "x-mcp-header": "Dry-Run"}}},
                "text": {"type": "string"}}}}]})),
        "tools/list" => cacheable(json!({"nextCursor": "more", "tools": [
            {"name": "plain", "inputSchema": {"type": "object"}},
            {"name": "empty", "inputSchema": schema(json!({"type": "string", "x-mcp-header": ""}))},
            {"name": "number", "inputSchema": schema(json!({"type": "number", "x-mcp-header": "N"}))},
            {"name": "crlf", "inputSchema": schema(json!({"type": "string", "x-mcp-header": "A\r\nB"}))},
            {"name": "array", "inputSchema": schema(json!({"type": "array", "items": {"type": "string", "x-mcp-header": "N"}}))},
        ]})),
        "tools/call" => json!({"resultType": "complete", "content": [{"type": "text", "text": "done"}]}),
        other => panic!("an unexpected request: {other}"),
    };
    write_json(stream, &seen.result(&result))
}

fn start(little: &Little) -> (Airlock, String) {
    let airlock = Setup { upstreams: little.entry("little").to_string(), ..Setup::default() }.start();
    let token = airlock.user();
    (airlock, token)
}

fn query(path: &str, arguments: &Value, headers: &[(&str, &str)]) -> Request {
    let tool = if path == "/mcp" { "little__query" } else { "query" };
    headers
        .iter()
        .fold(modern_call(path, 1, tool, arguments), |request, (name, value)| request.header(name, value))
}

#[test]
fn what_the_headers_say_is_what_the_arguments_say() {
    let little = Little::start(answer);
    let (airlock, token) = start(&little);
    for path in ["/mcp/little", "/mcp"] {
        for (arguments, headers) in [
            (json!({}), &[][..]),
            (json!({"region": null, "text": "x"}), &[]),
            (json!({"region": "eu"}), &[("Mcp-Param-Region", "eu")]),
            (json!({"region": "Hello"}), &[("MCP-PARAM-REGION", "=?base64?SGVsbG8=?=")]),
            (json!({"region": "SGVsbG8="}), &[("mcp-param-region", "SGVsbG8=")]),
            (json!({"region": "=?base64?SGVsbG8="}), &[("mcp-param-region", "=?base64?SGVsbG8=")]),
            (json!({"limit": 42}), &[("Mcp-Param-Limit", "42.0")]),
            (json!({"options": {"dry": true}}), &[("Mcp-Param-Dry-Run", "true")]),
            (json!({}), &[("Mcp-Param-Unheard-Of", "x")]),
        ] {
            let response = airlock.send(&query(path, &arguments, headers).bearer(&token));
            assert_eq!(response.status, 200, "{arguments} {headers:?}: {}", response.text());
            assert_eq!(text(&response.answer()["result"]), "done");
        }
        let before = little.asked("tools/call").len();
        for (arguments, headers, reason) in [
            (json!({"region": "test-value"}), &[][..], "missing"),
            (json!({"region": "eu"}), &[("Mcp-Param-Region", "us")], "disagrees"),
            (json!({"region": "eu"}), &[("Mcp-Param-Region", "Eu")], "disagrees"),
            (json!({"region": "Hello"}), &[("Mcp-Param-Region", "=?base64?SGVsbG8?=")], "malformed"),
            (json!({"region": "Hello"}), &[("Mcp-Param-Region", "=?base64?SGVs!!!bG8=?=")], "malformed"),
            (json!({"region": "eu"}), &[("Mcp-Param-Region", "eu"), ("mcp-param-region", "eu")], "repeated"),
            (json!({"region": null}), &[("Mcp-Param-Region", "null")], "not there"),
            (json!({"Region": "eu"}), &[("Mcp-Param-Region", "eu")], "not there"),
            (json!({"limit": 42}), &[("Mcp-Param-Limit", "43")], "disagrees"),
            (json!({"options": {"dry": true}}), &[("Mcp-Param-Dry-Run", "false")], "disagrees"),
        ] {
            let response = airlock.send(&query(path, &arguments, headers).bearer(&token));
            let error = &response.answer()["error"];
            assert_eq!((response.status, &error["code"]), (400, &json!(-32_020)), "{arguments} {headers:?}");
            assert!(error["data"]["reason"].as_str().is_some_and(|text| text.contains(reason)), "{error}");
        }
        assert_eq!(little.asked("tools/call").len(), before, "what was refused was not sent");
    }
    let lists = little.asked("tools/list").len();
    assert_eq!(lists, 2, "the two pages of one list, once");
}

#[test]
fn the_server_gets_headers_written_anew() {
    let little = Little::start(answer);
    let (airlock, token) = start(&little);
    let arguments = json!({"region": "grüße", "limit": 7, "options": {"dry": false}});
    let headers = [
        ("Mcp-Param-Region", "=?base64?Z3LDvMOfZQ==?="),
        ("Mcp-Param-Limit", "7.0"),
        ("Mcp-Param-Dry-Run", "false"),
        ("Mcp-Param-Unheard-Of", "passed on"),
        ("X-Other", "not passed on"),
    ];
    let response = airlock.send(&query("/mcp/little", &arguments, &headers).bearer(&token));
    assert_eq!(response.status, 200, "{}", response.text());
    let seen = little.asked("tools/call").pop().expect("a call");
    assert_eq!(seen.header("mcp-param-region"), Some("=?base64?Z3LDvMOfZQ==?="));
    assert_eq!(seen.header("mcp-param-limit"), Some("7"));
    assert_eq!(seen.header("mcp-param-dry-run"), Some("false"));
    assert_eq!(seen.header("mcp-param-unheard-of"), Some("passed on"));
    assert_eq!(seen.header("x-other"), None);

    // A legacy client knows nothing of this; the server gets what it wants all the same.
    let mut session = Session::open(airlock.address(), "/mcp/little", &token).expect("a session");
    session.call("query", &json!({"region": " eu", "limit": 1})).expect("a call");
    let seen = little.asked("tools/call").pop().expect("a call");
    assert_eq!(seen.header("mcp-param-region"), Some("=?base64?IGV1?="));
    assert_eq!(seen.header("mcp-param-limit"), Some("1"));
    assert_eq!(seen.header("mcp-param-dry-run"), None);
}

#[test]
fn malformed_tools_are_left_out_and_the_others_stay() {
    let little = Little::start(answer);
    let (mut airlock, token) = start(&little);
    for _ in 0..2 {
        let listed =
            airlock.send(&modern("/mcp/little", 1, "tools/list", &Value::Null).bearer(&token)).answer();
        assert_eq!(tool_names(&listed["result"]), ["plain"], "{listed}");
        let merged = airlock.send(&modern("/mcp", 1, "tools/list", &Value::Null).bearer(&token)).answer();
        assert_eq!(tool_names(&merged["result"]), ["little__plain", "little__query"], "{merged}");
    }
    let response = airlock.send(&modern_call("/mcp/little", 1, "number", &json!({"p": 1})).bearer(&token));
    assert_eq!(response.answer()["error"]["code"], -32_602, "{}", response.text());
    assert!(little.asked("tools/call").is_empty());
    // All lines are written before the end.
    assert!(airlock.stop().success(), "{}", airlock.log());
    let log = airlock.log();
    let warned = log.lines().filter(|line| line.contains("an entry is left out of a list")).count();
    assert_eq!(warned, 4, "one line for each such tool:\n{log}");
}

/// A modern server that does not say which tools it has.
fn silent(seen: &Seen, stream: &mut TcpStream, book: &Mutex<Book>) -> io::Result<()> {
    if seen.rpc() == "tools/list" {
        let error =
            json!({"jsonrpc": "2.0", "id": seen.body["id"], "error": {"code": 1, "message": "not now"}});
        return write_json(stream, &error.to_string());
    }
    answer(seen, stream, book)
}

#[test]
fn what_cannot_be_checked_is_refused() {
    let little = Little::start(silent);
    let (airlock, token) = start(&little);
    let bare = airlock.send(&query("/mcp/little", &json!({"region": "eu"}), &[]).bearer(&token));
    assert_eq!(bare.status, 200, "{}", bare.text());
    let headed = query("/mcp/little", &json!({"region": "eu"}), &[("Mcp-Param-Region", "eu")]);
    let headed = airlock.send(&headed.bearer(&token));
    assert_eq!((headed.status, &headed.answer()["error"]["code"]), (400, &json!(-32_020)));
    assert!(headed.text().contains("cannot be checked"), "{}", headed.text());
    assert_eq!(little.asked("tools/call").len(), 1);
    assert_eq!(little.asked("tools/list").len(), 1, "it is not asked again with every call");
}
