//! Tasks of the extension of 2026-07-28.

use std::io;
use std::net::TcpStream;
use std::sync::Mutex;

use airlock_tests::http::Request;
use airlock_tests::little::{Book, Little, Seen, write, write_json};
use airlock_tests::mcp::{Session, modern};
use airlock_tests::{Airlock, Setup};
use serde_json::{Value, json};

use super::refused;

/// A modern server whose tool `slow` always answers with the task `t 1`.
fn answer(seen: &Seen, stream: &mut TcpStream, _: &Mutex<Book>) -> io::Result<()> {
    let params = &seen.body["params"];
    let task = |more: Value| {
        let mut task = json!({"resultType": "complete", "taskId": "t 1", "status": "working",
            "createdAt": "2026-08-01T00:00:00Z", "lastUpdatedAt": "2026-08-01T00:00:00Z", "ttlMs": 60_000});
        task.as_object_mut().expect("an object").extend(more.as_object().cloned().unwrap_or_default());
        task
    };
    let result = match (seen.rpc(), params["name"].as_str().unwrap_or_default()) {
        ("server/discover", _) => json!({"resultType": "complete", "ttlMs": 0, "cacheScope": "public",
            "supportedVersions": ["2026-07-28"],
            "capabilities": {"tools": {}, "extensions": {"io.modelcontextprotocol/tasks": {}}}}),
        ("tools/list", _) => json!({"resultType": "complete", "ttlMs": 0, "cacheScope": "public",
            "tools": [{"name": "slow", "inputSchema": {"type": "object"}}]}),
        ("tools/call", "slow") => task(json!({"resultType": "task"})),
        ("tasks/get" | "tasks/update" | "tasks/cancel", _) => {
            assert_eq!(params["taskId"], "t 1", "{seen:?}");
            assert_eq!(seen.header("mcp-name"), Some("t 1"), "{seen:?}");
            if params["_meta"]["ask"] == json!("roots") {
                task(json!({"status": "input_required",
                    "inputRequests": {"a": {"method": "roots/list", "params": {}}}}))
            } else if seen.rpc() == "tasks/get" {
                task(json!({"status": "completed", "result": {
                    "content": [{"type": "resource_link", "uri": "notes://a", "name": "a"}]}}))
            } else {
                json!({"resultType": "complete"})
            }
        }
        (other, _) => {
            let error = json!({"jsonrpc": "2.0", "id": seen.body["id"],
                "error": {"code": -32_601, "message": format!("no {other}")}});
            return write(stream, "404 Not Found", "Content-Type: application/json\r\n", &error.to_string());
        }
    };
    write_json(stream, &seen.result(&result))
}

/// A request of a client that can follow tasks.
pub(crate) fn request(path: &str, method: &str, params: &Value) -> Request {
    let mut request = modern(path, 1, method, params);
    let body = String::from_utf8(request.body).expect("JSON");
    let able =
        r#""io.modelcontextprotocol/clientCapabilities":{"extensions":{"io.modelcontextprotocol/tasks":{}}}"#;
    let plain = r#""io.modelcontextprotocol/clientCapabilities":{}"#;
    assert!(body.contains(plain));
    request.body = body.replace(plain, able).into_bytes();
    match params["taskId"].as_str() {
        Some(id) => request.header("mcp-name", id),
        None => request,
    }
}

fn ask(airlock: &Airlock, token: &str, path: &str, method: &str, params: &Value) -> (u16, Value) {
    let response = airlock.send(&request(path, method, params).bearer(token));
    (response.status, response.answer())
}

