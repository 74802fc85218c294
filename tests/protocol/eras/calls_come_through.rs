//! A call comes through, from clients of both eras to servers of both eras, alone and merged, on both kinds
//! of sockets.

use airlock_tests::mcp::{LEGACY, MODERN, Session, modern, modern_call, text, tool_names};
use airlock_tests::{Airlock, Setup, Upstream, echo, start_on, tools};
use serde_json::{Value, json};

/// The example server twice, once held to each era, and the echo server.
fn three_upstreams() -> Setup {
    let echo = tools::built("echo-server").display().to_string();
    let old = Upstream::docs().with("name", "old-docs").with("era", "legacy");
    let new = Upstream::docs().with("era", "modern");
    let echo = Upstream::stdio("echo", &[&echo, "--stdio"]);
    Setup { upstreams: format!("{new}{old}{echo}"), ..Setup::default() }
}

fn modern_result(airlock: &Airlock, token: &str, path: &str, method: &str, params: &Value) -> Value {
    let response = airlock.send(&modern(path, 11, method, params).bearer(token));
    assert_eq!(response.status, 200, "{method} at {path}: {}\n{}", response.text(), airlock.log());
    let answer = response.answer();
    assert_eq!(answer["id"], json!(11));
    assert_eq!(answer["result"]["resultType"], json!("complete"), "{answer}");
    answer["result"].clone()
}

fn a_modern_client(io: &str) {
    let Some(airlock) = start_on(io, &three_upstreams()) else { return };
    let token = airlock.user();
    for (path, prefix) in
        [("/mcp/docs", ""), ("/mcp/old-docs", ""), ("/mcp", "docs__"), ("/mcp", "old-docs__")]
    {
        let discovered = modern_result(&airlock, &token, path, "server/discover", &Value::Null);
        let versions = discovered["supportedVersions"].as_array().expect("supportedVersions");
        assert!(versions.contains(&json!(MODERN)), "{discovered}");
        assert!(discovered["capabilities"]["tools"].is_object(), "{discovered}");

        let listed = modern_result(&airlock, &token, path, "tools/list", &Value::Null);
        assert_eq!(listed["cacheScope"], json!("private"), "a filtered list belongs to its reader: {listed}");
        assert!(listed["ttlMs"].is_u64(), "{listed}");
        let search = format!("{prefix}search_docs");
        assert!(tool_names(&listed).contains(&search), "{listed}");

        let found = modern_result(
            &airlock,
            &token,
            path,
            "tools/call",
            &json!({"name": search, "arguments": {"query": "roll back"}}),
        );
        assert!(text(&found).contains("deployment.md"), "{found}");
    }
    for removed in ["initialize", "ping", "no/such/method"] {
        let response = airlock.send(&modern("/mcp/docs", 3, removed, &Value::Null).bearer(&token));
        assert_eq!(response.status, 404, "{removed}: {}", response.text());
        assert_eq!(response.answer()["error"]["code"], json!(-32_601));
        assert_eq!(response.answer()["id"], json!(3));
    }
}

fn a_legacy_client(io: &str) {
    let Some(airlock) = start_on(io, &three_upstreams()) else { return };
    let token = airlock.user();
    for (path, prefix) in
        [("/mcp/docs", ""), ("/mcp/old-docs", ""), ("/mcp", "docs__"), ("/mcp", "old-docs__")]
    {
        let opened = Session::open(airlock.address(), path, &token);
        let mut session = opened.unwrap_or_else(|error| panic!("{path}: {error}\n{}", airlock.log()));
        assert_eq!(session.revision, LEGACY);
        assert!(session.initialized["capabilities"]["tools"].is_object(), "{}", session.initialized);
        assert_eq!(session.result("ping", &Value::Null).expect("ping"), json!({}));
        let listed = session.result("tools/list", &Value::Null).expect("tools/list");
        let search = format!("{prefix}search_docs");
        assert!(tool_names(&listed).contains(&search), "{listed}");
        let found = session.call(&search, &json!({"query": "roll back"})).expect("tools/call");
        assert!(text(&found).contains("deployment.md"), "{found}");
        assert!(found.get("resultType").is_none(), "a word of the other era: {found}");
    }
}

#[test]
fn of_a_modern_client_on_epoll() {
    a_modern_client("epoll");
}

#[test]
fn of_a_modern_client_on_io_uring() {
    a_modern_client("io_uring");
}

#[test]
fn of_a_legacy_client_on_epoll() {
    a_legacy_client("epoll");
}

#[test]
fn of_a_legacy_client_on_io_uring() {
    a_legacy_client("io_uring");
}

#[test]
fn answers_of_every_size_arrive_whole() {
    for io in ["epoll", "io_uring"] {
        let Some(airlock) = start_on(io, &three_upstreams()) else { continue };
        echo::of_every_size(&airlock);
    }
}

#[test]
fn many_calls_at_once_each_get_their_own_answer() {
    for io in ["epoll", "io_uring"] {
        let Some(airlock) = start_on(io, &three_upstreams()) else { continue };
        echo::many_at_once(&airlock);
    }
}

#[test]
fn with_an_id_of_any_kind_is_answered_with_that_id() {
    let airlock = three_upstreams().start();
    let token = airlock.user();
    for id in
        [json!(0), json!(-5), json!(9_007_199_254_740_991_i64), json!("a \"quoted\" id \u{1F512}"), json!("")]
    {
        let mut call = modern_call("/mcp/echo", 1, "echo", &json!({"bytes": 5}));
        let mut body: Value = serde_json::from_slice(&call.body).expect("our own JSON");
        body["id"] = id.clone();
        call.body = body.to_string().into_bytes();
        let answer = airlock.send(&call.bearer(&token)).answer();
        assert_eq!(answer["id"], id, "{answer}");
        assert_eq!(text(&answer["result"]).len(), 5);
    }
}

#[test]
fn to_a_tool_that_does_not_exist_is_an_error_and_no_more() {
    let airlock = three_upstreams().start();
    let token = airlock.user();
    for (path, tool) in
        [("/mcp/docs", "no_such_tool"), ("/mcp", "docs__no_such_tool"), ("/mcp", "search_docs")]
    {
        let response = airlock.send(&modern_call(path, 1, tool, &json!({})).bearer(&token));
        let answer = response.answer();
        let refused = answer.get("error").is_some() || answer["result"]["isError"] == json!(true);
        assert!(refused, "{tool} at {path}: HTTP {} {}", response.status, response.text());
    }
}
