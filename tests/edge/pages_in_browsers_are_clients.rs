//! A page in a browser is a client like any other, where its origin is allowed; anybody else's page learns
//! nothing.
//!
//! The client in the page is the TypeScript SDK. The Inspector's page would show less: it speaks to servers
//! through its own backend on Node, so that its browser never asks for leave.

use std::path::Path;
use std::process::{Command, Stdio};

use airlock_tests::airlock::free_address;
use airlock_tests::http::{Request, Response};
use airlock_tests::mcp::modern;
use airlock_tests::{Airlock, Setup, skip, tools};
use serde_json::{Value, json};

fn start(page: &str) -> Airlock {
    Setup { server: format!("  allowed_origins: [\"{page}\"]\n"), ..Setup::default() }.start()
}

/// Pages in a real browser: that of the allowed origin is a client, and that of a foreign one reads no answer
/// but the metadata.
#[test]
fn a_page_in_chromium_is_a_client() {
    let (node, client) =
        match (tools::node(), tools::node_script("@modelcontextprotocol/client/dist/index.mjs")) {
            (Ok(node), Ok(client)) => (node, client),
            (Err(reason), _) | (_, Err(reason)) => return skip(&reason),
        };
    let Some(browser) = tools::browser() else {
        return skip("no headless Chromium here: `cargo xtask test` installs it on Debian");
    };
    let modules = client.ancestors().nth(4).expect("node_modules");
    let origin = || format!("http://{}", free_address().expect("a port"));
    let (allowed, foreign) = (origin(), origin());
    let airlock = start(&allowed);
    let scratch = tempfile::tempdir().expect("a directory");
    let plan = json!({
        "base": format!("http://{}", airlock.address()), "token": airlock.user(), "modules": modules,
        "browser": browser, "allowed": allowed, "foreign": foreign, "scratch": scratch.path(),
    });
    let file = scratch.path().join("plan.json");
    std::fs::write(&file, plan.to_string()).expect("a file");
    let host = Path::new(env!("CARGO_MANIFEST_DIR")).join("edge/pages_in_browsers_are_clients/host.mjs");
    let mut command = Command::new(node);
    command.arg(host).arg(&file).stdin(Stdio::null()).env("HOME", scratch.path());
    let output = command.output().expect("node");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let trouble = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{text}\n{trouble}\n{}", airlock.log());
    let said: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let [ours, theirs] = said.as_slice() else { panic!("{text}\n{trouble}") };

    let url = format!("http://{}/.well-known/oauth-protected-resource/mcp/docs", airlock.address());
    assert_eq!(ours["challenge"], json!({"status": 401, "url": url, "correlation": 24}), "{ours}");
    let resource = json!({"status": 200, "resource": format!("http://{}/mcp/docs", airlock.address())});
    assert_eq!(ours["metadata"], resource, "{ours}");
    assert_eq!(ours["mistyped"]["status"], 404, "{ours}");
    assert!(ours["mistyped"]["message"].to_string().contains("no server `dcos` here"), "{ours}");
    for (mode, revision, has_session) in [("legacy", "2025-11-25", true), ("modern", "2026-07-28", false)] {
        let client = &ours[mode];
        assert_eq!(client["revision"], revision, "{ours}");
        assert_eq!(client["session"], has_session, "{ours}");
        assert!(client["tools"].to_string().contains("search_docs"), "{ours}");
        assert!(client["text"].to_string().contains("deployment.md"), "{ours}");
    }

    assert_eq!(theirs["metadata"], resource, "{theirs}");
    for step in ["challenge", "mistyped"] {
        assert_eq!(theirs[step], "TypeError: Failed to fetch", "{theirs}");
    }
}

/// The request that Chromium sends before one of a page.
fn preflight(path: &str, origin: &str) -> Request {
    Request { method: "OPTIONS".to_owned(), ..Request::get(path) }
        .header("accept", "*/*")
        .header("access-control-request-method", "POST")
        .header(
            "access-control-request-headers",
            "authorization,content-type,mcp-param-region,mcp-protocol-version",
        )
        .header("origin", origin)
        .header("sec-fetch-mode", "cors")
        .header("sec-fetch-site", "cross-site")
        .header("sec-fetch-dest", "empty")
}

fn words(response: &Response, header: &str) -> Vec<String> {
    let text = response.header(header).unwrap_or_default();
    text.split(',').map(|word| word.trim().to_ascii_lowercase()).collect()
}

fn says_nothing(response: &Response) -> bool {
    !response.headers.iter().any(|(name, _)| name.starts_with("access-control-"))
}

const PAGE: &str = "https://app.example";
const EVIL: &str = "https://evil.example";

