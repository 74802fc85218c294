//! Many clients write what they leave out as null: it is as if it were not there, for the policy and for the
//! server alike.

use std::io;
use std::net::TcpStream;
use std::sync::Mutex;

use airlock_tests::http::Request;
use airlock_tests::little::{Book, Little, Seen, write_json};
use airlock_tests::mcp::{MODERN, Session};
use airlock_tests::{Airlock, Setup};
use serde_json::{Value, json};

/// A server that says what it was sent.
fn echo(seen: &Seen, stream: &mut TcpStream, _: &Mutex<Book>) -> io::Result<()> {
    let result = match seen.rpc() {
        "server/discover" => json!({"resultType": "complete", "ttlMs": 0, "cacheScope": "public",
            "supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}}}),
        "tools/list" => json!({"resultType": "complete", "ttlMs": 0, "cacheScope": "public",
            "tools": [{"name": "say", "inputSchema": {"type": "object"}}]}),
        _ => json!({"resultType": "complete", "content": [{"type": "text", "text": seen.raw}]}),
    };
    write_json(stream, &seen.result(&result))
}

/// Entries of lists have no arguments, and calls must have none.
const POLICY: &str = "package airlock.authz\n\nimport rego.v1\n\nallow if input.call.arguments == null\n\n\
                      allow if input.call.arguments == {}\n";

fn start() -> (Little, Airlock) {
    let server = Little::start(echo);
    let upstreams = server.entry("echo").with("era", "modern").to_string();
    let airlock = Setup { upstreams, policy: POLICY.to_owned(), ..Setup::default() }.start();
    (server, airlock)
}

#[test]
fn a_legacy_client_may_write_null() {
    let (server, airlock) = start();
    let session = Session::open(airlock.address(), "/mcp/echo", &airlock.user()).expect("a session");
    let ask = |method: &str, params: &Value| {
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
        airlock.send(&session.prepare(&body)).answer()
    };
    for params in [Value::Null, json!({"cursor": null}), json!({"cursor": null, "_meta": null})] {
        let answer = ask("tools/list", &params);
        assert!(answer["result"].to_string().contains("say"), "{params}: {answer}");
    }
    assert!(ask("ping", &Value::Null)["result"].is_object());
    let call = json!({"name": "say", "arguments": null, "_meta": {"progressToken": null}, "task": null});
    let answer = ask("tools/call", &call);
    assert!(answer["result"].is_object(), "{answer}");
    let seen = server.asked("tools/call").pop().expect("a call").body["params"].clone();
    for member in ["arguments", "task"] {
        assert!(seen.get(member).is_none(), "the server gets what the policy saw: {seen}");
    }
    assert!(seen["_meta"].get("progressToken").is_none_or(|token| !token.is_null()), "{seen}");
    // A member of another type is still not right.
    for wrong in [
        json!({"name": "say", "arguments": 1}),
        json!({"name": null}),
        json!({"name": "say", "arguments": []}),
    ] {
        assert!(ask("tools/call", &wrong)["error"].is_object(), "{wrong}");
    }
}

#[test]
fn so_may_a_modern_one() {
    let (server, airlock) = start();
    let token = airlock.user();
    let params = json!({"name": "say", "arguments": null, "requestState": null, "inputResponses": null, "_meta": {
        "io.modelcontextprotocol/protocolVersion": MODERN, "io.modelcontextprotocol/clientCapabilities": {},
        "io.modelcontextprotocol/logLevel": null, "progressToken": null}});
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params});
    let request = Request::post("/mcp/echo", body.to_string())
        .bearer(&token)
        .header("mcp-protocol-version", MODERN)
        .header("mcp-method", "tools/call")
        .header("mcp-name", "say");
    let answer = airlock.send(&request).answer();
    assert!(answer["result"].is_object(), "{answer}");
    let seen = server.asked("tools/call").pop().expect("a call").body["params"].clone();
    assert!(seen.get("arguments").is_none() && !seen.to_string().contains("null"), "{seen}");
}
