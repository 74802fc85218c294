//! Names of the merged endpoint as APIs of models take them (`merged.names: safe`).

use std::io;
use std::net::TcpStream;
use std::sync::Mutex;

use airlock_tests::Setup;
use airlock_tests::airlock::{Airlock, POLICY, run};
use airlock_tests::little::{Book, Little, Seen, write, write_json};
use airlock_tests::mcp::{Session, modern, modern_call, text, tool_names};
use serde_json::{Value, json};

use crate::protocol::owners::handles_stay_with_their_owner::tasks_modern::request;

/// Safe names of the server's own; the digits are those of SHA-256 of `one`, a zero byte and the own name.
const A_B: &str = "one__a_b_7c83c98efc77";
const C_D: &str = "one__c_d_93bd30ea4d43";
const P_Q: &str = "one__p_q_0af0e6e634e1";

fn answer(seen: &Seen, stream: &mut TcpStream, _: &Mutex<Book>) -> io::Result<()> {
    let long = "x".repeat(60);
    let tool = |name: &str| json!({"name": name, "inputSchema": {"type": "object"}});
    let called = seen.body["params"]["name"].as_str().unwrap_or_default();
    let mut result = match seen.rpc() {
        "server/discover" => json!({"supportedVersions": ["2026-07-28"],
            "capabilities": {"tools": {}, "prompts": {}, "completions": {}}}),
        "tools/list" => json!({"tools": [tool("good"), tool("a.b"), tool(&long), tool("c:d")]}),
        "prompts/list" => json!({"prompts": [{"name": "p/q"}]}),
        "tools/call" => json!({"content": [{"type": "text", "text": called}]}),
        "prompts/get" => {
            json!({"messages": [{"role": "user", "content": {"type": "text", "text": called}}]})
        }
        "completion/complete" => json!({"completion": {"values": [seen.body["params"]["ref"]["name"]]}}),
        other => panic!("an unexpected request: {other}"),
    };
    result["resultType"] = json!("complete");
    if seen.rpc().ends_with("/list") || seen.rpc() == "server/discover" {
        result["ttlMs"] = json!(0);
        result["cacheScope"] = json!("public");
    }
    write_json(stream, &seen.result(&result))
}

/// One whose tool has the very name that is made for another one of its tools.
fn clashing(seen: &Seen, stream: &mut TcpStream, book: &Mutex<Book>) -> io::Result<()> {
    if seen.rpc() != "tools/list" {
        return answer(seen, stream, book);
    }
    let tool = |name: &str| json!({"name": name, "inputSchema": {"type": "object"}});
    let own = A_B.strip_prefix("one__").unwrap_or_default();
    let mut result = json!({"tools": [tool("a.b"), tool(own), tool("c:d")]});
    (result["resultType"], result["ttlMs"]) = (json!("complete"), json!(0));
    result["cacheScope"] = json!("public");
    write_json(stream, &seen.result(&result))
}

fn setup(little: &Little) -> Setup {
    let policy = format!(
        "{POLICY}\ndeny contains {{\"rule_id\": \"no_c_d\", \"reason\": \"not c:d\"}} if input.call.tool == \"c:d\"\n"
    );
    let upstreams = little.entry("one").to_string();
    Setup { upstreams, policy, ..Setup::default() }.with("merged", json!({"names": "safe"}))
}

fn send(airlock: &Airlock, method: &str, params: &Value) -> Value {
    airlock.send(&modern("/mcp", 1, method, params).bearer(&airlock.user())).answer()
}

fn call(airlock: &Airlock, tool: &str) -> Value {
    airlock.send(&modern_call("/mcp", 1, tool, &json!({})).bearer(&airlock.user())).answer()
}

#[test]
fn every_name_that_is_listed_is_safe_and_can_be_called_in_both_eras() {
    let little = Little::start(answer);
    let airlock = setup(&little).start();
    let listed = tool_names(&send(&airlock, "tools/list", &Value::Null)["result"]);
    let long = format!("one__{}_9c207f390de3", "x".repeat(64 - 5 - 13));
    assert_eq!(listed, ["one__good", A_B, &*long], "the policy hides c:d by its own name");
    let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    assert!(listed.iter().all(|name| name.len() <= 64 && name.chars().all(is_plain)), "{listed:?}");
    let mut session = Session::open(airlock.address(), "/mcp", &airlock.user()).expect("a session");
    assert_eq!(tool_names(&session.result("tools/list", &Value::Null).expect("a list")), listed);
    for (name, own) in listed.iter().zip(["good", "a.b", &*"x".repeat(60)]) {
        assert_eq!(text(&call(&airlock, name)["result"]), own);
        assert_eq!(text(&session.call(name, &json!({})).expect("a result")), own);
    }
    assert_eq!(text(&call(&airlock, "one__a.b")["result"]), "a.b", "its own name stays good");

    let prompts = send(&airlock, "prompts/list", &Value::Null);
    assert_eq!(prompts["result"]["prompts"][0]["name"], P_Q);
    let got = send(&airlock, "prompts/get", &json!({"name": P_Q}));
    assert_eq!(got["result"]["messages"][0]["content"]["text"], "p/q", "{got}");
    let params = json!({"ref": {"type": "ref/prompt", "name": P_Q}, "argument": {"name": "x", "value": ""}});
    let completed = send(&airlock, "completion/complete", &params);
    assert_eq!(completed["result"]["completion"]["values"], json!(["p/q"]), "{completed}");
    let one = airlock.send(&modern("/mcp/one", 1, "tools/list", &Value::Null).bearer(&airlock.user()));
    assert!(
        tool_names(&one.answer()["result"]).contains(&"a.b".to_owned()),
        "its own endpoint has its own names"
    );
}