#[test]
fn a_result_becomes_a_task_that_only_its_owner_can_follow() {
    let (one, two) = (Little::start(answer), Little::start(answer));
    let upstreams = one.entry("one").to_string() + &two.entry("two").to_string();
    let airlock = Setup { upstreams, ..Setup::default() }.start();
    let alice = airlock.user();
    let [mallory, elsewhere] = airlock.strangers();
    for (path, tool, prefix, link) in
        [("/mcp/one", "slow", "", "notes://a"), ("/mcp", "one__slow", "one.", "airlock+one+notes://a")]
    {
        let (_, offered) = ask(&airlock, &alice, path, "server/discover", &Value::Null);
        let extensions = &offered["result"]["capabilities"]["extensions"];
        assert_eq!(*extensions, json!({"io.modelcontextprotocol/tasks": {}}), "{offered}");

        let (status, task) =
            ask(&airlock, &alice, path, "tools/call", &json!({"name": tool, "arguments": {}}));
        assert_eq!((status, &task["result"]["resultType"]), (200, &json!("task")), "{task}");
        let id = task["result"]["taskId"].as_str().expect("an id").to_owned();
        assert!(id.starts_with(prefix) && !id.contains("t 1"), "{id}");
        let (_, got) = ask(&airlock, &alice, path, "tasks/get", &json!({"taskId": id}));
        assert_eq!(got["result"]["taskId"], id, "{got}");
        assert_eq!(got["result"]["result"]["content"][0]["uri"], link, "{got}");
        let answers = json!({"taskId": id, "inputResponses": {"a": {"action": "decline"}}});
        let (_, updated) = ask(&airlock, &alice, path, "tasks/update", &answers);
        assert_eq!(updated["result"]["resultType"], "complete", "{updated}");
        let (_, cancelled) = ask(&airlock, &alice, path, "tasks/cancel", &json!({"taskId": id}));
        assert_eq!(cancelled["result"]["resultType"], "complete", "{cancelled}");
        assert_eq!(
            one.asked("tasks/update").last().expect("one").body["params"]["inputResponses"],
            answers["inputResponses"]
        );

        let asking = json!({"taskId": id, "_meta": {"ask": "roots"}});
        let (status, answer) = ask(&airlock, &alice, path, "tasks/get", &asking);
        assert_eq!(status, 502, "roots are not the client's to give: {answer}");

        let count = || one.book(|book| book.seen.len()) + two.book(|book| book.seen.len());
        let before = count();
        let bare = id.trim_start_matches("one.");
        for (token, path, stolen) in [
            (&mallory, path, id.clone()),
            (&elsewhere, path, id.clone()),
            (&alice, "/mcp/two", bare.to_owned()),
            (&alice, "/mcp", format!("two.{bare}")),
            (&alice, path, "t 1".to_owned()),
            (&alice, path, format!("{prefix}t 1")),
            (&alice, path, String::new()),
        ] {
            for method in ["tasks/get", "tasks/update", "tasks/cancel"] {
                let (status, answer) = ask(&airlock, token, path, method, &json!({"taskId": stolen}));
                assert_eq!((status, &answer["error"]["code"]), (200, &json!(-32_602)), "{method} {stolen}");
                assert_eq!(answer["error"]["data"]["reason"], "there is no such task", "{answer}");
            }
        }
        // The header names the task as the client knows it.
        let lying = modern(path, 1, "tasks/get", &json!({"taskId": id})).header("mcp-name", "t 1");
        assert_eq!(airlock.send(&lying.bearer(&alice)).answer()["error"]["code"], -32_020);
        assert_eq!(count(), before, "nothing of this has reached a server");
        refused(&airlock, "tasks/get", "mallory");
    }
}

#[test]
fn nobody_gets_a_task_who_did_not_say_that_it_can_follow_one() {
    let little = Little::start(answer);
    let airlock = Setup { upstreams: little.entry("one").to_string(), ..Setup::default() }.start();
    let token = airlock.user();
    let call = json!({"name": "slow", "arguments": {}});
    let response = airlock.send(&modern("/mcp/one", 1, "tools/call", &call).bearer(&token));
    assert_eq!(response.status, 502, "{}", response.text());

    let mut session = Session::open(airlock.address(), "/mcp/one", &token).expect("a session");
    assert_eq!(session.initialized["capabilities"], json!({"tools": {}}));
    let augmented = json!({"name": "slow", "arguments": {}, "task": {"ttl": 1}});
    for (method, params, code) in [
        ("tools/call", &call, 502),
        ("tools/call", &augmented, -32_602),
        ("tasks/get", &json!({"taskId": "t 1"}), -32_601),
        ("tasks/list", &json!({}), -32_601),
    ] {
        let response = session.request(method, params).expect("an answer");
        assert_eq!(response.answer()["error"]["code"], code, "{method}: {}", response.text());
    }
    for seen in little.asked("tools/call") {
        let able = &seen.body["params"]["_meta"]["io.modelcontextprotocol/clientCapabilities"];
        assert!(able.get("extensions").is_none(), "{able}");
        assert!(seen.body["params"].get("task").is_none(), "{seen:?}");
    }
}
