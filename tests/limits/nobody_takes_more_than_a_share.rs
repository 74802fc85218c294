//! Nobody takes more than their share, and who tries is told which limit it was and when to come again.

use std::sync::atomic::{AtomicUsize, Ordering};

use airlock_tests::airlock::free_address;
use airlock_tests::http::{Request, Response};
use airlock_tests::mcp::{Session, modern, modern_call};
use airlock_tests::{Airlock, Setup, start_on};
use serde_json::{Value, json};

use super::refused_by;

/// The configuration of the limits, on one line.
fn limited(limits: &str) -> Setup {
    Setup { more: format!("rate_limiting: {{{limits}}}\n"), ..Setup::default() }
}

fn list(airlock: &Airlock, token: &str) -> Response {
    airlock.send(&modern("/mcp/docs", 7, "tools/list", &Value::Null).bearer(token))
}

#[test]
fn a_principal_gets_a_burst_and_no_more_however_many_tokens_and_threads() {
    for io in ["epoll", "io_uring"] {
        let Some(airlock) = start_on(io, &limited("per_token: 10/h, burst: 20")) else { continue };
        let tokens = [airlock.user(), airlock.user()];
        let passed = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for thread in 0..8 {
                let (airlock, tokens, passed) = (&airlock, &tokens, &passed);
                scope.spawn(move || {
                    for turn in 0..10 {
                        let answer = list(airlock, &tokens[(thread + turn) % 2]);
                        if answer.status == 200 {
                            passed.fetch_add(1, Ordering::Relaxed);
                        } else {
                            refused_by(&answer, "rate_limiting.per_token");
                            assert_eq!(answer.answer()["id"], 7);
                        }
                    }
                });
            }
        });
        assert_eq!(passed.into_inner(), 20);
        let wait = refused_by(&list(&airlock, &tokens[0]), "rate_limiting.per_token");
        assert!((300_000..=360_000).contains(&wait), "10/h is one in six minutes: {wait}");
        let other = airlock.token("bob", "acme", &["mcp.users"]);
        assert_eq!(list(&airlock, &other).status, 200, "another has their own");
        airlock.audited(|r| {
            r["rule_id"] == "rate_limiting.per_token" && r["subject"] == "alice" && r["status"] == 429
        });
    }
}

#[test]
fn everything_that_a_principal_sends_counts() {
    let airlock = limited("per_token: 1/h, burst: 8").start();
    let token = airlock.user();
    // `initialize` and `notifications/initialized` are two.
    let session = Session::open_as(airlock.address(), "/mcp/docs", &token, "2025-03-26", &json!({}));
    let session = session.expect("a session");
    let ping = |id: u64| json!({"jsonrpc": "2.0", "id": id, "method": "ping"});
    let rubbish = Request { body: b"{".to_vec(), ..session.prepare(&ping(1)) };
    assert_eq!(airlock.send(&rubbish).status, 400, "what is no message is the third");
    let batch = json!([
        ping(1), ping(2), {"jsonrpc": "2.0", "method": "notifications/initialized"}, ping(3), ping(4), ping(5),
    ]);
    let answer = airlock.send(&session.prepare(&batch));
    assert_eq!(answer.status, 200, "{}", answer.text());
    let answers: Vec<Value> = serde_json::from_slice(&answer.body).expect("an array");
    let good = answers.iter().filter(|answer| answer["result"].is_object()).count();
    let bad: Vec<_> = answers.iter().filter(|answer| answer["error"]["code"] == 429).collect();
    assert_eq!((good, bad.len()), (4, 1), "each of a batch counts: {answers:?}");
    assert_eq!(bad[0]["error"]["data"]["rule_id"], "rate_limiting.per_token");
    assert!(bad[0]["error"]["data"]["retry_after_ms"].as_u64().is_some_and(|wait| wait > 1_000));
    for method in ["GET", "DELETE"] {
        let request = Request { method: method.to_owned(), ..session.listen(None) };
        refused_by(&airlock.send(&request), "rate_limiting.per_token");
    }
}

#[test]
fn a_tenant_shares_its_quota_and_a_tool_has_its_own() {
    let airlock =
        limited("per_tenant: {requests: 6/h}, per_tool: {docs/search_*: 2/h, \"*/phone_home\": 1/h}").start();
    let [alice, bob] = ["alice", "bob"].map(|name| airlock.token(name, "acme", &["mcp.users"]));
    let carol = airlock.token("carol", "other", &["mcp.users"]);
    let search = |path: &str, token: &str| {
        let tool = if path == "/mcp" { "docs__search_docs" } else { "search_docs" };
        airlock.send(&modern_call(path, 3, tool, &json!({"query": "roll back"})).bearer(token))
    };
    assert_eq!(search("/mcp/docs", &alice).status, 200);
    assert_eq!(search("/mcp", &alice).status, 200);
    let refused = search("/mcp", &alice);
    assert!(refused_by(&refused, "rate_limiting.per_tool") > 60_000);
    assert_eq!(refused.answer()["id"], 3);
    airlock.audited(|r| {
        r["rule_id"] == "rate_limiting.per_tool" && r["upstream"] == "docs" && r["target"] == "search_docs"
    });
    assert_eq!(search("/mcp/docs", &bob).status, 200, "a tool's quota is each principal's");
    assert_eq!(list(&airlock, &alice).status, 200, "and no other tool's");
    assert_eq!(list(&airlock, &bob).status, 200);
    refused_by(&list(&airlock, &bob), "rate_limiting.per_tenant.requests");
    refused_by(&list(&airlock, &alice), "rate_limiting.per_tenant.requests");
    assert_eq!(list(&airlock, &carol).status, 200, "another tenant has its own");
}

