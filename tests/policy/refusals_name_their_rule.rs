//! The policy says who may do what, and everybody is told which rule refused.

use airlock_tests::mcp::{Session, modern, modern_call, tool_names};
use airlock_tests::{Airlock, Setup};
use serde_json::{Value, json};

fn call(airlock: &Airlock, token: &str, path: &str, tool: &str) -> (u16, Value) {
    let arguments = json!({"address": "127.0.0.1:9", "query": "revert"});
    let response = airlock.send(&modern_call(path, 5, tool, &arguments).bearer(token));
    (response.status, response.answer())
}

#[test]
fn a_refusal_names_rule_reason_and_correlation() {
    let airlock = Setup::default().start();
    let token = airlock.user();
    for (path, tool) in [("/mcp/docs", "phone_home"), ("/mcp", "docs__phone_home")] {
        let (status, answer) = call(&airlock, &token, path, tool);
        assert_eq!(status, 403, "{answer}");
        assert_eq!(answer["id"], json!(5));
        let error = &answer["error"];
        let code = error["code"].as_i64().expect("a code");
        assert!(!(-32_768..=-32_000).contains(&code), "{code} belongs to the specification");
        assert_eq!(error["data"]["rule_id"], json!("no_phone_home"), "{answer}");
        assert_eq!(error["data"]["reason"], json!("only operators may call phone_home"), "{answer}");
        assert!(error["data"]["correlation_id"].as_str().is_some_and(|id| id.len() >= 16), "{answer}");
    }
}

#[test]
fn who_is_named_nowhere_may_nothing() {
    let airlock = Setup::default().start();
    let token = airlock.token("mallory", "acme", &["somewhere.else"]);
    let (status, answer) = call(&airlock, &token, "/mcp/docs", "search_docs");
    assert_eq!(status, 403, "{answer}");
    assert_eq!(answer["error"]["data"]["rule_id"], json!("default"), "{answer}");
}

#[test]
fn a_list_shows_what_may_be_called_and_nothing_else() {
    let airlock = Setup::default().start();
    let user = airlock.user();
    let operator = airlock.token("oscar", "acme", &["mcp.users", "mcp.operators"]);
    for (path, prefix) in [("/mcp/docs", ""), ("/mcp", "docs__")] {
        for (token, may) in [(&user, false), (&operator, true)] {
            let request = modern(path, 1, "tools/list", &Value::Null).bearer(token);
            let mut session = Session::open(airlock.address(), path, token).expect("a session");
            let legacy = session.result("tools/list", &Value::Null).expect("tools/list");
            for listed in [airlock.send(&request).answer()["result"].clone(), legacy] {
                let names = tool_names(&listed);
                assert!(names.contains(&format!("{prefix}search_docs")), "{names:?}");
                assert_eq!(names.contains(&format!("{prefix}phone_home")), may, "{names:?}");
            }
        }
    }
    let (status, answer) = call(&airlock, &operator, "/mcp/docs", "phone_home");
    assert_eq!(status, 200, "{answer}");
    assert!(
        answer["result"]["content"][0]["text"].as_str().is_some_and(|text| text.contains("tcp 127.0.0.1:9"))
    );
}

#[test]
fn the_upstream_s_own_list_of_tools_narrows_the_policy() {
    let upstreams = Setup::default().upstreams + "    allow_tools: [search_docs]\n";
    let airlock = Setup { upstreams, ..Setup::default() }.start();
    let token = airlock.user();
    let listed = airlock.send(&modern("/mcp/docs", 1, "tools/list", &Value::Null).bearer(&token)).answer();
    assert_eq!(tool_names(&listed["result"]), ["search_docs"]);
    assert_eq!(call(&airlock, &token, "/mcp/docs", "search_docs").0, 200);
    assert_eq!(call(&airlock, &token, "/mcp/docs", "read_file").0, 403);
}

#[test]
fn the_arguments_that_the_policy_saw_are_those_that_are_called() {
    let policy = r#"package airlock.authz
import rego.v1
default allow := false
allow if input.call.method != "tools/call"
allow if input.call.arguments == null
allow if input.call.arguments.path == "onboarding.md"
"#;
    let airlock = Setup { policy: policy.to_owned(), ..Setup::default() }.start();
    let token = airlock.user();
    let read = |arguments: &str| {
        let body =
            String::from_utf8(modern_call("/mcp/docs", 1, "read_file", &json!({})).body).expect("text");
        let body = body.replace("\"arguments\":{}", &format!("\"arguments\":{arguments}"));
        let mut request = modern_call("/mcp/docs", 1, "read_file", &json!({})).bearer(&token);
        request.body = body.into_bytes();
        airlock.send(&request)
    };
    assert_eq!(read(r#"{"path":"onboarding.md"}"#).status, 200);
    assert_eq!(read(r#"{"path":"deployment.md"}"#).status, 403);
    // Two readers of the same text must never see two different arguments.
    for twice in [
        r#"{"path":"deployment.md","path":"onboarding.md"}"#,
        r#"{"path":"onboarding.md","path":"deployment.md"}"#,
        r#"{"path":"onboarding.md","p\u0061th":"deployment.md"}"#,
    ] {
        let response = read(twice);
        assert_eq!(response.status, 400, "{twice}: {}", response.text());
    }
}

#[test]
fn what_stands_beside_the_arguments_does_not_change_what_the_policy_sees() {
    let policy = r#"package airlock.authz

import rego.v1

default allow := false

allow if input.call.arguments.context == "plain"
"#;
    let airlock = Setup { policy: policy.to_owned(), ..Setup::default() }.start();
    let token = airlock.user();
    let call = |context: &str, beside: Value| {
        let good = modern_call("/mcp/docs", 1, "search_docs", &json!({"query": "x", "context": context}));
        let mut body: Value = serde_json::from_slice(&good.body).expect("JSON");
        if !beside.is_null() {
            body["params"]["context"] = beside;
        }
        let request = airlock_tests::http::Request { body: body.to_string().into_bytes(), ..good };
        airlock.send(&request.bearer(&token)).status
    };
    assert_eq!(call("plain", Value::Null), 200);
    assert_eq!(call("secret", Value::Null), 403);
    assert_eq!(call("secret", json!("plain")), 403);
    assert_eq!(call("secret", json!({"a": "plain"})), 403);
}
