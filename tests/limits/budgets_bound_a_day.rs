//! A principal has so much of a tool in a day, and one that repeats itself is stopped.

use std::thread::sleep;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use airlock_tests::airlock::free_address;
use airlock_tests::http::{Request, Response};
use airlock_tests::mcp::{modern, modern_call};
use airlock_tests::{Airlock, Setup};
use serde_json::{Value, json};

use super::refused_by;

/// The longest wait, in milliseconds: a day begins at midnight UTC.
const DAY: u64 = 24 * 60 * 60 * 1_000;

/// A daemon with these budgets. Where midnight is near, at which all begin anew, it is waited for.
fn bounded(budget: &str) -> Setup {
    let since_1970 = || SystemTime::now().duration_since(UNIX_EPOCH).expect("a time").as_millis();
    let left = u128::from(DAY) - since_1970() % u128::from(DAY);
    if left < 30_000 {
        sleep(Duration::from_millis(u64::try_from(left).expect("less than a minute")));
    }
    Setup { more: format!("budget: {{{budget}}}\n"), ..Setup::default() }
}

fn search(airlock: &Airlock, path: &str, token: &str, query: &str) -> Response {
    let tool = if path == "/mcp" { "docs__search_docs" } else { "search_docs" };
    airlock.send(&modern_call(path, 3, tool, &json!({"query": query})).bearer(token))
}

#[test]
fn a_tool_is_called_so_often_in_a_day() {
    let metrics = free_address().expect("a port");
    let setup = bounded("calls: 9, tools: {docs/search_*: {calls: 2}}");
    let airlock = setup.observability("metrics_listen", metrics).start();
    let [alice, bob] = ["alice", "bob"].map(|name| airlock.token(name, "acme", &["mcp.users"]));
    assert_eq!(search(&airlock, "/mcp/docs", &alice, "one").status, 200);
    assert_eq!(search(&airlock, "/mcp", &alice, "two").status, 200);
    for path in ["/mcp", "/mcp/docs"] {
        let refused = search(&airlock, path, &alice, "three");
        assert!(refused_by(&refused, "budget.calls") <= DAY);
        assert_eq!(refused.answer()["id"], 3);
    }
    airlock.audited(|r| {
        r["event"] == "refusal"
            && r["rule_id"] == "budget.calls"
            && (&r["stage"], &r["status"], &r["target"])
                == (&json!("limit"), &json!(429), &json!("search_docs"))
    });
    assert_eq!(search(&airlock, "/mcp/docs", &bob, "one").status, 200, "each has their own");
    let list = airlock.send(&modern("/mcp/docs", 7, "tools/list", &Value::Null).bearer(&alice));
    assert_eq!(list.status, 200, "and it is no call");
    let page = Request::get("/metrics").send(metrics).expect("an answer").text();
    for line in
        [r#"airlock_limited_total{limit="budget.calls"} 2"#, r#"airlock_limit_keys{limit="budget.calls"} 2"#]
    {
        assert!(page.lines().any(|found| found == line), "{line}: {page}");
    }
}

#[test]
fn a_call_that_the_policy_refuses_uses_up_nothing() {
    let airlock = bounded("calls: 1").start();
    let stranger = airlock.token("mallory", "acme", &["nobody"]);
    for _ in 0..3 {
        assert_eq!(search(&airlock, "/mcp/docs", &stranger, "x").status, 403);
    }
}

#[test]
fn answers_count_as_well_as_arguments() {
    let airlock = bounded("bytes: 64B").start();
    let token = airlock.user();
    let first = search(&airlock, "/mcp/docs", &token, "roll back");
    assert_eq!(first.status, 200, "{}", first.text());
    assert!(first.body.len() > 64, "its answer goes beyond the bound");
    assert!(refused_by(&search(&airlock, "/mcp/docs", &token, "roll back"), "budget.bytes") <= DAY);
}

#[test]
fn who_goes_through_a_list_meets_the_bound_of_arguments() {
    let airlock = bounded("arguments: 2").start();
    let token = airlock.user();
    for query in ["one", "two", "one", "two"] {
        assert_eq!(search(&airlock, "/mcp/docs", &token, query).status, 200);
    }
    refused_by(&search(&airlock, "/mcp/docs", &token, "three"), "budget.arguments");
    assert_eq!(search(&airlock, "/mcp/docs", &token, "one").status, 200);
}

#[test]
fn an_agent_that_goes_round_in_circles_is_stopped() {
    let airlock = bounded("repeats: 2/h").start();
    let token = airlock.user();
    for query in ["roll back", "roll back", "another"] {
        assert_eq!(search(&airlock, "/mcp/docs", &token, query).status, 200);
    }
    let wait = refused_by(&search(&airlock, "/mcp", &token, "roll back"), "budget.repeats");
    assert!((3_000_000..=3_600_000).contains(&wait), "until the hour is over: {wait}");
    assert_eq!(search(&airlock, "/mcp/docs", &token, "another").status, 200);
}