#[test]
fn a_call_before_any_list_finds_its_tool_and_is_judged_and_recorded_by_its_own_name() {
    let little = Little::start(answer);
    // Two daemons stand for one before and after a restart.
    for _ in 0..2 {
        let airlock = setup(&little).start();
        let before = little.asked("tools/list").len();
        let stranger = airlock.token("mallory", "acme", &[]);
        let refused = airlock.send(&modern_call("/mcp", 1, A_B, &json!({})).bearer(&stranger));
        assert_eq!(refused.status, 403, "{}", refused.text());
        assert_eq!(
            little.asked("tools/list").len(),
            before,
            "nothing is asked for who may not use the server"
        );

        assert_eq!(text(&call(&airlock, A_B)["result"]), "a.b");
        let refused = call(&airlock, C_D);
        assert_eq!(refused["error"]["message"], "Forbidden: not c:d", "{refused}");
        let unknown = call(&airlock, "one__a_b_000000000000");
        assert_eq!(unknown["error"]["code"], -32_602, "{unknown}");

        let intent = airlock.audited(|record| record["event"] == "call.intent");
        assert_eq!(
            (&intent["target"], &intent["reason"]),
            (&json!("a.b"), &json!(format!("called as `{A_B}`")))
        );
        let denied = airlock.audited(|record| record["rule_id"] == "no_c_d");
        assert_eq!(denied["target"], "c:d");
    }
}

#[test]
fn a_name_of_two_tools_stays_with_its_owner_and_is_told() {
    let little = Little::start(clashing);
    let folder = tempfile::tempdir().expect("a folder");
    let socket = folder.path().join("admin.sock").display().to_string();
    let airlock = setup(&little).observability("admin_listen", &socket).start();
    let own = A_B.strip_prefix("one__").unwrap_or_default();
    assert_eq!(text(&call(&airlock, A_B)["result"]), own, "before any list");
    assert_eq!(tool_names(&send(&airlock, "tools/list", &Value::Null)["result"]), [A_B]);
    assert_eq!(text(&call(&airlock, A_B)["result"]), own, "after it");
    let warnings = || {
        let (_, status, errors) = run(&["status", "--json", "--socket", &socket]);
        let status: Value = serde_json::from_str(&status).unwrap_or_else(|error| panic!("{error}: {errors}"));
        status["warnings"].to_string()
    };
    let told = warnings();
    assert!(told.contains("`a.b` is left out of tools/list"), "{told}");
    assert!(!told.contains("APIs of models refuse"), "{told}");
    airlock.send(&modern("/mcp/one", 1, "tools/list", &Value::Null).bearer(&airlock.user()));
    let told = warnings();
    assert!(told.contains("their safe names are those of other tools: `a.b`"), "{told}");
}

#[test]
fn without_the_key_names_are_as_ever() {
    let little = Little::start(answer);
    let airlock = Setup { more: String::new(), ..setup(&little) }.start();
    let listed = tool_names(&send(&airlock, "tools/list", &Value::Null)["result"]);
    assert_eq!(listed, ["one__good", "one__a.b", &*format!("one__{}", "x".repeat(60))]);
    assert_eq!(text(&call(&airlock, A_B)["result"]), "a_b_7c83c98efc77", "it is the server's to know it");
}

/// A modern server whose tool `a.b` answers with a task.
fn with_tasks(seen: &Seen, stream: &mut TcpStream, book: &Mutex<Book>) -> io::Result<()> {
    let task = |kind: &str, more: Value| {
        let mut task = json!({"resultType": kind, "taskId": "t1", "status": "completed",
            "createdAt": "2026-08-01T00:00:00Z", "lastUpdatedAt": "2026-08-01T00:00:00Z", "ttlMs": 60_000});
        task.as_object_mut().expect("an object").extend(more.as_object().cloned().unwrap_or_default());
        task
    };
    let name = &seen.body["params"]["name"];
    let result = match seen.rpc() {
        "server/discover" => json!({"resultType": "complete", "ttlMs": 0, "cacheScope": "public",
            "supportedVersions": ["2026-07-28"],
            "capabilities": {"tools": {}, "extensions": {"io.modelcontextprotocol/tasks": {}}}}),
        "tools/call" => task("task", json!({"status": "working", "_meta": {"called": name}})),
        "tasks/get" => task("complete", json!({"result": {"content": [{"type": "text", "text": "done"}]}})),
        _ => return answer(seen, stream, book),
    };
    write_json(stream, &seen.result(&result))
}

