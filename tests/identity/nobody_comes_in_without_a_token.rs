//! Nobody comes in without a valid token, and who is turned away learns how to get one.

use std::net::SocketAddr;

use airlock_tests::airlock::{docs_upstream, stdio_upstream, until};
use airlock_tests::http::{Request, Response};
use airlock_tests::mcp::{MODERN, modern, modern_call};
use airlock_tests::{Airlock, Setup};
use serde_json::{Value, json};

fn list(airlock: &Airlock, path: &str, token: Option<&str>) -> Response {
    let request = modern(path, 1, "tools/list", &Value::Null);
    airlock.send(&match token {
        Some(token) => request.bearer(token),
        None => request,
    })
}

/// The URL in `resource_metadata="…"`, as a path on this server.
fn metadata_path(response: &Response, address: SocketAddr) -> String {
    let challenge = response.header("www-authenticate").expect("a challenge");
    assert!(challenge.starts_with("Bearer "), "{challenge}");
    let (_, rest) = challenge.split_once("resource_metadata=\"").expect("resource_metadata");
    let (url, _) = rest.split_once('"').expect("a closed quote");
    let path = url.strip_prefix(&format!("http://{address}"));
    path.unwrap_or_else(|| panic!("{url} is not on {address}")).to_owned()
}

#[test]
fn without_a_token_the_answer_names_the_metadata_and_the_metadata_names_the_issuer() {
    let airlock = Setup::default().start();
    for endpoint in ["/mcp", "/mcp/docs"] {
        let refused = list(&airlock, endpoint, None);
        assert_eq!(refused.status, 401, "{}", refused.text());
        let metadata = airlock.send(&Request::get(&metadata_path(&refused, airlock.address())));
        assert_eq!(metadata.status, 200, "{}", metadata.text());
        assert!(metadata.header("content-type").is_some_and(|kind| kind.starts_with("application/json")));
        let metadata: Value = serde_json::from_slice(&metadata.body).expect("JSON");
        assert_eq!(metadata["resource"], json!(format!("http://{}{endpoint}", airlock.address())));
        let issuers = metadata["authorization_servers"].as_array().expect("authorization_servers");
        assert!(issuers.first().and_then(Value::as_str).is_some_and(|issuer| issuer.starts_with("http")));
    }
}

#[test]
fn a_token_that_is_not_right_is_no_token() {
    let airlock = Setup::default().start();
    let good = airlock.user();
    assert_eq!(list(&airlock, "/mcp/docs", Some(&good)).status, 200);

    let parts: Vec<&str> = good.split('.').collect();
    // The first character of the signature: the last one has bits that do not count.
    let swapped = if parts[2].starts_with('A') { "B" } else { "A" };
    let forged = format!("{}.{}.{swapped}{}", parts[0], parts[1], &parts[2][1..]);
    let unsigned = format!("eyJhbGciOiJub25lIn0.{}.", parts[1]);
    for token in ["rubbish", "a.b.c", &forged, &unsigned, &good[..good.len() / 2]] {
        let refused = list(&airlock, "/mcp/docs", Some(token));
        assert_eq!(refused.status, 401, "{token}: {}", refused.text());
        let challenge = refused.header("www-authenticate").expect("a challenge");
        assert!(challenge.contains("error=\"invalid_token\""), "{challenge}");
        assert!(!refused.text().contains(token), "the answer repeats the token");
    }
    let in_query = list(&airlock, &format!("/mcp/docs?access_token={good}"), None);
    assert_eq!(in_query.status, 401, "a token in the query string is no token");
}

#[test]
fn health_needs_no_token_and_says_nothing_that_needs_one() {
    let airlock = Setup::default().start();
    // Keys are fetched and servers are probed behind the first requests.
    let docs = Request::get("/ready?upstream=docs");
    let ready = until(|| (airlock.send(&docs).status == 200).then_some(()));
    assert!(ready.is_some(), "{}", airlock.send(&docs).text());
    for path in ["/live", "/info"] {
        let response = airlock.send(&Request::get(path));
        assert_eq!(response.status, 200, "{path}: {}", response.text());
    }
    let info = airlock.send(&Request::get("/info"));
    let info: Value = serde_json::from_slice(&info.body).expect("JSON");
    assert_eq!(
        info.as_object().map(|info| info.keys().map(String::as_str).collect::<Vec<_>>()),
        Some(vec!["name", "revisions"])
    );
    // The upstreams, the policy and how servers are kept are for those who may come in.
    let text = |path: &str, token: &str| airlock.send(&Request::get(path).bearer(token)).text();
    let known = airlock.user();
    let ready = airlock.send(&Request::get("/ready")).text();
    assert!(ready.contains("\"upstreams\":\"ok\"") && !ready.contains("docs"), "{ready}");
    assert!(text("/ready", &known).contains("upstream docs"), "{}", text("/ready", &known));
    for told in ["policy", "policy_mode", "version", "kernel"] {
        assert!(text("/info", &known).contains(&format!("\"{told}\"")), "{told}: {}", text("/info", &known));
    }
    for path in ["/info", "/ready"] {
        assert_eq!(airlock.send(&Request::get(path).bearer("rubbish")).status, 401, "{path}");
    }
    assert!(!info.to_string().contains(&airlock.dir().display().to_string()), "a path leaks: {info}");
    assert_eq!(
        airlock.send(&Request::get("/metrics")).status,
        404,
        "metrics are not for the public listener"
    );
    assert_eq!(airlock.send(&Request::get("/")).status, 404);
}

