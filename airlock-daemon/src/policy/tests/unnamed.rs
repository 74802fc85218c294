//! A rule without a name is told by file and line.

use super::*;

/// The decision in bytecode and in the interpreter, which must name the same.
fn named(body: &str, arguments: &str) -> (bool, String) {
    let folder = bundle(body);
    let told =
        [PolicyEngine::load(folder.path()), PolicyEngine::load_interpreted(folder.path())].map(|engine| {
            let decision = ask(&engine.unwrap(), arguments);
            (decision.allow, decision.rule_id.to_string())
        });
    assert_eq!(told[0], told[1], "{body}");
    told[0].clone()
}

#[test]
fn what_allows_is_told_by_its_place() {
    let several = "default allow := false\nallow if input.call.arguments.a == 1\nallow if {\n\tx := input.call.arguments.b\n\tx == 1\n}\n\
                   allow := false if input.call.arguments.c\nallow := input.call.arguments.d if input.call.tool";
    for (body, arguments, place) in [
        (several, r#"{"a": 1}"#, "authz.rego:4"),
        (several, r#"{"b": 1}"#, "authz.rego:5"),
        (several, r#"{"d": true}"#, "authz.rego:10"),
        ("allow if {\n\tinput.call.tool\n}", "{}", "authz.rego:3"),
        ("allow := true", "{}", "authz.rego:3"),
        ("allow if input.call.arguments.a\ndefault allow := true", "{}", "authz.rego:4"),
        ("rule_id := \"named\" if input.call.tool\nallow if input.call.tool", "{}", "named"),
    ] {
        assert_eq!(named(body, arguments), (true, place.to_owned()), "{body} with {arguments}");
    }
    assert_eq!(named(several, "{}"), (false, DEFAULT_RULE.to_owned()));
}

#[test]
fn what_denies_is_told_by_its_place() {
    for (body, place) in [
        ("deny contains {\"reason\": \"x\"} if input.call.tool", "authz.rego:4"),
        ("deny contains \"a text\" if input.call.tool", "authz.rego:4"),
        ("deny contains text if text := sprintf(\"not %s\", [input.call.tool])", "authz.rego:4"),
        ("deny contains \"b\" if input.time < 3\ndeny contains \"a\" if input.call.tool", "authz.rego:5"),
        (
            "deny contains \"a\" if input.call.tool\ndeny contains \"a\" if input.call.method",
            "authz.rego:4 or authz.rego:5",
        ),
    ] {
        let told = named(&format!("allow := true\n{body}"), "{}");
        assert_eq!(told, (false, place.to_owned()), "{body}");
    }
    // A reason that is no text is none.
    let engine = load("allow := true\ndeny contains 7").unwrap();
    assert_eq!(&*ask(&engine, "{}").rule_id, ERROR_RULE);
}
