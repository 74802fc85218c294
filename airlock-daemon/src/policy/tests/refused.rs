//! Bundles that are refused when they are loaded, with place and remedy.

use super::*;

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
