//! Tenants share a door and nothing behind it: neither decisions that were kept, nor lists, nor sessions. The
//! audit log cannot be read over the network at all.

use airlock_tests::Setup;
use airlock_tests::airlock::{free_address, until};
use airlock_tests::http::Request;
use airlock_tests::mcp::{Session, modern, modern_call, tool_names};
use serde_json::{Value, json};

/// One subject in two tenants, with the same groups; only the tenant makes a difference.
const POLICY: &str = r#"package airlock.authz

import rego.v1

default allow := false

allow if input.call.method in {"tools/list", "resources/list", "prompts/list"}

allow if {
    input.subject.tenant == "acme"
    input.call.tool == "search_docs"
}

allow if {
    input.subject.tenant == "globex"
    input.call.tool == "read_file"
}

rule_id := concat(".", ["tenant", input.subject.tenant]) if allow
"#;

#[test]
fn a_tenant_reads_nothing_of_another() {
    let address = free_address().expect("a port");
    let setup = Setup {
        policy: POLICY.to_owned(),
        // One worker has one cache: whatever could be shared would be.
        server: "  workers: 1\n".to_owned(),
        ..Setup::default()
    }
    .observability("metrics_listen", address);
    let airlock = setup.start();
    let tenants = ["acme", "globex"].map(|tenant| airlock.token("alice", tenant, &["mcp.users"]));
    let may = ["search_docs", "read_file"];
    let call = |token: &str, tool: &str| {
        let arguments = json!({"query": "revert", "path": "onboarding.md"});
        let response = airlock.send(&modern_call("/mcp/docs", 5, tool, &arguments).bearer(token));
        (response.status, response.answer()["error"]["data"]["rule_id"].clone())
    };
    // In turns, and again and again, so that every decision of one is at hand when the other asks.
    for _ in 0..20 {
        for (token, own) in tenants.iter().zip(may) {
            for tool in may {
                let (status, rule) = call(token, tool);
                assert_eq!(status, if tool == own { 200 } else { 403 }, "{rule}");
            }
            for path in ["/mcp/docs", "/mcp"] {
                let list = modern(path, 1, "tools/list", &Value::Null).bearer(token);
                let names = tool_names(&airlock.send(&list).answer()["result"]);
                assert_eq!(names, [if path == "/mcp" { format!("docs__{own}") } else { own.to_owned() }]);
            }
        }
    }
    let metrics = Request::get("/metrics").send(address).expect("an answer").text();
    let count = |name: &str| -> u64 {
        let line = metrics.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|count| count.trim().parse().ok()).unwrap_or_else(|| panic!("no {name} in\n{metrics}"))
    };
    let (hits, misses) =
        (count("airlock_policy_cache_hits_total"), count("airlock_policy_cache_misses_total"));
    println!("{hits} hits, {misses} misses");
    assert!(hits > 10 * misses, "the cache was in use: {hits} hits, {misses} misses");
    // Every record says whose call it was, and by which tenant's rule it was let through.
    let records = until(|| {
        let records = airlock.audit();
        let intents: Vec<_> = records.into_iter().filter(|record| record["event"] == "call.intent").collect();
        (intents.len() >= 40).then_some(intents)
    });
    for record in records.expect("a record for each call") {
        let tenant = record["tenant"].as_str().expect("a tenant");
        assert_eq!(record["rule_id"], format!("tenant.{tenant}"), "{record}");
    }

    // A session is its tenant's; to the other there is none.
    let mut session = Session::open(airlock.address(), "/mcp/docs", &tenants[0]).expect("a session");
    let list = json!({"jsonrpc": "2.0", "id": 7, "method": "tools/list"});
    let mut stolen = session.prepare(&list);
    stolen.headers.retain(|(name, _)| !name.eq_ignore_ascii_case("authorization"));
    assert_eq!(airlock.send(&stolen.bearer(&tenants[1])).status, 404);
    assert_eq!(
        tool_names(&session.result("tools/list", &Value::Null).expect("still there")),
        ["search_docs"]
    );
    // No path gives out records, whoever asks.
    for path in ["/audit", "/mcp/audit", "/mcp/docs/audit", "/checkpoint", "/audit/checkpoint"] {
        for token in &tenants {
            let answer = airlock.send(&Request::get(path).bearer(token));
            assert!(answer.status >= 400, "{path}: {}", answer.status);
            assert!(!answer.text().contains("call.intent"), "{path}: {}", answer.text());
        }
    }
}
