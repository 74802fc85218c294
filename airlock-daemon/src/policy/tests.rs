//! The engine as a whole.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::PathBuf;

use serde_json::value::RawValue;

use super::*;
use crate::auth::principal::{Bearer, Principal};

mod assigned;
mod cached;
mod clear;
mod closed;
mod engines;
mod negated;
mod refused;
mod shipped;
mod strict;
mod unnamed;

/// The bundle that ships with the daemon.
fn shipped() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../policies")
}

fn principal(tenant: Option<&str>, groups: &[&str]) -> Principal {
    Principal::new(Bearer {
        subject: "alice".into(),
        tenant: tenant.map(str::to_owned),
        groups: groups.iter().map(|group| (*group).to_owned()).collect(),
        scopes: Vec::new(),
        issuer: "https://idp.example.com".into(),
        claims: serde_json::Map::new(),
        expires_at: 0,
    })
}

/// A call asked of an engine.
struct Asked<'a> {
    subject: &'a Principal,
    method: &'a str,
    upstream: &'a str,
    tool: Option<&'a str>,
    arguments: Option<&'a str>,
}

impl Asked<'_> {
    fn of(&self, engine: &PolicyEngine) -> Decision {
        let raw = self.arguments.map(|text| RawValue::from_string(text.to_owned()).unwrap());
        engine.decide(&Question {
            subject: self.subject,
            call: Call {
                method: self.method,
                upstream: self.upstream,
                tool: self.tool,
                prompt: None,
                resource: None,
                root: None,
                arguments: raw.as_deref(),
                revision: "2026-07-28",
            },
            client: Client::default(),
            time: 1_795_347_000,
        })
    }
}

/// A tool call of a reader with these arguments.
fn ask(engine: &PolicyEngine, arguments: &str) -> Decision {
    let subject = principal(Some("acme"), &["mcp.users"]);
    let arguments = Some(arguments);
    Asked { subject: &subject, method: "tools/call", upstream: "docs", tool: Some("read_file"), arguments }
        .of(engine)
}

/// A bundle with one policy file whose rules are `body`.
fn bundle(body: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("authz.rego"), format!("package airlock.authz\nimport rego.v1\n{body}\n"))
        .unwrap();
    folder
}

fn load(body: &str) -> Result<PolicyEngine, PolicyError> {
    PolicyEngine::load(bundle(body).path())
}

/// Every row in both engines: rules, arguments, and `None` for allowed or the rule ids that may refuse.
#[test]
fn the_contract() {
    const DENY: &str = r#"deny contains {"rule_id": "r1", "reason": "because"} if"#;
    let allowed = None;
    let default = Some(&["default"][..]);
    let error = Some(&["policy_error"][..]);
    let default_or_error = Some(&["default", "policy_error"][..]);
    let rows: &[(&str, &str, Option<&[&str]>)] = &[
        ("allow := true", "{}", allowed),
        ("default allow := false\nallow if input.call.tool == \"read_file\"", "{}", allowed),
        ("default allow := false\nallow if input.call.tool == \"other\"", "{}", default),
        ("default allow := true", "{}", allowed),
        ("allow := \"true\"", "{}", default),
        ("allow := 1", "{}", default),
        ("allow := [true]", "{}", default),
        ("allow := null", "{}", default),
        ("allow if input.call.arguments.missing", "{}", default),
        ("allow := input.call.arguments.missing", "{}", default),
        ("allow := input.call.arguments.yes", "{\"yes\": true}", allowed),
        ("allow := input.call.arguments.yes", "{\"yes\": \"true\"}", default),
        ("allow contains true", "{}", default),
        ("allow := true if input.call\nallow := false if input.call", "{}", default_or_error),
        ("allow := data.airlock.other", "{}", default_or_error),
        ("allow if [1, input.call.arguments.missing] == [1]", "{}", default),
        ("allow if {1, input.call.arguments.missing} == {1}", "{}", default),
        ("allow if {\"a\": input.call.arguments.missing} == {}", "{}", default),
        ("allow if every x in input.call.arguments.missing { x }", "{}", default_or_error),
        ("allow if to_number(input.call.arguments.n) == 1", "{\"n\": \"x\"}", default_or_error),
        ("allow := true\ndeny := set()", "{}", allowed),
        ("allow := true\ndeny := []", "{}", allowed),
        ("allow := true\ndeny := \"no\"", "{}", error),
        ("allow := true\ndeny := null", "{}", error),
        ("allow := true\ndeny := true", "{}", error),
        ("allow := true\ndeny := {\"a\": 1}", "{}", error),
        ("allow := true\ndeny contains \"no\"", "{}", Some(&["authz.rego:4"])),
        ("allow := true\ndeny contains {\"rule_id\": 1, \"reason\": \"x\"}", "{}", error),
        ("allow := true\ndeny contains {\"rule_id\": \"x\"}", "{}", error),
        ("allow := true\nrule_id := 7", "{}", error),
        ("allow := true\nreason := {}", "{}", error),
        ("allow := true\nobligations := {\"durabel\": true}", "{}", error),
        ("allow := true\nobligations := {\"redact\": [1]}", "{}", error),
        ("allow := true\nobligations := {\"redact\": input.call.arguments.missing}", "{}", allowed),
        (
            "allow := true\nobligations := {\"durable\": true} if input.call\nobligations := {\"durable\": false} if input.call",
            "{}",
            error,
        ),
        (
            "allow := true\nlevel := 1 if input.call\nlevel := 2 if input.call\ndeny contains {\"rule_id\": \"r1\", \"reason\": \"x\"} if level == 2",
            "{}",
            error,
        ),
        (
            "allow := true\nf(x) := 1 if x\nf(x) := 2 if x\ndeny contains {\"rule_id\": \"r1\", \"reason\": \"x\"} if f(true) == 2",
            "{}",
            error,
        ),
        ("role := f(input.call.tool)\nf(role) := role\nallow if role == \"read_file\"", "{}", allowed),
        ("p.x := 1\np.y := p.x\nallow if p.y == 1", "{}", allowed),
        ("allow if input.call.arguments == null", "null", allowed),
        ("allow := true", "{\"a\": 1, \"a\": 2}", error),
        ("allow := true", "{\"a\": 1e300}", allowed),
    ];
    for (body, arguments, expected) in rows {
        let folder = bundle(body);
        for engine in [PolicyEngine::load(folder.path()), PolicyEngine::load_interpreted(folder.path())] {
            let engine = engine.unwrap();
            let decision = ask(&engine, arguments);
            match expected {
                None => assert!(decision.allow, "{body}: {decision:?}"),
                Some(ids) => {
                    assert!(!decision.allow && ids.contains(&&*decision.rule_id), "{body}: {decision:?}");
                }
            }
        }
    }
    for (rule, arguments, denied) in [
        ("input.call.arguments.n > 5", "{\"n\": 6}", true),
        ("input.call.arguments.n > 5", "{\"n\": 5}", false),
        ("not input.call.arguments.missing", "{}", true),
        ("some v in input.call.arguments.l; v == 3", "{\"l\": [null, \"a\", 3]}", true),
    ] {
        let folder = bundle(&format!("allow := true\n{DENY} {{ {rule} }}"));
        for engine in [PolicyEngine::load(folder.path()), PolicyEngine::load_interpreted(folder.path())] {
            let decision = ask(&engine.unwrap(), arguments);
            assert_eq!(!decision.allow, denied, "{rule}: {decision:?}");
            assert_eq!(&*decision.rule_id, if denied { "r1" } else { "authz.rego:3" });
        }
    }
}

