//! A name that no input document has is an error at load.

use super::*;

/// The error of a bundle with these rules, or nothing where it loads.
fn error(body: &str) -> Option<PolicyError> {
    PolicyEngine::load(bundle(&format!("allow if input.call.method == \"ping\"\n{body}")).path()).err()
}

/// The error of a bundle with these rules in a test file.
fn error_in_tests(body: &str) -> Option<PolicyError> {
    let folder = bundle("default allow := false");
    let head = "package airlock.authz_test\nimport rego.v1\nimport data.airlock.authz\n";
    fs::write(folder.path().join("authz_test.rego"), format!("{head}{body}\n")).unwrap();
    let report = run_tests(folder.path(), TestOptions::default());
    report.err()
}

#[test]
fn a_misspelt_path_is_an_error_with_what_is_meant() {
    let deny = "deny contains {\"rule_id\": \"r\", \"reason\": \"x\"} if ";
    let rows = [
        ("startswith(input.call.argument.path, \"/secret\")", "argument", "did you mean `arguments`?"),
        ("input.cal.tool == \"x\"", "cal", "did you mean `call`?"),
        ("input[\"call\"][\"tol\"] == \"x\"", "tol", "did you mean `tool`?"),
        ("input.subject.group[_] == \"x\"", "group", "did you mean `groups`?"),
        ("{ c := input.call; c.argument.path == \"x\" }", "argument", "did you mean `arguments`?"),
        ("{ c = input.call; c.argument.path == \"x\" }", "argument", "did you mean `arguments`?"),
        ("{ a := c.argument; c := input.call; a == 1 }", "argument", "did you mean `arguments`?"),
        ("{ some x in [1 | input.call.toool == \"x\"]; x }", "toool", "did you mean `tool`?"),
        ("count({x | some x in input.subject.groupss}) > 1", "groupss", "did you mean `groups`?"),
        ("{ every g in input.subject.roles { g } }", "roles", "`airlock policy input`"),
        ("{ every g in [input.client] { g.ip } ; input.client.ip }", "ip", "`airlock policy input`"),
        ("not input.call.tool.name == \"x\"", "name", "`airlock policy input`"),
        ("{ some g in input.subject.groups; g.name == \"x\" }", "name", "`airlock policy input`"),
        ("{ some g in input.subject.tenant; g }", "nothing in it", "`airlock policy input`"),
        ("{ {\"tol\": t} = input.call; t }", "tol", "did you mean `tool`?"),
        ("object.get(input, [\"call\", \"argument\", \"path\"], \"\") == \"x\"", "argument", "did you mean"),
        ("object.get(input.call, \"argument\", {}).path == \"x\"", "argument", "did you mean"),
        ("is_bad(input.call)\nis_bad(c) if c.argument.path == \"x\"", "argument", "did you mean"),
        ("called.argument.path == \"x\"\ncalled := input.call", "argument", "did you mean"),
        ("data.airlock.authz.called.argument == \"x\"\ncalled := input.call", "argument", "did you mean"),
        ("picked(input).argument == \"x\"\npicked(i) := i.call", "argument", "did you mean"),
        ("input.call.method == \"x\" with input.call.metod as \"x\"", "metod", "did you mean `method`?"),
    ];
    for (body, name, remedy) in rows {
        let error = error(&format!("{deny}{body}")).unwrap_or_else(|| panic!("{body} loads"));
        assert!(error.reason.contains(name) && error.remedy.contains(remedy), "{body}: {error}");
        assert!(error.place.contains("authz.rego:"), "{body}: {error}");
    }
    let shown = error(&format!("{deny}{}", rows[0].0)).unwrap();
    let column = deny.len() + "startswith(input.call.".len() + 1;
    assert!(shown.place.ends_with(&format!("authz.rego:4:{column}")), "{shown}");
    assert!(shown.diagnostic().to_string().contains("^^^^^^^^^"), "{}", shown.diagnostic());
    // An import gives it another name, or is wrong itself.
    for import in ["import input.call as c\nx if c.argument", "import input.cal as c\nx if c.tool"] {
        let folder = bundle("default allow := false");
        fs::write(
            folder.path().join("more.rego"),
            format!("package tenants.acme\nimport rego.v1\n{import}\n"),
        )
        .unwrap();
        let error = PolicyEngine::load(folder.path()).unwrap_err();
        assert!(error.place.contains("more.rego:") && error.remedy.contains("did you mean"), "{error}");
    }
}

#[test]
fn what_may_be_right_loads() {
    for body in [
        "x if input.call.arguments.anything.below[0].it == 1",
        "x if input.subject.claims[\"https://idp/x\"].y[_] == 1",
        "x if { some k, v in input.call.arguments; v == k }",
        "x if { some k; input.call[k] == \"x\" }",
        "x if { some part in input.call; part.anything_that_arguments_may_have }",
        "x if { i := input.subject.groups[0]; i == \"x\" }",
        // One of the two has it.
        "x if f(input.call)\nx if f(input.client)\nf(p) if p.uid == 1\nf(p) if p.tool == \"x\"",
        // It may be something else.
        "x if f(input.call)\nx if f({\"argument\": 1})\nf(p) if p.argument == 1",
        "c := input.call if input.time > 3\nc := {\"argument\": 1} if input.time <= 3\nx if c.argument == 1",
        "x if { c := data.call; c.argument == 1 }",
        // A variable of the same name is another one.
        "x if { c := input.call; c.tool }\ny if { some c in data.list; c.argument }",
        "x(input_) if input_.argument",
        "x if { [path, value] := walk(input); path[0] == \"argument\"; value.argument }",
        "x if { some c; walk(input, [_, c]); c.argument }",
        "never_called(c) if c.argument",
    ] {
        if let Some(error) = error(body) {
            panic!("{body}: {error}");
        }
    }
}

#[test]
fn a_misspelt_document_in_a_test_is_an_error() {
    let rows = [
        ("test_x if not authz.allow with input as {\"call\": {\"argument\": {}}}", "argument"),
        ("test_x if not authz.allow with input.call as {\"argument\": {}}", "argument"),
        ("test_x if not authz.allow with input.call.argument as {}", "argument"),
        ("test_x if { doc := {\"cal\": {}}; not authz.allow with input as doc }", "cal"),
        ("doc := {\"cal\": {}}\ntest_x if not authz.allow with input as doc", "cal"),
        ("doc(c) := {\"call\": c}\ntest_x if not authz.allow with input as doc({\"tol\": \"x\"})", "tol"),
        (
            "doc(c) := {\"call\": c}\ntest_x if not authz.allow with input as object.union(doc({}), {\"cliet\": {}})",
            "cliet",
        ),
        ("test_x if not input.call.toool == \"x\"", "toool"),
    ];
    for (body, name) in rows {
        let error = error_in_tests(body).unwrap_or_else(|| panic!("{body} loads"));
        assert!(error.place.contains("authz_test.rego:"), "{body}: {error}");
        assert!(error.reason.contains(name), "{body}: {error}");
    }
    for body in [
        "test_x if not authz.allow with input as {}",
        "test_x if not authz.allow with input as {\"call\": {\"arguments\": {\"argument\": 1}}}",
        "test_x if not authz.allow with data.tenants as {\"anything\": 1}",
        "doc(c) := {\"call\": c}\ntest_x if not authz.allow with input as doc(data.call)",
    ] {
        assert_eq!(error_in_tests(body), None, "{body}");
    }
}
