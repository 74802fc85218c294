//! Every refusal has the same shape, says why and by which rule, can be found in the audit log, and gives
//! nothing away.
//!
//! Two kinds of answer are not of this shape. hyper answers what is no HTTP, and a head that it will not hold
//! (far more than 64 KiB, or 100 fields), by itself: 400 or 431, no body, no record, and the connection is
//! closed; a smaller head that is too large gets a whole answer. And 500 is given only where a request's own
//! task broke off, which nobody outside can bring about: it would take a panic. An expired token takes as
//! long as the tolerance of the issuer's clock; it is tested with the checks of tokens, and is refused on the
//! same way as the bad one here.

use airlock_tests::airlock::{docs_upstream, free_address, stdio_upstream, until};
use airlock_tests::http::{Request, Response};
use airlock_tests::little::{Little, silent};
use airlock_tests::mcp::{Session, modern, modern_call};
use airlock_tests::{Airlock, Setup, tools};
use serde_json::{Value, json};

/// A token of an issuer that is trusted and cannot be reached: `iss` is `http://127.0.0.1:9`.
const OF_A_DEAD_ISSUER: &str = "eyJhbGciOiJSUzI1NiIsImtpZCI6ImsiLCJ0eXAiOiJhdCtqd3QifQ.eyJpc3MiOiJodHRwOi8vMTI3LjAuMC4xOjkiLCJzdWIiOiJtYWxsb3J5In0.AQEBAQEBAQEBAQEBAQEBAQ";

/// A request, and what it must be refused with.
struct Case {
    name: &'static str,
    request: Request,
    status: u16,
    /// The id of the request; null where none could be read.
    id: Value,
    rule: Option<&'static str>,
}

fn case(name: &'static str, request: Request, status: u16, id: impl Into<Value>) -> Case {
    Case { name, request, status, id: id.into(), rule: None }
}

impl Case {
    fn rule(self, rule: &'static str) -> Self {
        Self { rule: Some(rule), ..self }
    }
}

/// The request with a header field in place of what it had.
fn with(mut request: Request, name: &str, value: &str) -> Request {
    request.headers.retain(|(given, _)| given != name);
    request.header(name, value)
}

fn body(request: &Request, body: impl Into<Vec<u8>>) -> Request {
    Request { body: body.into(), ..request.clone() }
}

/// Checks one answer against the contract, and that it is on record. `inside` is what no answer may contain.
fn check(airlock: &Airlock, case: &Case, inside: &[String]) {
    let Case { name, request, status, id, rule } = case;
    let response = airlock.send(request);
    let text = response.text();
    assert_eq!(response.status, *status, "{name}: {text}");
    let header = |name: &str| response.header(name);
    assert_eq!(header("content-type"), Some("application/json"), "{name}");
    assert_eq!(header("cache-control"), Some("no-store"), "{name}");
    let message: Value = serde_json::from_slice(&response.body).unwrap_or_else(|_| panic!("{name}: {text}"));
    assert_eq!((&message["jsonrpc"], &message["id"]), (&json!("2.0"), id), "{name}: {text}");
    assert!(message.get("result").is_none(), "{name}: {text}");
    let error = &message["error"];
    let code = error["code"].as_i64().unwrap_or_default();
    assert!(code == i64::from(*status) || (-32_768..=-32_000).contains(&code), "{name}: {text}");
    let data = &error["data"];
    assert!(data["reason"].as_str().is_some_and(|reason| reason.len() > 10), "{name}: {text}");
    // Most clients show the message and nothing else.
    let (title, said) =
        error["message"].as_str().and_then(|message| message.split_once(": ")).unwrap_or_default();
    let reason = data["reason"].as_str().unwrap_or_default().trim_end_matches('.');
    assert!(!title.is_empty() && said.starts_with(reason), "{name}: {text}");
    let correlation_id = data["correlation_id"].as_str().unwrap_or_default();
    assert_eq!(correlation_id.len(), 24, "{name}: {text}");
    assert_eq!(header("x-correlation-id"), Some(correlation_id), "{name}");
    if let Some(rule) = rule {
        assert_eq!(data["rule_id"], *rule, "{name}: {text}");
    }
    assert_eq!(header("www-authenticate").is_some(), *status == 401, "{name}: {:?}", response.headers);
    assert_eq!(header("allow").is_some(), *status == 405, "{name}: {:?}", response.headers);
    wait(name, &response, data);
    for secret in inside {
        assert!(!text.contains(secret.as_str()), "{name}: `{secret}` is nobody's business: {text}");
    }
    // Refusals of nobody are counted: the first of a kind has its id, and one record a second tells of those
    // that follow.
    let record = airlock.audited(|r| {
        let counted = r["subject"].is_null() && r["count"].is_u64();
        r["status"] == *status && (r["correlation_id"] == correlation_id || counted)
    });
    assert!(record["reason"].as_str().is_some_and(|reason| !reason.is_empty()), "{name}: {record}");
    // An outcome has none: its call was let through.
    assert_eq!(record["stage"].is_string(), record["event"] == "refusal", "{name}: {record}");
    if let Some(rule) = rule {
        assert_eq!(record["rule_id"], *rule, "{name}: {record}");
    }
}

