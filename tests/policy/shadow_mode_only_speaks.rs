//! In shadow mode the policy speaks and does not act; all other doors stay shut.

use airlock_tests::http::Request;
use airlock_tests::mcp::{modern, modern_call, tool_names};
use airlock_tests::{Airlock, Setup};
use serde_json::{Value, json};

/// An airlock in shadow mode with this policy.
fn shadow(policy: &str, upstream: &str) -> Airlock {
    let setup = Setup::default();
    let dir =
        Setup { policy: policy.to_owned(), upstreams: format!("{}{upstream}", setup.upstreams), ..setup }
            .write()
            .expect("a directory");
    let file = dir.path().join("airlock.yaml");
    let text = std::fs::read_to_string(&file).expect("ours");
    let text = text.replacen("policy:\n", "policy:\n  mode: shadow\n", 1);
    std::fs::write(&file, text).expect("written");
    airlock_tests::airlock::start_in(dir).expect("it starts")
}

fn call(airlock: &Airlock, token: &str, tool: &str) -> (u16, Value) {
    let arguments = json!({"address": "127.0.0.1:9", "query": "revert"});
    let response = airlock.send(&modern_call("/mcp/docs", 5, tool, &arguments).bearer(token));
    (response.status, response.answer())
}

#[test]
fn what_the_policy_refuses_is_recorded_and_done() {
    let mut airlock = shadow(airlock_tests::airlock::POLICY, "");
    let token = airlock.user();
    let (status, answer) = call(&airlock, &token, "phone_home");
    assert_eq!(status, 200, "{answer}");
    let record = airlock.audited(|record| record["event"] == "policy.shadowed");
    assert_eq!(
        (&record["decision"], &record["rule_id"]),
        (&json!("deny"), &json!("no_phone_home")),
        "{record}"
    );
    assert_eq!((&record["target"], &record["subject"]), (&json!("phone_home"), &json!("alice")), "{record}");
    assert!(record["reason"].as_str().is_some_and(|reason| reason.starts_with("not enforced")), "{record}");
    let intent = airlock.audited(|record| record["event"] == "call.intent");
    assert_eq!(
        (&intent["decision"], &intent["rule_id"], &intent["correlation_id"]),
        (&json!("allow"), &json!("shadow:no_phone_home"), &record["correlation_id"])
    );
    // Lists show what can be called, and are no news.
    let listed = airlock.send(&modern("/mcp/docs", 1, "tools/list", &Value::Null).bearer(&token)).answer();
    assert!(tool_names(&listed["result"]).contains(&"phone_home".to_owned()), "{listed}");
    // A call that the policy allows is no different, and it is said aloud that nothing is enforced.
    assert_eq!(call(&airlock, &token, "search_docs").0, 200);
    let allowed =
        airlock.audited(|record| record["event"] == "call.intent" && record["target"] == "search_docs");
    assert_eq!(allowed["rule_id"], "members", "{allowed}");
    assert!(airlock.logs("policy.mode is `shadow`"), "{}", airlock.log());
    let info: Value =
        serde_json::from_slice(&airlock.send(&Request::get("/info").bearer(&token)).body).expect("JSON");
    assert_eq!(info["policy_mode"], "shadow");
    // A group that the policy knows nothing of: the whole policy refuses, and it is done.
    let stranger = airlock.token("mallory", "acme", &["somewhere.else"]);
    assert_eq!(call(&airlock, &stranger, "search_docs").0, 200);
    // All records are written before the end: neither the list nor the allowed call has one of these.
    assert!(airlock.stop().success(), "{}", airlock.log());
    let mut shadowed = airlock.audit();
    shadowed.retain(|record| record["event"] == "policy.shadowed");
    let rules: Vec<_> = shadowed.iter().map(|record| &record["rule_id"]).collect();
    assert_eq!(rules, ["no_phone_home", "default"], "{shadowed:#?}");
}

#[test]
fn obligations_are_recorded_too_and_other_doors_stay_shut() {
    let policy = r#"package airlock.authz
import rego.v1
allow := true
rule_id := "scoped"
obligations := {"scopes": ["docs.read"]}
"#;
    let airlock = shadow(policy, "    allow_tools: [search_docs]\n");
    let token = airlock.user();
    assert_eq!(call(&airlock, &token, "search_docs").0, 200);
    let record = airlock.audited(|record| record["event"] == "policy.shadowed");
    assert_eq!(record["rule_id"], "scoped", "{record}");
    assert!(record["reason"].as_str().is_some_and(|reason| reason.contains("lacks a scope")), "{record}");
    // The host's own list, and tokens, are not the policy's.
    let (status, answer) = call(&airlock, &token, "phone_home");
    assert_eq!((status, &answer["error"]["data"]["rule_id"]), (403, &json!("allow_tools")), "{answer}");
    assert_eq!(call(&airlock, "no.such.token", "search_docs").0, 401);
    assert_eq!(airlock.send(&modern_call("/mcp/docs", 5, "search_docs", &json!({}))).status, 401);
    // Where there is nothing to decide by, nothing is done.
    let nothing = shadow("package airlock.authz\nallow if {", "");
    let token = nothing.user();
    let (status, answer) = call(&nothing, &token, "search_docs");
    assert_eq!((status, &answer["error"]["data"]["rule_id"]), (403, &json!("no_policy")), "{answer}");
}
