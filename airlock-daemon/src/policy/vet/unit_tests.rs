//! Running a bundle's own tests: every rule `test_*` in its `*_test.rego` files must be true.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::{Duration, Instant};

use regorus::unstable::{Literal, LiteralStmt, Module, Ref};
use regorus::utils::limits::ExecutionTimerConfig;
use regorus::{Engine, Value};
use serde::Serialize;

use super::coverage::{Coverage, Lines};
use crate::policy::bundle::Bundle;
use crate::policy::document::decision::ERROR_RULE;
use crate::policy::engine::PolicyEngine;
use crate::policy::engine::compile::{gate, parse};
use crate::policy::error::PolicyError;
use crate::policy::syntax::probe::{self, Definition, Outcome, PolicyPiece, Probes};
use crate::policy::syntax::reads::Reads;
use crate::policy::syntax::{self, strict};

/// The longest that one test may take.
const TIME_LIMIT: Duration = Duration::from_secs(10);

/// The tests to run, and how.
#[derive(Debug, Clone, Copy, Default)]
pub struct TestOptions<'a> {
    /// Only tests whose name, as `package.test_name`, contains this.
    pub filter: Option<&'a str>,
    /// Also find out what of the policy the tests reach.
    pub coverage: bool,
}

/// The results of a bundle's tests.
#[derive(Debug, Default, Serialize)]
pub struct TestReport {
    /// All that ran, by name.
    pub tests: Vec<TestResult>,
    /// The lines that they reached, where that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub coverage: Option<Coverage>,
}

/// The result of one test.
#[derive(Debug, Serialize)]
pub struct TestResult {
    /// `package.test_name`.
    pub name: String,
    /// Where its rule stands.
    pub source: PolicyPiece,
    /// True where it is true.
    pub passed: bool,
    /// The value that it gave instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcome: Option<String>,
    /// The expression that was not true, where one alone can be named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failed_at: Option<PolicyPiece>,
    /// How long it took, in microseconds.
    pub micros: u64,
}

impl TestReport {
    /// Those that are true.
    pub fn passed(&self) -> impl Iterator<Item = &TestResult> {
        self.tests.iter().filter(|test| test.passed)
    }

    /// Those that are not.
    pub fn failed(&self) -> impl Iterator<Item = &TestResult> {
        self.tests.iter().filter(|test| !test.passed)
    }
}

/// Runs the tests of the bundle in the directory `path`. The interpreter runs them, since tests replace
/// `input` by `with`, which bytecode has not.
///
/// # Errors
/// A bundle that does not load, or a test file that does not parse or is recursive.
pub fn run_tests(path: &Path, options: TestOptions<'_>) -> Result<TestReport, PolicyError> {
    let bundle = Bundle::read(path)?;
    // A bundle that the daemon would refuse has no passing tests.
    PolicyEngine::from_bundle(&bundle)?;
    run(&bundle, options)
}

/// Runs the tests of a bundle that was read and compiled.
///
/// # Errors
/// A test file that does not parse, or holds what no policy may.
pub(in crate::policy) fn run(bundle: &Bundle, options: TestOptions<'_>) -> Result<TestReport, PolicyError> {
    run_unshown(bundle, options).map_err(|error| bundle.show(error))
}

