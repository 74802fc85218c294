//! A modern server over HTTP: headers agree with what its arguments became, content that is no text is
//! refused where it is to be, and an answer that grows beyond the limit is not passed on.

use std::io;
use std::net::TcpStream;
use std::sync::Mutex;

use airlock_tests::little::{Book, Little, Seen, write_json};
use airlock_tests::mcp::{modern_call, text};
use airlock_tests::{Airlock, Setup};
use serde_json::{Value, json};

use super::arguments_are_looked_through::{SECRET, leaky};

/// How many cards are in the long answer.
const CARDS: usize = 3_500;

fn answer(seen: &Seen, stream: &mut TcpStream, _: &Mutex<Book>) -> io::Result<()> {
    let tool = seen.body["params"]["name"].as_str().unwrap_or_default();
    let cacheable = |mut result: Value| {
        result["resultType"] = json!("complete");
        result["ttlMs"] = json!(0);
        result["cacheScope"] = json!("public");
        result
    };
    let said = |block: Value| json!({"resultType": "complete", "content": [block]});
    let result = match (seen.rpc(), tool) {
        ("server/discover", _) => {
            cacheable(json!({"supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}}}))
        }
        ("tools/list", _) => cacheable(json!({"tools": [{"name": "query", "inputSchema": {"type": "object",
            "properties": {"region": {"type": "string", "x-mcp-header": "Region"}}}}]})),
        ("tools/call", "image") => {
            said(json!({"type": "image", "mimeType": "image/png", "data": "iVBORw0KGgo="}))
        }
        ("tools/call", "cards") => said(json!({"type": "text", "text": "4111111111111111 ".repeat(CARDS)})),
        _ => said(json!({"type": "text", "text": "done"})),
    };
    write_json(stream, &seen.result(&result))
}

fn start(little: &Little, server: &str, dlp: &str) -> (Airlock, String) {
    let (upstreams, server, more) = (little.entry("little").to_string(), server.to_owned(), dlp.to_owned());
    let airlock = Setup { upstreams, server, more, ..Setup::default() }.start();
    let token = airlock.user();
    (airlock, token)
}

#[test]
fn headers_repeat_the_arguments_that_are_sent() {
    let little = Little::start(answer);
    let (airlock, token) = start(&little, "", "");
    let call = modern_call("/mcp/little", 1, "query", &json!({"region": SECRET}))
        .header("mcp-param-region", SECRET)
        .header("mcp-param-other", SECRET)
        .header("mcp-param-more", "plain");
    let response = airlock.send(&call.bearer(&token));
    assert_eq!(text(&response.answer()["result"]), "done", "{}", response.text());
    let seen = little.asked("tools/call").remove(0);
    let sent = "[redacted:github-token]";
    assert_eq!(seen.body["params"]["arguments"]["region"], sent, "{seen:?}");
    assert_eq!(seen.header("mcp-param-region"), Some(sent), "{seen:?}");
    assert_eq!((seen.header("mcp-param-other"), seen.header("mcp-param-more")), (None, Some("plain")));
    assert!(!format!("{seen:?}").contains(SECRET));
    // The client's own words agree with each other, or the call is refused as ever.
    let call = modern_call("/mcp/little", 2, "query", &json!({"region": SECRET}))
        .header("mcp-param-region", "elsewhere");
    assert_eq!(airlock.send(&call.bearer(&token)).status, 400);
}

#[test]
fn content_that_is_no_text_passes_or_is_refused() {
    let little = Little::start(answer);
    for (dlp, passes) in [("", true), ("dlp: {binary: refuse}\n", false)] {
        let (airlock, token) = start(&little, "", dlp);
        let answer =
            airlock.send(&modern_call("/mcp/little", 1, "image", &json!({})).bearer(&token)).answer();
        assert_eq!(answer["result"]["content"][0]["data"] == "iVBORw0KGgo=", passes, "{answer}");
        let reason = answer["error"]["message"].as_str().unwrap_or_default();
        assert_eq!(reason.contains("content that is no text"), !passes, "{answer}");
    }
}

#[test]
fn an_answer_that_would_grow_beyond_the_limit_is_not_passed_on() {
    let little = Little::start(answer);
    let (airlock, token) = start(&little, "  max_response_bytes: 64KiB\n", "dlp: {response: hash}\n");
    let answer = airlock.send(&modern_call("/mcp/little", 1, "cards", &json!({})).bearer(&token)).answer();
    let error = &answer["error"];
    assert_eq!(error["code"], 502, "{answer}");
    assert!(error["message"].as_str().is_some_and(|text| text.contains("longer than 65536")), "{answer}");
}

#[test]
fn members_keep_their_number_where_their_names_become_the_same() {
    let airlock = leaky("dlp: {packs: [pii]}\n");
    let token = airlock.user();
    let arguments = json!({"alice@acme.com": 1, "bob@acme.com": 2, "plain": 3});
    let answer = airlock.send(&modern_call("/mcp/leaky", 1, "heard", &arguments).bearer(&token)).answer();
    let keys = &answer["result"]["structuredContent"]["keys"];
    assert_eq!(keys, &json!(["[redacted:email]", "[redacted:email]-2", "plain"]), "{answer}");
}
