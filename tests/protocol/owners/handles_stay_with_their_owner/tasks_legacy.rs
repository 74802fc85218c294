//! Tasks of 2025-11-25, with the reference server that has them.

use std::time::Duration;

use airlock_tests::airlock::{stdio_upstream, until};
use airlock_tests::mcp::{Session, modern, modern_call};
use airlock_tests::{Setup, skip, tools};
use serde_json::{Value, json};

use super::refused;

/// The reference server under two names; none, and the test is skipped, where it is not installed.
fn upstreams() -> Option<String> {
    let [node, script] = tools::in_node(tools::EVERYTHING).inspect_err(|reason| skip(reason)).ok()?;
    let each = |name| stdio_upstream(name, &[&node, &script, "stdio"]);
    Some(each("one") + &each("two"))
}

fn call(session: &mut Session, tool: &str) -> Value {
    let params = json!({"name": tool, "arguments": {"topic": "tides"}, "task": {"ttl": 60_000}});
    session.result("tools/call", &params).expect("a task")["task"].clone()
}

#[test]
fn a_call_becomes_a_task_that_only_its_owner_can_follow() {
    let Some(upstreams) = upstreams() else { return };
    let airlock = Setup { upstreams, ..Setup::default() }.start();
    let token = airlock.user();
    for (path, tool, prefix) in
        [("/mcp/one", "simulate-research-query", ""), ("/mcp", "one__simulate-research-query", "one.")]
    {
        let mut session = Session::open(airlock.address(), path, &token).expect("a session");
        let tasks = &session.initialized["capabilities"]["tasks"];
        assert_eq!(*tasks, json!({"list": {}, "cancel": {}, "requests": {"tools": {"call": {}}}}), "{path}");

        let task = call(&mut session, tool);
        let id = task["taskId"].as_str().expect("an id").to_owned();
        assert!(id.starts_with(prefix) && id.len() > 40, "{id} is sealed");
        let got = session.result("tasks/get", &json!({"taskId": id})).expect("the task");
        assert_eq!((&got["taskId"], got["status"].is_string()), (&json!(id), true), "{got}");
        let listed = session.result("tasks/list", &json!({})).expect("the tasks");
        assert_eq!(listed["tasks"].as_array().map(Vec::len), Some(1), "{listed}");
        assert_eq!(listed["tasks"][0]["taskId"], id, "a task keeps its name");
        let outcome = session.result("tasks/result", &json!({"taskId": id})).expect("the outcome");
        assert!(
            outcome["content"][0]["text"].as_str().is_some_and(|text| text.contains("tides")),
            "{outcome}"
        );
        assert_eq!(outcome["_meta"]["io.modelcontextprotocol/related-task"]["taskId"], id, "{outcome}");

        let second = call(&mut session, tool)["taskId"].clone();
        let cancelled = session.result("tasks/cancel", &json!({"taskId": second})).expect("cancelled");
        assert_eq!((&cancelled["taskId"], &cancelled["status"]), (&second, &json!("cancelled")));

        // Another principal, another tenant, another server, and what nobody was given: all the same answer.
        let open = |path: &str, subject: &str, tenant: &str| {
            let token = airlock.token(subject, tenant, &["mcp.users"]);
            Session::open(airlock.address(), path, &token).expect("a session")
        };
        let bare = id.trim_start_matches("one.").to_owned();
        let other = if prefix.is_empty() { "/mcp/two" } else { "/mcp" };
        for (mut thief, stolen) in [
            (open(path, "mallory", "acme"), id.clone()),
            (open(path, "alice", "globex"), id.clone()),
            (open(other, "alice", "acme"), if prefix.is_empty() { bare } else { format!("two.{bare}") }),
            (open(path, "alice", "acme"), "made-up".to_owned()),
            (open(path, "alice", "acme"), format!("{prefix}AAAA")),
        ] {
            for method in ["tasks/get", "tasks/result", "tasks/cancel"] {
                let response = thief.request(method, &json!({"taskId": stolen})).expect("an answer");
                let error = &response.answer()["error"];
                assert_eq!((response.status, &error["code"]), (200, &json!(-32_602)), "{method} {stolen}");
                assert_eq!(error["data"]["reason"], "there is no such task", "{error}");
            }
            let listed = thief.result("tasks/list", &json!({})).expect("its own tasks");
            assert_eq!(listed["tasks"], json!([]), "{listed}");
        }
        refused(&airlock, "tasks/get", "mallory");
    }
    let intent = |method: &str| {
        airlock.audited(|record| record["event"] == "call.intent" && record["method"] == method)
    };
    assert_eq!(intent("tools/call")["reason"], "as a task");
    for method in ["tasks/get", "tasks/result", "tasks/cancel"] {
        let record = intent(method);
        assert_eq!(record["upstream"], "one");
        assert!(record["target"].is_string(), "{record}");
        airlock.audited(|record| record["event"] == "call.outcome" && record["method"] == method);
    }
}

#[test]
fn tasks_of_one_era_are_nothing_to_the_other() {
    let Some(upstreams) = upstreams() else { return };
    let airlock = Setup { upstreams, ..Setup::default() }.start();
    let token = airlock.user();
    // The servers have been asked by the time it is ready.
    let offered = until(|| {
        let answer =
            airlock.send(&modern("/mcp/one", 1, "server/discover", &Value::Null).bearer(&token)).answer();
        std::thread::sleep(Duration::from_millis(10));
        answer["result"]["capabilities"].get("prompts").is_some().then_some(answer)
    });
    let offered = offered.expect("the server was asked");
    assert!(offered["result"]["capabilities"].get("tasks").is_none(), "{offered}");
    assert!(offered["result"]["capabilities"].get("extensions").is_none(), "{offered}");
    for (method, params) in [
        ("tasks/get", json!({"taskId": "x"})),
        ("tasks/list", json!({})),
        ("tasks/update", json!({"taskId": "x", "inputResponses": {}})),
    ] {
        let request = modern("/mcp/one", 1, method, &params).header("mcp-name", "x").bearer(&token);
        let response = airlock.send(&request);
        let code = &response.answer()["error"]["code"];
        assert_eq!((response.status, code), (404, &json!(-32_601)), "{method}: {}", response.text());
    }
    let mut augmented = modern_call("/mcp/one", 1, "simulate-research-query", &json!({"topic": "x"}));
    let body = String::from_utf8(augmented.body).expect("JSON").replacen(
        "\"params\":{",
        "\"params\":{\"task\":{},",
        1,
    );
    augmented.body = body.into_bytes();
    let response = airlock.send(&augmented.bearer(&token));
    // The word of the older era is left out, so the server is asked for a plain answer.
    assert_eq!(response.status, 200, "{}", response.text());
    assert!(response.text().contains("requires task augmentation"), "{}", response.text());
    let mut session = Session::open(airlock.address(), "/mcp/one", &token).expect("a session");
    let response = session.request("tasks/update", &json!({"taskId": "x"})).expect("an answer");
    assert_eq!((response.status, &response.answer()["error"]["code"]), (200, &json!(-32_601)));
}
