//! Running a bundle's own tests: every rule `test_*` in its `*_test.rego` files must be true.

use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::Duration;

use regorus::Value;
use regorus::utils::limits::ExecutionTimerConfig;

use super::bundle::Bundle;
use super::compile::{gate, parse};
use super::engine::PolicyEngine;
use super::error::PolicyError;
use super::syntax;

/// The longest that one test may take.
const TIME_LIMIT: Duration = Duration::from_secs(10);

/// What the tests of a bundle said.
#[derive(Debug, Default)]
pub struct TestReport {
    /// Tests that are true, as `package.test_name`.
    pub passed: Vec<String>,
    /// Tests that are not, each with what it gave instead.
    pub failed: Vec<(String, String)>,
}

/// Runs all tests of the bundle in the directory `path`. The interpreter runs them, since tests replace `input` by
/// `with`, which bytecode has not.
///
/// # Errors
/// A bundle that does not load, or a test file that does not parse or is recursive.
pub fn run_tests(path: &Path) -> Result<TestReport, PolicyError> {
    let bundle = Bundle::read(path)?;
    // A bundle that the daemon would refuse has no passing tests.
    PolicyEngine::from_bundle(&bundle)?;
    run(&bundle)
}

/// Runs the tests of a bundle that was read and compiled.
pub(super) fn run(bundle: &Bundle) -> Result<TestReport, PolicyError> {
    let mut engine = parse(bundle.policies.iter().chain(&bundle.tests))?;
    gate(&bundle.root, &mut engine)?;
    engine
        .add_data(bundle.data.clone())
        .map_err(|error| PolicyError::from_rego(&bundle.root, &error.to_string()))?;
    engine.set_execution_timer_config(ExecutionTimerConfig {
        limit: TIME_LIMIT,
        check_interval: NonZeroU32::MIN,
    });
    let files: BTreeSet<String> = bundle.tests.iter().map(|test| test.path.display().to_string()).collect();
    let mut names = BTreeSet::new();
    for module in engine.get_modules() {
        if !files.contains(module.package.span.source.file()) {
            continue;
        }
        let package = syntax::static_path(&module.package.refr).join(".");
        for rule in &module.policy {
            if let [name] = syntax::static_path(syntax::head(rule)).as_slice()
                && name.starts_with("test_")
            {
                names.insert(format!("{package}.{name}"));
            }
        }
    }
    let mut report = TestReport::default();
    for name in names {
        // Each test in a fresh clone: a failure or panic of one must not colour the next.
        let mut fresh = engine.clone();
        match catch_unwind(AssertUnwindSafe(|| fresh.eval_rule(format!("data.{name}")))) {
            Ok(Ok(Value::Bool(true))) => report.passed.push(name),
            Ok(Ok(Value::Undefined)) => report.failed.push((name, "undefined".into())),
            Ok(Ok(other)) => report.failed.push((name, format!("gave {other}"))),
            Ok(Err(error)) => report.failed.push((name, error.to_string())),
            Err(_) => report.failed.push((name, "the engine panicked".into())),
        }
    }
    Ok(report)
}
