//! The engine as a whole.
#![allow(clippy::unwrap_used)]

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use proptest::prelude::*;
use serde_json::value::RawValue;

use super::*;
use crate::auth::principal::{Bearer, Principal};

mod assigned;
mod cached;
mod clear;
mod closed;
mod negated;
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
fn an_error_in_a_refusing_rule_refuses() {
    // Bytecode alone would drop the rule when the first element is no number, and with it the refusal of the
    // second.
    let arithmetic = r#"allow := true
        deny contains {"rule_id": "sum", "reason": "too much"} if { some n in input.call.arguments.l; n + 1 > 5 }"#;
    let engine = load(arithmetic).unwrap();
    assert!(engine.fallback().unwrap().contains("authz.rego:4:"), "{engine:?}");
    assert_eq!(&*ask(&engine, r#"{"l": ["a", 100]}"#).rule_id, ERROR_RULE);
    assert_eq!(&*ask(&engine, r#"{"l": [1, 100]}"#).rule_id, "sum");
    assert!(ask(&engine, r#"{"l": [1, 2]}"#).allow);
    for body in [
        "allow if input.call.arguments.s & {1} == {1}",
        "p[x] contains 1 if some x in input.call.arguments.a\nallow if p.a",
        "p.x := 1\nallow if p.x",
        "allow := true\nx := 1 if input.call.arguments.a\nx := 2 if input.call.arguments.b\ny if x == 1",
    ] {
        assert!(load(body).unwrap().fallback().is_some(), "{body}");
    }
    for body in [
        "allow := true\nx := 1 if input.call.arguments.a\nelse := 2",
        "allow := true\nreason := \"a\" if input.call.arguments.a\nreason := \"b\" if input.call.arguments.b",
    ] {
        assert_eq!(load(body).unwrap().fallback(), None, "{body}");
    }
}

#[test]
fn undefined_values_lose_no_refusal() {
    const DATA: &str = "m: {a: b}\n";
    let load = |body: &str| {
        let folder = bundle(&format!("allow := true\n{body}"));
        fs::write(folder.path().join("data.yaml"), DATA).unwrap();
        PolicyEngine::load(folder.path())
    };
    // Both engines forget what an earlier round of the loop found when the last one is undefined.
    for body in [
        "x := data.m[g] if some g in input.call.arguments.l",
        "f(l) := data.m[g] if some g in l",
        "x := data.m[g] if g := input.call.arguments.l[_]",
        "x := \"a\" if input.call.arguments.x\nelse := data.m[g] if some g in input.call.arguments.l",
    ] {
        let error = load(body).expect_err(body);
        assert!(error.place.contains("authz.rego:") && error.remedy.contains(":="), "{error}");
    }
    // The interpreter forgets it in sets too; bytecode does not.
    let set = "deny contains {\"rule_id\": \"r\", \"reason\": data.m[g]} if some g in input.call.arguments.l";
    let engine = load(set).unwrap();
    assert_eq!(engine.fallback(), None);
    for list in ["[\"a\", \"z\"]", "[\"z\", \"a\"]"] {
        assert_eq!(&*ask(&engine, &format!("{{\"l\": {list}}}")).rule_id, "r");
    }
    let error = load(&format!("{set}\ny := input.time / 2")).unwrap_err();
    assert!(error.reason.contains("authz.rego:5:"), "{error}");
    // Bytecode collects a text that says "undefined"; the interpreter does not.
    let list = "deny contains {\"rule_id\": \"r\", \"reason\": \"x\"} if { l := [data.m[g] | some g in input.call.arguments.l]; count(l) == 1 }";
    let engine = load(list).unwrap();
    assert!(engine.fallback().is_some());
    assert_eq!(&*ask(&engine, "{\"l\": [\"z\", \"a\"]}").rule_id, "r");
    // Fields that the contract promises are never undefined.
    let promised = "deny contains {\"rule_id\": \"r\", \"reason\": input.call.tool} if input.time + 1 > 5";
    assert_eq!(&*ask(&load(promised).unwrap(), "{}").rule_id, "r");
}

#[test]
fn every_is_every() {
    for (body, place) in [
        ("allow if { every n in input.call.arguments.l { data.airlock.m[n] } }", ":3:"),
        (
            "allow if count([1 | every n in input.call.arguments.l { data.airlock.m[n] }; some x in [1]]) == 1",
            ":3:",
        ),
        ("allow if { every a in [1] { every n in input.call.arguments.l { data.airlock.m[n] } } }", ":3:"),
    ] {
        let folder = bundle(body);
        fs::write(folder.path().join("m.rego"), "package airlock\nm := {\"a\": true, \"b\": false}\n")
            .unwrap();
        let engine = PolicyEngine::load(folder.path()).unwrap();
        assert!(engine.fallback().unwrap().contains(place), "{engine:?}");
        assert!(ask(&engine, r#"{"l": ["a"]}"#).allow, "{body}");
        assert!(!ask(&engine, r#"{"l": ["a", "b"]}"#).allow, "{body}");
    }
    let engine = load("allow if { {x | x := 1; input.call.arguments.f} == {1} }").unwrap();
    assert!(engine.fallback().unwrap().contains("no loop"));
    assert_eq!(&*ask(&engine, r#"{"f": false}"#).rule_id, DEFAULT_RULE);
}

#[test]
fn what_bytecode_cannot_do_runs_in_the_interpreter() {
    let engine =
        load("allow if inner with input.call.tool as \"x\"\ninner if input.call.tool == \"x\"").unwrap();
    assert!(engine.fallback().is_some());
    assert!(ask(&engine, "{}").allow);
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
fn what_would_never_be_asked_for_is_refused_at_load() {
    let denial = "{\"rule_id\": \"r\", \"reason\": \"x\"}";
    for body in [
        format!("allow := true\ndeny.secrets contains {denial} if input.call.tool"),
        format!("allow := true\ndeny[\"k\"] := {denial} if input.call.tool"),
        "allow := true\nobligations.scopes := [\"s\"]".to_owned(),
        "allow.really := true".to_owned(),
        "allow := true\ndefault reason.x := \"y\"".to_owned(),
    ] {
        let error = load(&body).unwrap_err();
        assert!(error.place.contains("authz.rego:") && error.reason.contains("below"), "{body}: {error}");
    }
    for package in ["airlock.authz.deny", "airlock.authz.obligations.more"] {
        let folder = bundle("allow := true");
        fs::write(folder.path().join("b.rego"), format!("package {package}\nx := 1\n")).unwrap();
        let error = PolicyEngine::load(folder.path()).unwrap_err();
        assert!(error.place.contains("b.rego:2:"), "{error}");
    }
    // Helpers may be called anything else, and the package may be reached by the head.
    load("allow := true\ndenials.secrets contains 1 if input.call.tool").unwrap();
    let folder = bundle("allow := true");
    let text = format!("package airlock\nimport rego.v1\nauthz.deny contains {denial} if true\n");
    fs::write(folder.path().join("b.rego"), text).unwrap();
    assert_eq!(&*ask(&PolicyEngine::load(folder.path()).unwrap(), "{}").rule_id, "r");
}

#[test]
fn a_pattern_that_the_engine_misreads_is_refused_at_load() {
    for delimiters in ["[\":\"]", "[\"/\", \":\"]", "input.call.arguments.d", "[data.d]", "{\":\"}"] {
        let error = load(&format!("allow if glob.match(\"a*\", {delimiters}, input.call.tool)")).unwrap_err();
        assert!(error.place.contains("authz.rego:3:") && error.reason.contains("delimiter"), "{error}");
    }
    for delimiters in ["null", "[]", "[\"/\"]", "[\".\", \"/\"]"] {
        load(&format!("allow if glob.match(\"a*\", {delimiters}, input.call.tool)")).unwrap();
    }
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
fn recursion_is_refused_at_load() {
    for body in [
        "allow if b\nb if allow",
        "allow if { input.call.arguments.x == 2; b }\nb if allow",
        "allow if f(1)\nf(x) := f(x)",
        "allow if f(1)\nf(x) := g(x)\ng(x) := f(x)",
    ] {
        let error = load(body).unwrap_err();
        assert!(error.reason.contains("recursion") && error.place.contains("authz.rego:"), "{error}");
    }
}

#[test]
fn the_longest_chain_fits_a_small_stack() {
    let mut body = String::from("f0(x) := x\n");
    for number in 1..62 {
        writeln!(body, "f{number}(x) := [y | some z in [x]; y := {{\"a\": f{}(z)}}][0].a", number - 1)
            .unwrap();
    }
    body.push_str("allow if f61(true)\n");
    let folder = bundle(&body);
    let run = move || {
        for engine in [PolicyEngine::load(folder.path()), PolicyEngine::load_interpreted(folder.path())] {
            let engine = engine.unwrap();
            // On a busy machine the time limit may pass.
            assert!((0..100).any(|_| ask(&engine, "{}").allow));
        }
    };
    std::thread::Builder::new().stack_size(2 * 1024 * 1024).spawn(run).unwrap().join().unwrap();
}

#[test]
fn broken_bundles_name_place_and_remedy() {
    for (body, place, reason) in [
        ("allow if {", "authz.rego:", ""),
        ("allow if undefined_name == 1", "authz.rego:3:", "undefined_name"),
        ("allow if no_such_function(1)", "authz.rego:3:", "no_such_function"),
        ("permit := true", "", "no rule `allow`"),
    ] {
        let folder = bundle(body);
        let error = PolicyEngine::load(folder.path()).expect_err(body);
        assert!(error.place.contains(place) && error.reason.contains(reason), "{error}");
        assert!(!error.remedy.is_empty() && !error.reason.is_empty());
    }
    let folder = bundle("allow := true");
    fs::write(folder.path().join("x.rego"), "package airlock_entry\nallow := true\n").unwrap();
    assert!(PolicyEngine::load(folder.path()).unwrap_err().reason.contains("reserved"));
    let missing = PolicyEngine::load("/nonexistent/policies".as_ref()).unwrap_err();
    assert!(missing.to_string().contains("help: "), "{missing}");
}

#[test]
fn the_shipped_tests_pass() {
    let report = run_tests(&shipped(), TestOptions::default()).unwrap();
    assert_eq!(report.failed().count(), 0, "{:#?}", report.failed().collect::<Vec<_>>());
    assert!(report.passed().count() >= 20, "{report:?}");
}

#[test]
fn failing_tests_are_named() {
    let folder = bundle("default allow := false");
    let tests = "package airlock.authz_test\nimport rego.v1\nimport data.airlock.authz\n\
                 test_good if not authz.allow\ntest_bad if authz.allow\ntest_odd := 3\n\
                 test_broken if count(7) == 1\nhelper := 1\n";
    fs::write(folder.path().join("authz_test.rego"), tests).unwrap();
    let report = run_tests(folder.path(), TestOptions::default()).unwrap();
    let passed: Vec<&str> = report.passed().map(|test| test.name.as_str()).collect();
    assert_eq!(passed, ["airlock.authz_test.test_good"]);
    let names: Vec<&str> = report.failed().map(|test| test.name.rsplit('.').next().unwrap()).collect();
    assert_eq!(names, ["test_bad", "test_broken", "test_odd"]);
}

#[test]
fn the_shipped_policy_serves_the_demonstration() {
    let engine = PolicyEngine::load(&shipped()).unwrap();
    assert_eq!(engine.fallback(), None);
    let alice = principal(Some("acme"), &["mcp.users"]);
    let admin = principal(Some("acme"), &["mcp.admins"]);
    let mallory = principal(Some("acme"), &[]);
    for (subject, tool, allow, rule_id) in [
        (&alice, "search_docs", true, "role.reader"),
        (&alice, "read_file", true, "role.reader"),
        (&alice, "phone_home", false, "default"),
        (&admin, "phone_home", true, "role.operator"),
        (&mallory, "search_docs", false, "no-role"),
    ] {
        let asked = Asked {
            subject,
            method: "tools/call",
            upstream: "docs",
            tool: Some(tool),
            arguments: Some("{}"),
        };
        let decision = asked.of(&engine);
        assert_eq!((decision.allow, &*decision.rule_id), (allow, rule_id), "{} {tool}", subject.subject);
        let listed = Asked { arguments: None, ..asked }.of(&engine);
        assert_eq!(listed.allow, allow, "the list shows what may be called");
    }
    let secret = ask(&engine, r#"{"path": "/secret/key"}"#);
    assert_eq!((secret.allow, &*secret.rule_id), (false, "path-protected"));
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

fn arguments() -> impl Strategy<Value = Option<String>> {
    let value = prop_oneof![
        Just("null".to_owned()),
        Just("7".to_owned()),
        Just("[\"/secret\"]".to_owned()),
        "[a-z./]{0,6}".prop_map(|path| format!("\"{path}\"")),
        prop::sample::select(vec!["/secret/a", "secret", "a/../b", "a/.git/c", "/guide.md"])
            .prop_map(|path| format!("\"{path}\"")),
    ];
    let key = prop::sample::select(vec!["path", "query", "Path"]);
    prop_oneof![
        Just(None),
        Just(Some("null".to_owned())),
        Just(Some("[1]".to_owned())),
        (key, value).prop_map(|(key, value)| Some(format!("{{\"{key}\": {value}}}"))),
    ]
}

proptest! {
    #[test]
    fn bytecode_and_interpreter_agree(
        tenant in prop::option::of(prop::sample::select(vec!["acme", "globex", "evil", ""])),
        groups in prop::sample::subsequence(vec!["mcp.users", "mcp.admins", "staff", ""], 0..4),
        method in prop::sample::select(vec!["tools/call", "tools/list", "ping", "resources/read", "notifications/x", ""]),
        upstream in prop::sample::select(vec!["docs", "billing", "*", ""]),
        tool in prop::option::of(prop_oneof![
            prop::sample::select(vec!["read_file", "search_docs", "write_file", "phone_home", "list_a.b", "list_a/b", "*"])
                .prop_map(str::to_owned),
            "[a-z_*]{0,8}",
        ]),
        arguments in arguments(),
    ) {
        thread_local! {
            static ENGINES: (PolicyEngine, PolicyEngine) =
                (PolicyEngine::load(&shipped()).unwrap(), PolicyEngine::load_interpreted(&shipped()).unwrap());
        }
        let subject = principal(tenant, &groups);
        let asked = Asked { subject: &subject, method, upstream, tool: tool.as_deref(), arguments: arguments.as_deref() };
        ENGINES.with(|(bytecode, interpreter)| {
            let decision = asked.of(bytecode);
            prop_assert_ne!(&*decision.rule_id, ERROR_RULE);
            prop_assert_eq!(decision, asked.of(interpreter));
            Ok(())
        })?;
    }
}
