//! Everything that goes to a server is looked through: it is changed or refused before the record and the
//! server get it.

use airlock_tests::http::Response;
use airlock_tests::mcp::{Session, modern, modern_call, text};
use airlock_tests::{Airlock, Setup, Upstream};
use serde_json::{Value, json};

pub(super) const SECRET: &str = "ghp_318wPfvnmcZm8jFzhUXA8iNWWgoZXrugg3af";

/// The server that has a secret in everything, behind Airlock with this more of a configuration.
pub(super) fn leaky(more: &str) -> Airlock {
    let server = include_str!("leaky_server.py");
    let upstreams = Upstream::stdio("leaky", &["python3", "-c", server]).with("era", "legacy").to_string();
    Setup { upstreams, more: more.to_owned(), ..Setup::default() }.start()
}

fn heard(airlock: &Airlock, token: &str, arguments: &Value) -> Response {
    airlock.send(&modern_call("/mcp/leaky", 1, "heard", arguments).bearer(token))
}

#[test]
fn arguments_are_redacted_after_the_policy_and_before_the_record() {
    let mut airlock = leaky("");
    let token = airlock.user();
    let arguments = json!({"a": {"b": [SECRET]}, "bob": 4_111_111_111_111_111_u64, SECRET: 1});
    let answer = heard(&airlock, &token, &arguments).answer();
    assert_eq!(text(&answer["result"]), "heard nothing of it", "{answer}");
    assert_eq!(answer["result"]["structuredContent"]["keys"][0], "[redacted:github-token]", "{answer}");
    let mut session = Session::open(airlock.address(), "/mcp/leaky", &token).expect("a session");
    let result = session.call("heard", &arguments).expect("a result");
    assert_eq!(text(&result), "heard nothing of it", "{result}");
    let intent = airlock.audited(|record| record["event"] == "call.intent");
    assert_eq!(intent["redactions"], json!({"github-token": 2, "card": 1}), "{intent}");
    assert!(airlock.stop().success());
    assert!(!airlock.log().contains(SECRET) && !format!("{:?}", airlock.audit()).contains(SECRET));
}

#[test]
fn a_target_and_a_blocking_rule_refuse() {
    let mut airlock = leaky(
        "dlp:\n  rules: [{detector: card, direction: request, upstream: leaky, tool: 'he*', action: block}]\n",
    );
    let token = airlock.user();
    let refused = |response: Response, detector: &str| {
        let answer = response.answer();
        let data = &answer["error"]["data"];
        assert_eq!((response.status, &data["rule_id"]), (403, &json!(detector)), "{answer}");
        assert!(!answer.to_string().contains("4111") && !answer.to_string().contains(SECRET), "{answer}");
    };
    refused(heard(&airlock, &token, &json!({"card": "4111 1111 1111 1111"})), "card");
    let read = json!({"uri": format!("leak://{SECRET}")});
    refused(airlock.send(&modern("/mcp/leaky", 1, "resources/read", &read).bearer(&token)), "github-token");
    let record =
        airlock.audited(|record| record["event"] == "refusal" && record["rule_id"] == "github-token");
    assert_eq!(
        (&record["stage"], &record["target"]),
        (&json!("redact"), &json!("[redacted:github-token]")),
        "{record}"
    );
    assert!(airlock.stop().success());
    assert!(!airlock.log().contains(SECRET) && !format!("{:?}", airlock.audit()).contains(SECRET));
}

#[test]
fn a_report_changes_nothing_and_off_does_not_look() {
    for (mode, counted) in [("report", json!({"github-token": 1})), ("off", Value::Null)] {
        let airlock = leaky(&format!("dlp: {{mode: {mode}, request: block}}\n"));
        let token = airlock.user();
        let answer = heard(&airlock, &token, &json!({"a": SECRET})).answer();
        assert_eq!(text(&answer["result"]), "heard it", "{mode}: {answer}");
        let intent = airlock.audited(|record| record["event"] == "call.intent");
        assert_eq!(intent["redactions"], counted, "{mode}: {intent}");
    }
}

#[test]
fn a_policy_can_oblige_to_a_pack() {
    let policy = r#"package airlock.authz
import rego.v1
allow := true
rule_id := "all"
obligations := {"redact": [input.call.arguments.by]} if input.call.arguments.by
"#;
    let server = include_str!("leaky_server.py");
    let upstreams = Upstream::stdio("leaky", &["python3", "-c", server]).with("era", "legacy").to_string();
    let airlock = Setup { upstreams, policy: policy.to_owned(), ..Setup::default() }.start();
    let token = airlock.user();
    let keys = |arguments: &Value| {
        let response = heard(&airlock, &token, arguments);
        (response.status, response.answer()["result"]["structuredContent"]["keys"].clone())
    };
    let mail = "alice@acme.com";
    assert_eq!(keys(&json!({mail: 1})), (200, json!([mail])));
    assert_eq!(keys(&json!({mail: 1, "by": "pii"})), (200, json!(["[redacted:email]", "by"])));
    assert_eq!(keys(&json!({mail: 1, "by": "nonsense"})).0, 403);
}
