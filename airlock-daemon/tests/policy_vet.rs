//! A policy that would end the daemon ends a child instead.
#![allow(missing_docs, clippy::unwrap_used)]

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use airlock::policy::PolicyError;
use airlock::policy::reload::{InForce, Options, Reloaded};
use airlock::policy::vet::Vetting;

fn vetting() -> Vetting {
    Vetting::Program(env!("CARGO_BIN_EXE_airlock").into())
}

fn write(folder: &Path, body: &str) {
    fs::write(folder.join("authz.rego"), format!("package airlock.authz\nimport rego.v1\n{body}\n")).unwrap();
}

fn bundle(body: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), body);
    folder
}

fn refused(body: &str) -> PolicyError {
    vetting().load(bundle(body).path()).map(drop).expect_err("a policy that brings its process down")
}

/// Doubles a text with every rule.
fn doubling(first: &str) -> String {
    let mut body = format!("x0 := {first}\n");
    for number in 1..48 {
        writeln!(body, "x{number} := concat(\"\", [x{0}, x{0}])", number - 1).unwrap();
    }
    body.push_str("allow if contains(x47, \"b\")");
    body
}

#[test]
fn the_shipped_policy_is_tried_and_found_good() {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../policies");
    let (engine, findings) = vetting().load(&shipped).unwrap();
    assert_eq!(engine.digest(), findings.digest);
    assert!(engine.is_bytecode() && findings.disagreement.is_none(), "{findings:?}");
    assert!(findings.tests >= 20 && findings.probes > 40, "{findings:?}");
}

#[test]
fn a_policy_that_exhausts_memory_is_refused() {
    let error = refused("allow if count(numbers.range(1, 4000000000)) > 3");
    assert!(error.reason.contains("memory allocation of") && error.reason.contains("exhausts"), "{error}");
    assert!(!error.remedy.is_empty(), "{error}");
}

#[test]
fn a_policy_that_answers_nothing_is_refused() {
    let error = refused(
        "allow if count([1 | some i in numbers.range(1, 3000); some j in numbers.range(1, 3000); i == -j]) > 0",
    );
    assert!(error.reason.contains("answers none"), "{error}");
    // The engine looks at its clock between steps, so memory may end before time does.
    let error = refused(&doubling("\"aaaaaaaaaaaaaaaa\""));
    assert!(["answers none", "exhausts"].iter().any(|reason| error.reason.contains(reason)), "{error}");
    let error = refused("allow if strings.count(\"abc\", \"\") == 1");
    assert!(error.reason.contains("panicked"), "{error}");
}

#[test]
fn a_policy_that_overflows_the_stack_is_refused() {
    let (open, close) = (format!("{}\n", "[".repeat(500)), format!("{}\n", "]".repeat(500)));
    let body = format!("allow if {}1\n{} == 1", open.repeat(200), close.repeat(200));
    let error = refused(&body);
    assert!(error.reason.contains("overflowed its stack"), "{error}");
}

#[test]
fn a_bundle_whose_tests_fail_is_refused() {
    let folder = bundle("default allow := false");
    let tests = "package airlock.authz_test\nimport rego.v1\ntest_open if data.airlock.authz.allow\n";
    fs::write(folder.path().join("authz_test.rego"), tests).unwrap();
    let error = vetting().load(folder.path()).map(drop).unwrap_err();
    assert!(error.reason.contains("test_open"), "{error}");
}

#[test]
fn mistakes_keep_their_place_on_the_way() {
    let error = refused("allow if undefined_name == 1");
    assert!(error.place.ends_with("authz.rego:3:10") && error.reason.contains("undefined_name"), "{error}");
}

#[test]
fn without_a_child_nothing_is_loaded() {
    let folder = bundle("allow := true");
    for (program, says) in [
        ("/nonexistent/airlock", "cannot be started"),
        ("/bin/false", "exit status: 1"),
        ("/bin/true", "report"),
    ] {
        let error = Vetting::Program(program.into()).load(folder.path()).map(drop).unwrap_err();
        assert!(error.reason.contains(says) && !error.remedy.is_empty(), "{error}");
    }
}

#[test]
fn the_policy_in_force_outlives_one_that_would_end_the_process() {
    let folder = bundle("allow := true");
    let policy =
        InForce::start(Options { path: folder.path().to_path_buf(), vetting: vetting(), cache_ttl: None });
    let good = policy.status();
    assert_eq!((good.engine, good.rejections, good.cache.on), ("bytecode", 0, false));
    write(folder.path(), "allow if count(numbers.range(1, 4000000000)) > 3");
    policy.reload_if_other().unwrap_err();
    let status = policy.status();
    assert_eq!((status.digest, status.rejections), (good.digest, 1));
    assert!(status.rejected.unwrap().error.contains("exhausts"));
    write(folder.path(), "allow := false");
    assert_eq!(policy.reload_if_other().unwrap(), Some(Reloaded::Changed));
    assert!(policy.status().rejected.is_none());
}

/// Bytecode skips a loop over what is no collection, and with it this refusal; the interpreter reports an
/// error.
#[test]
fn engines_that_disagree_are_found_out() {
    const DENY: &str = "allow := true\ndeny contains {\"rule_id\": \"r\", \"reason\": \"x\"} if";
    let folder = bundle(&format!("{DENY} {{ some k in input.call.arguments.n; k == \"bad\" }}"));
    let (engine, findings) = vetting().load(folder.path()).unwrap();
    let told = findings.disagreement.unwrap();
    assert!(told.contains("bytecode: allowed") && told.contains("\"n\":"), "{told}");
    assert!(!engine.is_bytecode() && engine.fallback() == Some(told.as_str()), "{engine:?}");
    // A builtin that fails refuses in both; that is no disagreement.
    let folder = bundle(&format!("{DENY} startswith(input.call.tool, \"write_\")"));
    let (engine, findings) = vetting().load(folder.path()).unwrap();
    assert!(engine.is_bytecode() && findings.disagreement.is_none(), "{findings:?}");
    assert!(findings.probes > 100, "{findings:?}");
}

/// Without any other hint, the inputs of the bundle's own tests are what the engines are compared on.
#[test]
fn inputs_of_tests_are_tried() {
    let folder =
        bundle("allow if input.call.arguments.odd == [{\"deep\": 5}]\nallow if input.call.tool == \"x\"");
    let tests = "package airlock.authz_test\nimport rego.v1\nimport data.airlock.authz as policy\n\
                 odd(n) := {\"call\": {\"arguments\": {\"odd\": [{\"deep\": n}]}, \"tool\": null}}\n\
                 test_one if policy.allow with input as odd(5)\n\
                 test_two if not policy.allow with input as odd(6)\n";
    fs::write(folder.path().join("authz_test.rego"), tests).unwrap();
    let (_, findings) = vetting().load(folder.path()).unwrap();
    assert_eq!((findings.tests, findings.errors), (2, 0));
}
