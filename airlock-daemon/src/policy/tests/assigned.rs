//! `:=` without a value ends the body, in both engines.

use super::*;

/// The decisions for a call without arguments, in bytecode and in the interpreter.
fn decisions(body: &str) -> [bool; 2] {
    let folder = bundle(body);
    fs::write(folder.path().join("data.json"), r#"{"m": {"k": 1}}"#).unwrap();
    let bytecode = PolicyEngine::load(folder.path()).unwrap();
    assert_eq!(bytecode.fallback(), None, "{body}");
    let interpreter = PolicyEngine::load_interpreted(folder.path()).unwrap();
    [ask(&bytecode, "{}").allow, ask(&interpreter, "{}").allow]
}

#[test]
fn nothing_holds_behind_an_assignment_without_a_value() {
    for body in [
        "allow if {\n\tpath := input.call.arguments.path\n\tnot startswith(path, \"/secret\")\n}",
        "allow if path := input.call.arguments.path",
        "allow if { _ := input.call.arguments.path }",
        "allow if { path := lower(input.call.arguments.path); true }",
        "allow if { path:=data.m.z; not path }",
        "allow if { path := {\"a\": input.call.arguments.path}; not path.b }",
        "allow if { some g in [1, 2]; x := data.m[g] }",
        "allow if count({g | some g in [1, 2]; x := data.m[g]}) > 0",
        "allow if { x := f(1) }\nf(n) := data.m[n]",
        "allow if \"a\" in set_of\nset_of contains \"a\" if { x := data.m.z }",
        "allow if f(2)\nf(n) if { x := data.m[n] }",
        "allow if { x := absent; not x }\nabsent if input.call.arguments.path",
    ] {
        assert_eq!(decisions(body), [false, false], "{body}");
    }
    for body in [
        "allow if { x := data.m.k; x == 1 }",
        "allow if { x := data.m.k; y := x; y == 1 }",
        "allow if { some g in [\"z\", \"k\"]; x := data.m[g] }",
        "allow if { x := startswith(\"a\", \"b\"); not x }",
        "allow if { x := data.m.k == 2; not x }",
        "allow if { x := data.m.k; count([1 | some y in [1, 2]; y == x]) == 1 }",
    ] {
        assert_eq!(decisions(body), [true, true], "{body}");
    }
}

#[test]
fn a_pattern_of_an_array_fits_arrays_alone() {
    for body in [
        "allow if { [a, b] := data.pair; not startswith(a, \"x\") }",
        "allow if [_, _] := data.pair",
        "allow if { {\"k\": [a, b]} := {\"k\": data.pair}; true }",
        "allow if { [a, b] = data.pair; true }",
        "allow if { some [a, b] in [data.pair]; true }",
        "allow if f(data.pair)\nf([a, b])",
        "allow if every [a, b] in [data.pair] { a == 1 }",
    ] {
        let folder = bundle(body);
        fs::write(folder.path().join("data.json"), r#"{"pair": {"a": 1, "b": 2}}"#).unwrap();
        for engine in [PolicyEngine::load(folder.path()), PolicyEngine::load_interpreted(folder.path())] {
            // A form that cannot be compiled is no hole either.
            let Ok(engine) = engine else { continue };
            assert!(!ask(&engine, "{}").allow, "{body}: {:?}", engine.fallback());
        }
    }
}

#[test]
fn a_name_with_another_meaning_goes_to_the_interpreter() {
    for body in [
        "allow if { r := data.m.z; true }\nr if input.time > 1",
        "allow if f(1)\nf(x) if count([1 | some _ in [1]; x := data.m.z]) == 1",
        "allow if { x := 1; count([1 | some _ in [1]; x := data.m.z]) == x }",
    ] {
        let folder = bundle(body);
        fs::write(folder.path().join("data.json"), r#"{"m": {"k": 1}}"#).unwrap();
        let engine = PolicyEngine::load(folder.path()).unwrap();
        assert!(engine.fallback().is_some_and(|reason| reason.contains("may have no value")), "{body}");
        assert!(!ask(&engine, "{}").allow, "{body}");
    }
}
