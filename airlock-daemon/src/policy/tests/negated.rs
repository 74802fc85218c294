//! `not` over what may be absent, where the engine and OPA part.

use super::*;

fn error(body: &str) -> Option<PolicyError> {
    let folder = bundle(&format!(
        "allow if {{\n\t{body}\n}}\nf(x) := x\ngives(x) := data.m[x]\nr if input.call.arguments.z"
    ));
    fs::write(folder.path().join("data.json"), r#"{"list": ["a"], "m": {}}"#).unwrap();
    PolicyEngine::load(folder.path()).err()
}

#[test]
fn what_may_be_absent_is_named() {
    for (body, what) in [
        ("not startswith(input.call.arguments.path, \"/secret\")", "input.call.arguments.path"),
        ("not input.call.arguments.x != 1", "input.call.arguments.x"),
        ("not input.call.arguments.x < 5", "input.call.arguments.x"),
        ("not \"a\" in input.call.arguments[\"x\"]", "input.call.arguments.x"),
        ("not startswith(lower(input.call.arguments.x), \"a\")", "input.call.arguments.x"),
        ("not f({\"a\": input.call.arguments.x})", "input.call.arguments.x"),
        ("not [input.call.arguments.x] == [1]", "input.call.arguments.x"),
        ("not input.call.arguments.x + 1 == 2", "input.call.arguments.x"),
        ("not data.m[input.call.arguments.x]", "input.call.arguments.x"),
        ("not data.m[lower(input.call.arguments.x)] == 1", "input.call.arguments.x"),
        ("not startswith(data.other, \"a\")", "data.other"),
        ("not f(r)", "r"),
        ("not f(gives(1))", "gives(1)"),
        ("not min([]) == 1", "min([])"),
        (
            "x := [y | some y in data.list; not startswith(input.call.arguments[y], y)]; x",
            "input.call.arguments[y]",
        ),
        ("every y in data.list { not startswith(input.call.arguments.z, y) }", "input.call.arguments.z"),
        // The proof is about another variable.
        (
            "y := 1; input.call.arguments[y]; every y in data.list { x := y; not startswith(input.call.arguments[x], y) }",
            "input.call.arguments[x]",
        ),
    ] {
        let error = error(body).unwrap_or_else(|| panic!("{body} loads"));
        assert!(error.reason.contains(&format!("`{what}` may be absent")), "{body}: {error}");
        assert!(
            error.place.contains("authz.rego:4:") && error.remedy.contains("bind it first"),
            "{body}: {error}"
        );
    }
}

#[test]
fn what_both_judge_alike_loads() {
    for body in [
        "not input.call.arguments.x",
        "not input.call.arguments.x == 1",
        "not input.call.arguments.x.z",
        "not startswith(input.call.method, \"tools/\")",
        "not input.call.method in data.list",
        "not count([1 | input.call.arguments.x]) == 1",
        "path := input.call.arguments.path; not startswith(path, \"/secret\")",
        "not startswith(input.call.arguments.path, \"/secret\"); is_string(input.call.arguments.path)",
        "is_string(input.call.arguments.p); every y in data.list { not startswith(input.call.arguments.p, y) }",
        "some g in input.subject.groups; not startswith(g, \"x\")",
        "not startswith(object.get(input.call.arguments, \"path\", \"\"), \"/secret\")",
        "not startswith(lower(trim_space(input.call.method)), \"a\")",
        "r; not f(r)",
    ] {
        if let Some(error) = error(body) {
            panic!("{body}: {error}");
        }
    }
    // A rule that always has a value, a parameter, an import.
    let more = "import input.call as c\nallow if { not is_x(c.method); not c.tool in names; not startswith(first, \"x\"); not total in names }\n\
                names contains x if some x in data.list\nfirst := \"a\"\ndefault total := 0\ntotal := 1 if c.tool\n\
                is_x(name) if not startswith(name, \"x\")";
    PolicyEngine::load(bundle(more).path()).unwrap();
}

/// The two forms that the remedy names decide as they say.
#[test]
fn the_remedies_say_what_is_meant() {
    let bound =
        bundle("allow if {\n\tpath := input.call.arguments.path\n\tnot startswith(path, \"/secret\")\n}");
    let filled =
        bundle("allow if not startswith(object.get(input.call.arguments, \"path\", \"\"), \"/secret\")");
    for (folder, without) in [(bound, false), (filled, true)] {
        let engine = PolicyEngine::load(folder.path()).unwrap();
        assert!(!ask(&engine, r#"{"path": "/secret/x"}"#).allow);
        assert!(ask(&engine, r#"{"path": "/public/x"}"#).allow);
        assert_eq!(ask(&engine, "{}").allow, without);
    }
}
