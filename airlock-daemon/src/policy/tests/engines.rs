//! Bytecode and the interpreter decide alike, and what either would get wrong goes to the other or is
//! refused.

use std::fmt::Write as _;

use proptest::prelude::*;

use super::*;

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
