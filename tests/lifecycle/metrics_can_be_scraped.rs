//! Metrics can be scraped, on a listener of their own.

use airlock_tests::Setup;
use airlock_tests::airlock::free_address;
use airlock_tests::http::Request;
use airlock_tests::mcp::modern_call;
use serde_json::json;

#[test]
fn calls_and_refusals_are_counted() {
    let address = free_address().expect("a port");
    let setup = Setup::default().observability("metrics_listen", address);
    let airlock = setup.start();
    let token = airlock.user();
    let call = |tool: &str| modern_call("/mcp/docs", 1, tool, &json!({"query": "roll back"}));
    assert_eq!(airlock.send(&call("search_docs").bearer(&token)).status, 200);
    assert_eq!(airlock.send(&call("phone_home").bearer(&token)).status, 403);
    assert_eq!(airlock.send(&call("search_docs")).status, 401);

    let scraped = Request::get("/metrics").send(address).expect("an answer");
    assert_eq!(scraped.status, 200);
    assert!(
        scraped.header("content-type").is_some_and(|kind| kind.starts_with("application/openmetrics-text"))
    );
    let text = scraped.text();
    for line in [
        r#"airlock_requests_total{method="tools/call",status="200"} 1"#,
        r#"airlock_requests_total{method="tools/call",status="403"} 1"#,
        r#"airlock_refusals_total{stage="authenticate",reason="Unauthorized"} 1"#,
        r#"airlock_refusals_total{stage="authorize",reason="Forbidden"} 1"#,
        r#"airlock_upstream_calls_total{upstream="docs",outcome="ok"} 1"#,
        r#"airlock_upstream_processes{upstream="docs"} 1"#,
        "airlock_audit_healthy 1",
        "# EOF",
    ] {
        assert!(text.lines().any(|found| found == line), "no line `{line}` in:\n{text}");
    }
    let elsewhere = Request::get("/mcp").send(address).expect("an answer");
    assert_eq!(elsewhere.status, 404, "this listener is for metrics only");
}