/// A client that may come again is told when.
fn wait(name: &str, response: &Response, data: &Value) {
    let seconds = response.header("retry-after").and_then(|value| value.parse::<u64>().ok());
    let millis = data["retry_after_ms"].as_u64();
    if matches!(response.status, 429 | 503) {
        let seconds = seconds.unwrap_or_else(|| panic!("{name}: no Retry-After"));
        assert!(
            seconds >= 1 && Some(seconds) == millis.map(|millis| millis.div_ceil(1_000)),
            "{name}: {millis:?}"
        );
    } else {
        assert_eq!((seconds, millis), (None, None), "{name}");
    }
}

/// A door in front of servers that fail in their own ways, and what no answer may tell of it.
fn house() -> (Airlock, Vec<String>) {
    let server = Little::start(silent);
    let closed = free_address().expect("a port");
    let bad = tools::built("bad-server").display().to_string();
    let upstreams = docs_upstream()
        + &server.entry("slow").with("era", "modern").with("timeout", "300ms").to_string()
        + &format!("  - {{name: dead, type: http, url: \"http://{closed}/mcp\"}}\n")
        + &stdio_upstream("broken", &[&bad, "--exit"]);
    let auth = format!(
        "auth:\n  development_issuer:\n    listen: \"{}\"\n  \
         issuers: [{{issuer: \"http://127.0.0.1:9\", audience: [airlock]}}]\n",
        free_address().expect("a port")
    );
    let airlock = Setup { upstreams, auth: Some(auth), ..Setup::default() }
        .with("rate_limiting", json!({"per_tool": {"docs/read_file": "1/h"}, "failed_auth": "3/min"}))
        .start();
    let inside = [
        airlock.dir().display().to_string(),
        format!(":{}", closed.port()),
        bad,
        "exit status".to_owned(),
        "hyper".to_owned(),
        "tokio".to_owned(),
        "rmcp".to_owned(),
        "os error".to_owned(),
        "127.0.0.1".to_owned(),
        ".rs".to_owned(),
    ]
    .into();
    (airlock, inside)
}