#[test]
fn a_call_that_becomes_a_task_has_the_tools_own_name() {
    let little = Little::start(with_tasks);
    let airlock = setup(&little).start();
    let ask = |method: &str, params: &Value| {
        let answer = airlock.send(&request("/mcp", method, params).bearer(&airlock.user())).answer();
        assert!(answer["error"].is_null(), "{answer}");
        answer["result"].clone()
    };
    for listed in [false, true] {
        if listed {
            ask("tools/list", &json!({}));
        }
        let task = ask("tools/call", &json!({"name": A_B, "arguments": {}}));
        assert_eq!(task["resultType"], "task", "{task}");
        assert_eq!(little.asked("tools/call").last().expect("a call").body["params"]["name"], "a.b");
        let id = task["taskId"].as_str().expect("an id");
        assert!(id.starts_with("one."), "{id}");
        let got = ask("tasks/get", &json!({"taskId": id}));
        assert_eq!((&got["taskId"], text(&got["result"])), (&json!(id), "done"), "{got}");
    }
    let refused = airlock
        .send(&request("/mcp", "tools/call", &json!({"name": C_D, "arguments": {}})).bearer(&airlock.user()));
    assert_eq!((refused.status, little.asked("tools/call").len()), (403, 2), "{}", refused.text());
    let intents =
        airlock.audited(|record| record["event"] == "call.intent" && record["method"] == "tasks/get");
    assert_eq!(intents["target"].as_str().map(|target| target.contains("t1")), Some(true), "{intents}");
}

/// A legacy server whose tool `a.b` may be called as a task.
fn with_legacy_tasks(seen: &Seen, stream: &mut TcpStream, _: &Mutex<Book>) -> io::Result<()> {
    let task = json!({"taskId": "t1", "status": "working", "createdAt": "2026-08-01T00:00:00Z",
        "lastUpdatedAt": "2026-08-01T00:00:00Z", "ttl": 60_000});
    let result = match seen.rpc() {
        "initialize" => json!({"protocolVersion": "2025-11-25",
            "serverInfo": {"name": "little", "version": "1"},
            "capabilities": {"tools": {}, "tasks": {"requests": {"tools": {"call": {}}}}}}),
        "tools/list" => json!({"tools": [{"name": "a.b", "inputSchema": {"type": "object"},
            "execution": {"taskSupport": "required"}}]}),
        "tools/call" => json!({"task": task}),
        "tasks/get" => task,
        "notifications/initialized" => return write(stream, "202 Accepted", "", ""),
        _ => return write(stream, "404 Not Found", "", ""),
    };
    write_json(stream, &seen.result(&result))
}

#[test]
fn a_legacy_task_has_the_tools_own_name() {
    let little = Little::start(with_legacy_tasks);
    let airlock = setup(&little).start();
    let mut session = Session::open(airlock.address(), "/mcp", &airlock.user()).expect("a session");
    let params = json!({"name": A_B, "arguments": {}, "task": {"ttl": 60_000}});
    let called = session.result("tools/call", &params).expect("a task");
    let id = called["task"]["taskId"].as_str().unwrap_or_else(|| panic!("no id: {called}")).to_owned();
    assert!(id.starts_with("one."), "{id}");
    let sent = &little.asked("tools/call")[0].body["params"];
    assert_eq!((&sent["name"], &sent["task"]["ttl"]), (&json!("a.b"), &json!(60_000)), "{sent}");
    let got = session.result("tasks/get", &json!({"taskId": id})).expect("the task");
    assert_eq!(got["taskId"], id, "{got}");
}

#[test]
fn a_tools_quota_is_that_of_its_own_name() {
    let little = Little::start(answer);
    let limits = "rate_limiting: {per_tool: {one/a.b: 3/h, \"one/a_b_*\": 1/h}}\n";
    let more = format!("merged: {{names: safe}}\n{limits}");
    let airlock = Setup { more, ..setup(&little) }.start();
    // Three names of one tool, the first before any list: one quota, and that of the made name is nobody's.
    assert_eq!(text(&call(&airlock, A_B)["result"]), "a.b");
    assert_eq!(text(&call(&airlock, "one__a.b")["result"]), "a.b");
    let own = modern_call("/mcp/one", 1, "a.b", &json!({})).bearer(&airlock.user());
    assert_eq!(airlock.send(&own).status, 200);
    for (path, name) in [("/mcp", A_B), ("/mcp", "one__a.b"), ("/mcp/one", "a.b")] {
        let refused = airlock.send(&modern_call(path, 1, name, &json!({})).bearer(&airlock.user()));
        assert_eq!(refused.status, 429, "{name}: {}", refused.text());
        assert_eq!(refused.answer()["error"]["data"]["rule_id"], "rate_limiting.per_tool");
    }
    let recorded = airlock.audited(|record| record["rule_id"] == "rate_limiting.per_tool");
    assert_eq!((&recorded["upstream"], &recorded["target"]), (&json!("one"), &json!("a.b")), "{recorded}");
    let other = call(&airlock, "one__good");
    assert_eq!(text(&other["result"]), "good", "another tool is not limited");
}
