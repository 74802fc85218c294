//! Cursors of lists.

use std::io;
use std::net::TcpStream;
use std::sync::Mutex;

use airlock_tests::little::{Book, Little, Seen, write_json};
use airlock_tests::mcp::{Session, modern};
use airlock_tests::{Airlock, Setup};
use serde_json::{Value, json};

use super::refused;

/// A modern server whose lists have two pages, and which knows its own cursor only.
fn answer(seen: &Seen, stream: &mut TcpStream, _: &Mutex<Book>) -> io::Result<()> {
    let page = |member: &str, one: &Value, two: &Value| {
        let mut result = json!({"resultType": "complete", "ttlMs": 0, "cacheScope": "public"});
        match seen.body["params"]["cursor"].as_str() {
            None => {
                result[member] = json!([one]);
                result["nextCursor"] = json!("page 2");
            }
            Some("page 2") => result[member] = json!([two]),
            Some(other) => panic!("a cursor that was never given: {other}"),
        }
        result
    };
    let schema = json!({"type": "object"});
    let result = match seen.rpc() {
        "server/discover" => json!({"resultType": "complete", "ttlMs": 0, "cacheScope": "public",
            "supportedVersions": ["2026-07-28"], "capabilities": {"tools": {"listChanged": true}, "prompts": {}}}),
        "tools/list" => page(
            "tools",
            &json!({"name": "one", "inputSchema": schema}),
            &json!({"name": "two", "inputSchema": schema}),
        ),
        "prompts/list" => page("prompts", &json!({"name": "one"}), &json!({"name": "two"})),
        other => panic!("an unexpected request: {other}"),
    };
    write_json(stream, &seen.result(&result))
}

fn list(airlock: &Airlock, token: &str, path: &str, method: &str, cursor: &Value) -> (u16, Value) {
    let params = if cursor.is_null() { json!({}) } else { json!({"cursor": cursor}) };
    let response = airlock.send(&modern(path, 1, method, &params).bearer(token));
    (response.status, response.answer())
}

#[test]
fn a_cursor_goes_on_for_its_owner_its_server_and_its_list_only() {
    let (one, two) = (Little::start(answer), Little::start(answer));
    let upstreams = one.entry("one").to_string() + &two.entry("two").to_string();
    let airlock = Setup { upstreams, ..Setup::default() }.start();
    let alice = airlock.user();
    let [mallory, elsewhere] = airlock.strangers();

    let (status, first) = list(&airlock, &alice, "/mcp/one", "tools/list", &Value::Null);
    let cursor = first["result"]["nextCursor"].clone();
    assert_eq!((status, &first["result"]["tools"][0]["name"]), (200, &json!("one")), "{first}");
    assert!(cursor.is_string() && !cursor.to_string().contains("page"), "{first}");
    let (_, second) = list(&airlock, &alice, "/mcp/one", "tools/list", &cursor);
    assert_eq!(second["result"]["tools"][0]["name"], "two", "{second}");
    assert!(second["result"].get("nextCursor").is_none(), "{second}");

    let mut changed = cursor.as_str().expect("text").to_owned();
    changed.replace_range(..1, if changed.starts_with('A') { "B" } else { "A" });
    let before = (one.book(|book| book.seen.len()), two.book(|book| book.seen.len()));
    for (token, path, method, cursor) in [
        (&mallory, "/mcp/one", "tools/list", cursor.clone()),
        (&elsewhere, "/mcp/one", "tools/list", cursor.clone()),
        (&alice, "/mcp/two", "tools/list", cursor.clone()),
        (&alice, "/mcp/one", "prompts/list", cursor.clone()),
        (&alice, "/mcp", "tools/list", cursor.clone()),
        (&alice, "/mcp/one", "tools/list", json!("page 2")),
        (&alice, "/mcp/one", "tools/list", json!(changed)),
        (&alice, "/mcp/one", "tools/list", json!("")),
        (&alice, "/mcp/one", "tools/list", json!(7)),
        (&alice, "/mcp", "tools/list", json!("page 2")),
    ] {
        let (status, answer) = list(&airlock, token, path, method, &cursor);
        assert_eq!((status, &answer["error"]["code"]), (400, &json!(-32_602)), "{path} {method} {cursor}");
        let reason = answer["error"]["data"]["reason"].as_str().unwrap_or_default();
        assert!(reason.contains("cursor"), "{answer}");
    }
    assert_eq!((one.book(|book| book.seen.len()), two.book(|book| book.seen.len())), before);
    assert_eq!(refused(&airlock, "tools/list", "mallory")["upstream"], "one");

    let mut session = Session::open(airlock.address(), "/mcp/one", &alice).expect("a session");
    let response = session.request("tools/list", &json!({"cursor": "page 2"})).expect("an answer");
    assert_eq!((response.status, &response.answer()["error"]["code"]), (200, &json!(-32_602)));
    // The revision does not matter, nor does the session: the cursor is the principal's.
    let result = session.result("tools/list", &json!({"cursor": cursor})).expect("the second page");
    assert_eq!(result["tools"][0]["name"], "two");

    let (_, merged) = list(&airlock, &alice, "/mcp", "tools/list", &Value::Null);
    assert_eq!(merged["result"]["tools"].as_array().map(Vec::len), Some(4), "{merged}");
    assert!(merged["result"].get("nextCursor").is_none(), "{merged}");
}

#[test]
fn what_servers_offer_besides_their_lists_is_offered() {
    let little = Little::start(answer);
    let airlock = Setup { upstreams: little.entry("one").to_string(), ..Setup::default() }.start();
    let token = airlock.user();
    for path in ["/mcp/one", "/mcp"] {
        let wanted = json!({"tools": {"listChanged": true}, "prompts": {}});
        let answer = airlock.send(&modern(path, 1, "server/discover", &Value::Null).bearer(&token)).answer();
        assert_eq!(answer["result"]["capabilities"], wanted, "{answer}");
        let session = Session::open(airlock.address(), path, &token).expect("a session");
        assert_eq!(session.initialized["capabilities"], wanted);
    }
}