#[test]
fn every_refusal_keeps_the_contract() {
    let (airlock, mut inside) = house();
    let token = airlock.user();
    inside.push(token.clone());
    let list = || modern("/mcp/docs", 7, "tools/list", &Value::Null).bearer(&token);
    let call = |path: &str, tool: &str| {
        modern_call(path, 8, tool, &json!({"path": "guides/start.md"})).bearer(&token)
    };
    let anonymous = || modern("/mcp/docs", 7, "tools/list", &Value::Null);
    let method = |method: &str, path: &str| Request { method: method.to_owned(), ..Request::get(path) };
    let deep = format!(
        r#"{{"jsonrpc":"2.0","id":9,"method":"tools/list","params":{{"x":{}{}}}}}"#,
        "[".repeat(200),
        "]".repeat(200)
    );
    let session = Session::open_as(airlock.address(), "/mcp/docs", &token, "2025-03-26", &json!({}));
    let session = session.expect("a session");
    let ping = json!({"jsonrpc": "2.0", "method": "notifications/x"});
    let padding = "p".repeat(50 * 1024);
    assert_eq!(airlock.send(&call("/mcp/docs", "read_file")).status, 200, "the one that is allowed");

    let cases = [
        case("no JSON", body(&list(), "{"), 400, Value::Null),
        case("no message", body(&list(), r#"{"jsonrpc":"1.0","id":9,"method":"x"}"#), 400, 9),
        case("too deep", body(&list(), deep), 400, Value::Null),
        case("headers disagree", with(list(), "mcp-method", "tools/call"), 400, 7),
        case("too long a batch", session.prepare(&Value::from(vec![ping; 65])), 400, Value::Null),
        case("no host", with(list(), "host", "a b"), 400, Value::Null),
        case("no token", anonymous(), 401, Value::Null),
        case("a bad token", anonymous().bearer("rubbish"), 401, Value::Null),
        case(
            "a token in the wrong place",
            Request { path: "/mcp?access_token=x".to_owned(), ..anonymous() },
            401,
            Value::Null,
        ),
        case("a foreign origin", list().header("origin", "https://evil.example"), 403, Value::Null),
        case(
            "the policy says no",
            modern_call("/mcp/docs", 8, "phone_home", &json!({})).bearer(&token),
            403,
            8,
        )
        .rule("no_phone_home"),
        case("no such upstream", Request { path: "/mcp/nowhere".to_owned(), ..list() }, 404, Value::Null),
        case(
            "no such upstream for a stranger",
            Request { path: "/mcp/nowhere".to_owned(), ..anonymous() },
            404,
            Value::Null,
        ),
        case("no such path", Request::get("/nowhere"), 404, Value::Null),
        case(
            "no such method",
            with(
                body(&list(), String::from_utf8_lossy(&list().body).replace("tools/list", "tools/nothing")),
                "mcp-method",
                "tools/nothing",
            ),
            404,
            7,
        ),
        case("a method of HTTP", method("PUT", "/mcp").bearer(&token), 405, Value::Null),
        case("only for reading", method("POST", "/live"), 405, Value::Null),
        case(
            "metadata is for reading",
            method("POST", "/.well-known/oauth-protected-resource"),
            405,
            Value::Null,
        ),
        case("no events wanted", with(list(), "accept", "application/json"), 406, Value::Null),
        case("too large", body(&list(), vec![b' '; 300 * 1024]), 413, Value::Null),
        case("no JSON announced", with(list(), "content-type", "text/plain"), 415, Value::Null),
        case("called too often", call("/mcp/docs", "read_file"), 429, 8).rule("rate_limiting.per_tool"),
        case("too long a head", list().header("x-padding", &padding), 431, Value::Null),
        case("a server that is away", call("/mcp/dead", "x"), 502, 8),
        case("a server that ends at once", call("/mcp/broken", "x"), 502, 8),
        case("keys that cannot be had", anonymous().bearer(OF_A_DEAD_ISSUER), 503, Value::Null),
        case("a server that is silent", call("/mcp/slow", "wait"), 504, 8),
    ];
    for case in &cases {
        check(&airlock, case, &inside);
    }
    // After enough failures a server is left alone for a while.
    let left_alone = until(|| (airlock.send(&call("/mcp/broken", "x")).status == 503).then_some(()));
    assert!(left_alone.is_some(), "it is tried for ever");
    check(&airlock, &case("a server left alone", call("/mcp/broken", "x"), 503, 8), &inside);
    // One bad token has been shown; two more, and no other is looked at.
    for _ in 0..2 {
        check(&airlock, &case("a bad token", anonymous().bearer("rubbish"), 401, Value::Null), &inside);
    }
    // One that is known to be good passes all the same.
    assert_eq!(airlock.send(&list()).status, 200);
    let fresh = airlock.token("carol", "acme", &["mcp.users"]);
    let throttled = case("a token that is not looked at", anonymous().bearer(&fresh), 429, Value::Null);
    check(&airlock, &throttled.rule("rate_limiting.failed_auth"), &inside);
}

#[test]
fn what_hyper_refuses_by_itself_says_nothing_at_all() {
    let airlock = Setup::default().start();
    let huge = Request::get("/mcp").header("x-padding", &"p".repeat(300 * 1024));
    let many = (0..120).fold(Request::get("/mcp"), |request, n| request.header(&format!("x-{n}"), "v"));
    for request in [huge, many] {
        let refused = airlock.send(&request);
        assert_eq!((refused.status, refused.text().as_str()), (431, ""), "{:?}", refused.headers);
    }
    let no_http = Request { method: "G@T".to_owned(), path: "no target".to_owned(), ..Request::default() };
    let refused = airlock.send(&no_http);
    assert_eq!((refused.status, refused.text().as_str()), (400, ""), "{:?}", refused.headers);
}