#[test]
fn too_many_bad_tokens_and_none_is_looked_at() {
    for io in ["epoll", "io_uring"] {
        // The default: 5/min.
        let metrics = free_address().expect("a port");
        let setup = Setup::default().observability("metrics_listen", metrics);
        let Some(airlock) = start_on(io, &setup) else { continue };
        let good = airlock.user();
        let nothing = modern("/mcp/docs", 1, "tools/list", &Value::Null);
        for _ in 0..10 {
            assert_eq!(airlock.send(&nothing).status, 401, "no token is no failure");
        }
        for _ in 0..3 {
            assert_eq!(list(&airlock, "rubbish").status, 401);
        }
        assert_eq!(list(&airlock, &good).status, 200, "a good one resets nothing");
        for _ in 0..2 {
            assert_eq!(list(&airlock, "rubbish").status, 401);
        }
        let wait = refused_by(&list(&airlock, "rubbish"), "rate_limiting.failed_auth");
        assert!(wait <= 12_000, "{wait}");
        assert_eq!(list(&airlock, &good).status, 200, "it is known to be good");
        let same = list(&airlock, &airlock.token("carol", "acme", &["mcp.users"]));
        refused_by(&same, "rate_limiting.failed_auth");
        assert_eq!(same.header("www-authenticate"), None);
        assert_eq!(airlock.send(&nothing).status, 401, "a login can still begin");
        airlock.audited(|r| r["rule_id"] == "rate_limiting.failed_auth" && r["client"] == "127.0.0.1");
        let scraped = Request::get("/metrics").send(metrics).expect("an answer").text();
        for line in [
            r#"airlock_limited_total{limit="rate_limiting.failed_auth"} 2"#,
            r#"airlock_limit_keys{limit="rate_limiting.failed_auth"} 1"#,
            "airlock_blocked_addresses 0",
        ] {
            assert!(scraped.lines().any(|found| found == line), "no line `{line}` in:\n{scraped}");
        }
        // Somebody else's address is not to blame.
        let mut elsewhere = airlock.address();
        elsewhere.set_ip([127, 0, 0, 1].into());
        assert!(from(&nothing.clone().bearer(&good), "127.0.0.77", elsewhere).contains(" 200 "));
    }
}

/// Sends a request from that address of this host; gives the answer's head.
fn from(request: &Request, address: &str, to: std::net::SocketAddr) -> String {
    use std::io::{Read as _, Write as _};
    let socket = rustix::net::socket(rustix::net::AddressFamily::INET, rustix::net::SocketType::STREAM, None);
    let socket = socket.expect("a socket");
    let address: std::net::Ipv4Addr = address.parse().expect("an address");
    rustix::net::bind(&socket, &std::net::SocketAddrV4::new(address, 0)).expect("an address of this host");
    rustix::net::connect(&socket, &to).expect("a connection");
    let mut stream = std::net::TcpStream::from(socket);
    stream.write_all(&request.bytes(to)).expect("written");
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn an_address_is_counted_before_anything_is_looked_at() {
    let airlock = limited("per_address: 1/h, burst: 4, failed_auth: null").start();
    let token = airlock.user();
    assert_eq!(list(&airlock, &token).status, 200);
    assert_eq!(list(&airlock, "rubbish").status, 401);
    let foreign = modern("/mcp/docs", 1, "tools/list", &Value::Null).header("origin", "https://evil.example");
    assert_eq!(airlock.send(&foreign).status, 403);
    assert_eq!(airlock.send(&Request::get("/nothing/here")).status, 404);
    for request in [&foreign, &Request::get("/nothing/here"), &modern("/mcp", 1, "tools/list", &Value::Null)]
    {
        refused_by(&airlock.send(request), "rate_limiting.per_address");
    }
    refused_by(&list(&airlock, &token), "rate_limiting.per_address");
    assert_eq!(airlock.send(&Request::get("/live")).status, 200, "whether it lives may always be asked");
}

#[test]
fn without_a_limit_there_is_none() {
    let airlock = limited("failed_auth: null").start();
    let token = airlock.user();
    for _ in 0..20 {
        assert_eq!(list(&airlock, "rubbish").status, 401);
        assert_eq!(list(&airlock, &token).status, 200);
    }
}
