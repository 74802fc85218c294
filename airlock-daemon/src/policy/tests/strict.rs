//! A builtin that fails, in both engines.

use super::*;

const DENY: &str = r#"deny contains {"rule_id": "r", "reason": "because"} if"#;

/// The decision of the bundle with these rules in bytecode and in the interpreter, which must be the same.
fn both(body: &str, arguments: &str) -> Decision {
    let folder = bundle(body);
    let bytecode = PolicyEngine::load(folder.path()).unwrap();
    assert_eq!(bytecode.fallback(), None, "{body}");
    let interpreter = PolicyEngine::load_interpreted(folder.path()).unwrap();
    let (one, other) = (ask(&bytecode, arguments), ask(&interpreter, arguments));
    // The interpreter points at the argument, bytecode at the call.
    assert_eq!(one.detail.is_some(), other.detail.is_some(), "{body} with {arguments}");
    assert_eq!(
        Decision { detail: None, ..one.clone() },
        Decision { detail: None, ..other },
        "{body} with {arguments}"
    );
    one
}

#[test]
fn a_builtin_that_fails_refuses_the_call_in_both_engines() {
    let ten_of_a_kind = format!("{DENY} startswith(input.call.arguments.path, \"/secret\")");
    let rows: &[(&str, &str)] = &[
        (&ten_of_a_kind, r#"{"path": ["/secret/x"]}"#),
        (&ten_of_a_kind, r#"{"path": {"a": "/secret/x"}}"#),
        (&ten_of_a_kind, r#"{"path": null}"#),
        (&ten_of_a_kind, r#"{"path": 7}"#),
        (&ten_of_a_kind, r#"{"path": true}"#),
        // Behind `not`, in a loop, in a comprehension, in a helper, in a function, in a value.
        (
            "deny contains {\"rule_id\": \"r\", \"reason\": \"x\"} if not ok\nok if endswith(input.call.arguments.path, \".txt\")",
            r#"{"path": [".txt"]}"#,
        ),
        (
            "deny contains {\"rule_id\": \"r\", \"reason\": \"x\"} if { some p in input.call.arguments.l; lower(p) == \"b\" }",
            r#"{"l": ["a", 1]}"#,
        ),
        (
            "deny contains {\"rule_id\": \"r\", \"reason\": \"x\"} if count({1 | some p in input.call.arguments.l; lower(p) == \"b\"}) > 0",
            r#"{"l": ["a", 1]}"#,
        ),
        (
            "deny contains {\"rule_id\": \"r\", \"reason\": \"x\"} if f(input.call.arguments.path)\nf(p) if regex.match(\"^/secret\", p)",
            r#"{"path": ["/secret"]}"#,
        ),
        (
            "deny contains {\"rule_id\": \"r\", \"reason\": upper(input.call.arguments.path)}",
            r#"{"path": 1}"#,
        ),
        // A pattern that is none, and a text that is no number.
        (
            "deny contains {\"rule_id\": \"r\", \"reason\": \"x\"} if regex.match(input.call.arguments.path, \"/secret\")",
            r#"{"path": "("}"#,
        ),
        (
            "deny contains {\"rule_id\": \"r\", \"reason\": \"x\"} if to_number(input.call.arguments.path) > 5",
            r#"{"path": "x"}"#,
        ),
        // The entrypoint of the decision, and the demand on the token.
        ("rule_id := lower(input.call.arguments.path)", r#"{"path": 1}"#),
        ("obligations := {\"scopes\": split(input.call.arguments.path, \" \")}", r#"{"path": 1}"#),
    ];
    for (rule, arguments) in rows {
        let decision = both(&format!("allow := true\n{rule}"), arguments);
        assert_eq!((decision.allow, &*decision.rule_id), (false, ERROR_RULE), "{rule} with {arguments}");
        assert!(both(&format!("allow := true\n{rule}"), "{}").detail.is_none(), "{rule}: nothing failed");
    }
    for (arguments, rule_id) in
        [(r#"{"path": "/secret/x"}"#, Some("r")), (r#"{"path": "/ok"}"#, None), ("{}", None)]
    {
        let decision = both(&format!("allow := true\n{ten_of_a_kind}"), arguments);
        assert_eq!((!decision.allow).then_some(&*decision.rule_id), rule_id, "{arguments}");
    }
}

#[test]
fn on_the_side_of_allow_a_failure_opens_nothing() {
    for body in [
        "allow if startswith(input.call.arguments.path, \"/public\")",
        "allow if { path := input.call.arguments.path; not startswith(path, \"/secret\") }",
        "default allow := true\nallow := false if startswith(input.call.arguments.path, \"/secret\")",
        // Whichever stands first.
        "allow if input.call.tool == \"read_file\"\nallow if startswith(input.call.arguments.path, \"/public\")",
        "allow if startswith(input.call.arguments.path, \"/public\")\nallow if input.call.tool == \"read_file\"",
    ] {
        let decision = both(body, r#"{"path": ["/public", "/secret"]}"#);
        assert_eq!((decision.allow, &*decision.rule_id), (false, ERROR_RULE), "{body}");
    }
    assert!(
        both(
            "allow if { path := input.call.arguments.path; not startswith(path, \"/secret\") }",
            r#"{"path": "/a"}"#
        )
        .allow
    );
}

#[test]
fn a_failure_is_told_with_its_place_and_without_values() {
    let folder = bundle("allow := true\nx := lower(\"A\")");
    fs::write(
        folder.path().join("deny.rego"),
        format!("package airlock.authz\nimport rego.v1\n\n{DENY} {{\n\tinput.call.tool\n\tstartswith(input.call.arguments.path, \"/secret\")\n}}\n"),
    )
    .unwrap();
    for engine in [PolicyEngine::load(folder.path()), PolicyEngine::load_interpreted(folder.path())] {
        let engine = engine.unwrap();
        let decision = ask(&engine, r#"{"path": ["hunter2"]}"#);
        let detail = decision.detail.as_deref().unwrap();
        assert!(detail.contains("deny.rego:6:") && detail.contains("`startswith`"), "{detail}");
        assert!(!detail.contains("hunter2"), "{detail}");
        // The client is not told where the policy stands.
        assert!(!decision.reason.contains("rego"), "{}", decision.reason);
        // The next decision is none the worse for it.
        assert!(ask(&engine, r#"{"path": "/ok"}"#).allow);
    }
}

#[test]
fn the_limits_are_still_limits() {
    let body = "allow if count([1 | some i in numbers.range(1, 3000); some j in numbers.range(1, 3000); i != j]) > 0";
    let decision = ask(&load(body).unwrap(), "{}");
    let detail = decision.detail.as_deref().unwrap();
    assert!(detail.contains("limit") && !detail.contains("wrong type"), "{detail}");
}