#[test]
fn an_unknown_upstream_is_not_found_and_a_foreign_origin_is_forbidden() {
    let airlock = Setup::default().start();
    let token = airlock.user();
    assert_eq!(list(&airlock, "/mcp/nowhere", Some(&token)).status, 404);
    let browser = modern("/mcp/docs", 1, "tools/list", &Value::Null)
        .bearer(&token)
        .header("origin", "https://evil.example");
    assert_eq!(airlock.send(&browser).status, 403);
}

#[test]
fn the_headers_must_agree_with_the_body() {
    let airlock = Setup::default().start();
    let token = airlock.user();
    let body =
        String::from_utf8(modern_call("/mcp/docs", 7, "search_docs", &json!({"query": "rollback"})).body)
            .expect("JSON is text");
    let with = |headers: &[(&str, &str)]| {
        let request = Request::post("/mcp/docs", body.clone()).bearer(&token);
        headers.iter().fold(request, |request, (name, value)| request.header(name, value))
    };
    let version = ("mcp-protocol-version", MODERN);
    let method = ("mcp-method", "tools/call");
    let name = ("mcp-name", "search_docs");
    assert_eq!(airlock.send(&with(&[version, method, name])).status, 200);
    for wrong in [
        vec![version, ("mcp-method", "tools/list"), name],
        vec![version, method, ("mcp-name", "read_file")],
        vec![version, method],
        vec![version, name],
        vec![version, method, name, name],
    ] {
        let refused = airlock.send(&with(&wrong));
        assert_eq!(refused.status, 400, "{wrong:?}: {}", refused.text());
        assert_eq!(refused.answer()["error"]["code"], json!(-32_020), "{wrong:?}: {}", refused.text());
    }
    let unknown = airlock.send(&with(&[("mcp-protocol-version", "2031-01-01"), method, name]));
    assert_eq!(unknown.status, 400, "{}", unknown.text());
}

#[test]
fn a_body_that_is_not_exactly_one_message_is_refused() {
    let airlock = Setup::default().start();
    let token = airlock.user();
    let good = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}}"#;
    let deep = format!(
        "{{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/list\",\"params\":{}{}}}",
        "[".repeat(5_000),
        "]".repeat(5_000)
    );
    for bad in [
        String::new(),
        "not json".to_owned(),
        format!("{good}{good}"),
        format!("[{good}]"),
        good.replace("\"method\":", "\"method\":\"ping\",\"method\":"),
        good.replace("\"method\"", "\"Method\""),
        good.replace("\"id\":1", "\"id\":null"),
        good.replace("\"jsonrpc\":\"2.0\"", "\"jsonrpc\":\"1.0\""),
        good.replace("\"tools/list\"", "7"),
        deep,
    ] {
        let request = Request::post("/mcp/docs", bad.clone())
            .bearer(&token)
            .header("mcp-protocol-version", MODERN)
            .header("mcp-method", "tools/list");
        let refused = airlock.send(&request);
        assert_eq!(refused.status, 400, "{}: {}", &bad[..bad.len().min(200)], refused.text());
        assert!(refused.answer()["error"]["code"].is_i64(), "{}", refused.text());
    }
    let large = format!(
        "{{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/list\",\"x\":\"{}\"}}",
        "x".repeat(300 * 1024)
    );
    let refused = airlock.send(&Request::post("/mcp/docs", large).bearer(&token));
    assert_eq!(refused.status, 413, "{}", refused.text());
    assert_eq!(list(&airlock, "/mcp/docs", Some(&token)).status, 200, "and it still serves");
}

#[test]
fn an_upstream_that_is_down_costs_itself_alone() {
    let upstreams = docs_upstream() + &stdio_upstream("broken", &["/bin/false"]);
    let airlock = Setup { upstreams, ..Setup::default() }.start();
    assert!(airlock.logs("upstream `broken`"), "{}", airlock.log());
    // A load balancer keeps the host.
    let told = airlock.send(&Request::get("/ready"));
    assert_eq!(told.status, 200, "{}", told.text());
    assert!(told.text().contains(r#""upstreams":"not ready""#), "{}", told.text());
    assert!(!told.text().contains("broken"), "{}", told.text());
    let known = airlock.send(&Request::get("/ready").bearer(&airlock.user())).text();
    assert!(known.contains(r#""upstream broken":"not ready""#), "{known}");
    assert!(known.contains(r#""upstream docs":"ok""#), "{known}");
    // Whoever needs one asks for it.
    let one = |query: &str| airlock.send(&Request::get(&format!("/ready{query}")));
    assert_eq!(one("?upstream=docs").status, 200, "{}", one("?upstream=docs").text());
    assert_eq!(one("?upstream=broken").status, 503, "{}", one("?upstream=broken").text());
    assert_eq!(one("?upstream=nowhere").status, 404, "{}", one("?upstream=nowhere").text());
    assert_eq!(list(&airlock, "/mcp/docs", Some(&airlock.user())).status, 200);
}
