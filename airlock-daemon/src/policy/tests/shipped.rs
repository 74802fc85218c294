//! The bundle that ships with the daemon, and the tests that come with a bundle.

use super::*;

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