#[test]
fn a_browser_is_told_what_the_page_of_an_allowed_origin_may_do() {
    let airlock = start(PAGE);
    for path in ["/mcp", "/mcp/docs", "/mcp/nowhere", "/mcp/", "/info"] {
        let told = airlock.send(&preflight(path, PAGE));
        assert_eq!((told.status, told.text().as_str()), (204, ""), "{path}");
        assert_eq!(told.header("access-control-allow-origin"), Some(PAGE), "{path}");
        assert_eq!(told.header("access-control-allow-credentials"), None, "{path}");
        assert_eq!(words(&told, "access-control-allow-methods"), ["get", "post", "delete"], "{path}");
        let headers = words(&told, "access-control-allow-headers");
        for header in [
            "authorization",
            "content-type",
            "accept",
            "last-event-id",
            "traceparent",
            "mcp-protocol-version",
            "mcp-session-id",
            "mcp-method",
            "mcp-name",
            "mcp-param-region",
        ] {
            assert!(headers.iter().any(|allowed| allowed == header), "{header}: {headers:?}");
        }
        let seconds = told.header("access-control-max-age").and_then(|text| text.parse::<u32>().ok());
        assert!(seconds.is_some_and(|seconds| seconds >= 600), "{path}");
        assert!(words(&told, "vary").contains(&"origin".to_owned()), "{path}");
        let refused = airlock.send(&preflight(path, EVIL));
        assert!(refused.status == 403 && says_nothing(&refused), "{path}: {:?}", refused.headers);
        let rebound = airlock.send(&preflight(path, PAGE).header("host", "evil.example"));
        assert_eq!(rebound.status, 403, "{path}");
    }
    let metadata = "/.well-known/oauth-protected-resource/mcp/docs";
    for origin in [PAGE, EVIL, "null"] {
        let told = airlock.send(&preflight(metadata, origin));
        assert_eq!((told.status, told.header("access-control-allow-origin")), (204, Some("*")), "{origin}");
        let read = airlock.send(&Request::get(metadata).header("origin", origin));
        assert_eq!((read.status, read.header("access-control-allow-origin")), (200, Some("*")), "{origin}");
    }
    // An `OPTIONS` request that is no question of a browser's is a request like any other.
    let bare = airlock.send(&Request { method: "OPTIONS".to_owned(), ..Request::get("/mcp") });
    assert_eq!(bare.status, 401);
}

#[test]
fn the_page_reads_answers_of_every_status_and_no_other_page_does() {
    let airlock = start(PAGE);
    let token = airlock.user();
    let list = || modern("/mcp/docs", 1, "tools/list", &Value::Null);
    let with_body = |body: Vec<u8>| Request { body, ..list().bearer(&token) };
    for (status, request) in [
        (200, list().bearer(&token)),
        (400, with_body(b"{".to_vec())),
        (401, list()),
        (404, Request { path: "/mcp/nowhere".to_owned(), ..list().bearer(&token) }),
        (404, Request::get("/nowhere")),
        (405, Request { method: "PUT".to_owned(), ..Request::get("/mcp").bearer(&token) }),
        (413, with_body(vec![b' '; 300 * 1024])),
        (417, list().header("expect", "a miracle")),
    ] {
        let read = airlock.send(&request.clone().header("origin", PAGE));
        assert_eq!(read.status, status, "{}", read.text());
        assert_eq!(read.header("access-control-allow-origin"), Some(PAGE), "{status}");
        assert_eq!(read.header("vary"), Some("Origin"), "{status}");
        let exposed = words(&read, "access-control-expose-headers");
        for header in ["mcp-session-id", "www-authenticate", "x-correlation-id", "retry-after", "dpop-nonce"]
        {
            assert!(exposed.iter().any(|exposed| exposed == header), "{status}: {header}");
        }
        let plain = airlock.send(&request.clone());
        assert!(plain.status == status && says_nothing(&plain), "{status}: {:?}", plain.headers);
        assert_eq!(plain.header("vary"), Some("Origin"), "a cache must not give it to the page: {status}");
        let foreign = airlock.send(&request.header("origin", EVIL));
        assert!(foreign.status >= 400 && says_nothing(&foreign), "{status}: {:?}", foreign.headers);
    }
}

#[test]
fn where_no_page_may_call_nothing_is_said_of_pages() {
    let airlock = Setup::default().start();
    let answer = airlock.send(&modern("/mcp/docs", 1, "tools/list", &Value::Null).bearer(&airlock.user()));
    assert!(answer.status == 200 && says_nothing(&answer) && answer.header("vary").is_none());
    let refused = airlock.send(&preflight("/mcp", PAGE));
    assert!(refused.status == 403 && says_nothing(&refused), "{:?}", refused.headers);
}