fn run_unshown(bundle: &Bundle, options: TestOptions<'_>) -> Result<TestReport, PolicyError> {
    let mut engine = parse(bundle.policies.iter().chain(&bundle.tests))?;
    gate(&bundle.root, &mut engine)?;
    refuse_unheard(engine.get_modules())?;
    engine
        .add_data(bundle.data.clone())
        .map_err(|error| PolicyError::from_rego(&bundle.root, &error.to_string()))?;
    engine.set_execution_timer_config(ExecutionTimerConfig {
        limit: TIME_LIMIT,
        check_interval: NonZeroU32::MIN,
    });
    engine.set_enable_coverage(options.coverage);
    let mut tests = find(&mut engine, bundle);
    if let Some(filter) = options.filter {
        tests.retain(|name, _| name.contains(filter));
    }
    let mut lines = Lines::default();
    let mut report = TestReport::default();
    for (name, source) in tests {
        // Each test in a fresh clone: a failure or panic of one must not colour the next.
        let mut fresh = engine.clone();
        let begin = Instant::now();
        let given = catch_unwind(AssertUnwindSafe(|| fresh.eval_rule(format!("data.{name}"))));
        let micros = u64::try_from(begin.elapsed().as_micros()).unwrap_or(u64::MAX);
        let outcome = match given {
            Ok(Ok(Value::Bool(true))) => None,
            Ok(Ok(Value::Undefined)) => Some("undefined".into()),
            Ok(Ok(other)) => Some(format!("gave {other}")),
            // Where it comes from the policy, the call would be refused by `policy_error`.
            Ok(Err(error)) => Some(format!(
                "an error, which would refuse the call as `{ERROR_RULE}`: {}",
                strict::failure_of_interpreter(&error.to_string())
            )),
            Err(_) => Some("the engine panicked".into()),
        };
        if options.coverage {
            lines.add(&fresh);
        }
        report.tests.push(TestResult {
            name,
            source,
            passed: outcome.is_none(),
            outcome,
            failed_at: None,
            micros,
        });
    }
    if report.failed().next().is_some() {
        point_at_failures(&mut engine, &mut report);
    }
    report.coverage = options.coverage.then(|| lines.report(bundle, &mut engine));
    Ok(report)
}

/// Refuses `some x in y with input as z`: the engine evaluates `y` without the `with`, so such a test tells
/// nothing.
fn refuse_unheard(modules: &[Ref<Module>]) -> Result<(), PolicyError> {
    let mut found = None;
    for rule in modules.iter().flat_map(|module| &module.policy) {
        syntax::queries(rule, &mut |query| {
            let unheard = |statement: &&LiteralStmt| {
                matches!(statement.literal, Literal::SomeIn { .. }) && !statement.with_mods.is_empty()
            };
            found =
                found.take().or_else(|| query.stmts.iter().find(unheard).map(|it| syntax::place(&it.span)));
        });
    }
    found.map_or(Ok(()), |place| {
        Err(PolicyError::new(
            place,
            "`with` after `some … in` is not heard by the engine",
            "bind the collection first (`all := … with input as …`), then say `some x in all`",
        ))
    })
}

/// The tests by name, with the place of each one's first rule.
fn find(engine: &mut Engine, bundle: &Bundle) -> BTreeMap<String, PolicyPiece> {
    let files: Vec<String> = bundle.tests.iter().map(|test| test.path.display().to_string()).collect();
    let mut found = BTreeMap::new();
    for module in engine.get_modules() {
        if !files.contains(module.package.span.source.file()) {
            continue;
        }
        let package = syntax::static_path(&module.package.refr).join(".");
        for rule in &module.policy {
            if let [name] = syntax::static_path(syntax::head(rule)).as_slice()
                && name.starts_with("test_")
            {
                found.entry(format!("{package}.{name}")).or_insert_with(|| PolicyPiece::line(rule.span()));
            }
        }
    }
    found
}

/// Finds for each failed test with one body the expression that is not true.
fn point_at_failures(engine: &mut Engine, report: &mut TestReport) {
    let modules = engine.get_modules();
    let mut all = probe::definitions(modules, &Reads::new(modules));
    for test in report.tests.iter_mut().filter(|test| !test.passed) {
        let (bodies, others): (Vec<Definition>, _) = all.into_iter().partition(|it| it.rule == test.name);
        all = others;
        if bodies.len() != 1 {
            continue;
        }
        // The engine is in an unknown state after a panic, and a clone of its own is all that is lost.
        let found = catch_unwind(AssertUnwindSafe(|| Probes::new(engine, bodies).outcomes(None)));
        if let Ok(outcomes) = found
            && let Some(Outcome::Failed(_, place) | Outcome::Erred(_, place, _)) = outcomes.into_iter().next()
        {
            test.failed_at = Some(place);
        }
    }
}