#[test]
fn names_and_obligations_come_through() {
    let engine = load(
        r#"allow := true
        rule_id := "docs.read"
        reason := "readers read"
        obligations := {"redact": {"pii"}, "scopes": ["docs"], "durable": true}"#,
    )
    .unwrap();
    let decision = ask(&engine, "{}");
    assert_eq!((&*decision.rule_id, &*decision.reason), ("docs.read", "readers read"));
    assert_eq!((decision.obligations.redact.len(), decision.obligations.scopes.len()), (1, 1));
    assert!(decision.obligations.durable);
}

#[test]
fn endless_work_is_stopped_and_refused() {
    let body = "allow if count([1 | some i in numbers.range(1, 3000); some j in numbers.range(1, 3000); i != j]) > 0";
    let folder = bundle(body);
    for engine in [PolicyEngine::load(folder.path()), PolicyEngine::load_interpreted(folder.path())] {
        let decision = ask(&engine.unwrap(), "{}");
        assert_eq!((decision.allow, &*decision.rule_id), (false, ERROR_RULE));
    }
    let error = load("allow if count(numbers.range(1, input.call.arguments.n)) > 3").unwrap_err();
    assert!(error.place.contains("authz.rego:3:") && error.reason.contains("memory"), "{error}");
}

#[test]
fn a_panic_refuses_and_the_next_decision_works() {
    let folder = bundle("allow if strings.count(\"abc\", input.call.arguments.x) == 1");
    for engine in [PolicyEngine::load(folder.path()), PolicyEngine::load_interpreted(folder.path())] {
        let engine = engine.unwrap();
        for _ in 0..3 {
            let decision = ask(&engine, r#"{"x": ""}"#);
            assert_eq!((decision.allow, &*decision.rule_id), (false, ERROR_RULE));
            assert!(ask(&engine, r#"{"x": "b"}"#).allow);
        }
    }
}

#[test]
fn four_threads_decide_at_once() {
    let engine = PolicyEngine::load(&shipped()).unwrap();
    let other = load("allow := true").unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for round in 0..200 {
                    let path = if round % 2 == 0 { "/guide.md" } else { "/secret/key" };
                    let decision = ask(&engine, &format!("{{\"path\": \"{path}\"}}"));
                    assert_eq!(decision.allow, round % 2 == 0);
                    assert!(ask(&other, "{}").allow);
                }
            });
        }
    });
}

#[test]
fn many_generations_stay_apart() {
    let engines: Vec<PolicyEngine> =
        (0..8).map(|number| load(&format!("allow := true\nrule_id := \"r{number}\"")).unwrap()).collect();
    for _ in 0..3 {
        for (number, engine) in engines.iter().enumerate() {
            assert_eq!(&*ask(engine, "{}").rule_id, format!("r{number}"));
        }
    }
}
