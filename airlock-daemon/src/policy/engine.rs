//! Asking a compiled policy, from any number of workers, and never with a yes by accident.

use std::cell::RefCell;
use std::num::NonZeroU32;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use regorus::rvm::vm::RegoVM;
use regorus::utils::limits::ExecutionTimerConfig;
use regorus::{Engine, Value};

use super::bundle::Bundle;
use super::compile::{Compiled, ENTRY_POINT, compile};
use super::decision::{Decision, Question};
use super::error::PolicyError;
use super::{input, unit_tests};
use crate::auth::principal::Principal;

/// The longest that one decision may take.
const TIME_LIMIT: Duration = Duration::from_millis(50);
/// How many steps pass between two looks at the clock.
const CHECK_INTERVAL: NonZeroU32 = NonZeroU32::new(64).unwrap();
/// The most instructions of one decision.
const MAX_INSTRUCTIONS: usize = 2_000_000;
/// Policies that a worker keeps warm: the current one and its predecessors while calls are still in flight.
const WARM: usize = 4;

thread_local! {
    static RUNNERS: RefCell<Vec<(u64, Runner)>> = const { RefCell::new(Vec::new()) };
}

/// A compiled bundle, shared by all workers; each worker runs it in a machine of its own.
pub struct PolicyEngine {
    generation: u64,
    compiled: Compiled,
    digest: String,
    fallback: Option<String>,
}

impl std::fmt::Debug for PolicyEngine {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("PolicyEngine")
            .field("generation", &self.generation)
            .field("digest", &self.digest)
            .field("fallback", &self.fallback)
            .finish_non_exhaustive()
    }
}

impl PolicyEngine {
    /// Loads and compiles the bundle in the directory `path`: all `*.rego` except `*_test.rego`, and
    /// `data.yaml`, `data.yml` or `data.json` at its top level.
    ///
    /// # Errors
    /// Names file, line and column where there are such, the reason and the remedy.
    pub fn load(path: &Path) -> Result<Self, PolicyError> {
        Self::from_bundle(&Bundle::read(path)?)
    }

    /// As [`PolicyEngine::load`], and runs the bundle's own tests: what is to take the place of a policy in force must pass
    /// them.
    ///
    /// # Errors
    /// As [`PolicyEngine::load`], or the first test that fails.
    pub fn load_tested(path: &Path) -> Result<Self, PolicyError> {
        let bundle = Bundle::read(path)?;
        let engine = Self::from_bundle(&bundle)?;
        match unit_tests::run(&bundle, unit_tests::TestOptions::default())?.failed().next() {
            None => Ok(engine),
            Some(test) => Err(PolicyError::new(
                format!("{}:{}", test.source.file, test.source.line),
                format!(
                    "the bundle's own test {} fails: {}",
                    test.name,
                    test.outcome.as_deref().unwrap_or("not true")
                ),
                "correct the rule or the test; `airlock policy test` shows all of them",
            )),
        }
    }

    pub(super) fn from_bundle(bundle: &Bundle) -> Result<Self, PolicyError> {
        let (compiled, fallback) = compile(bundle)?;
        if let Some(reason) = &fallback {
            tracing::warn!(
                %reason,
                digest = bundle.digest,
                "the policy runs in the interpreter, which takes about four times as long"
            );
        }
        Ok(Self::new(compiled, bundle.digest.clone(), fallback))
    }

    /// The bundle at `path` in the interpreter, whether it needs it or not.
    #[cfg(test)]
    pub(super) fn load_interpreted(path: &Path) -> Result<Self, PolicyError> {
        let bundle = Bundle::read(path)?;
        Ok(Self::new(
            super::compile::interpreted(&bundle)?,
            bundle.digest,
            Some("a test asked for it".into()),
        ))
    }

    fn new(compiled: Compiled, digest: String, fallback: Option<String>) -> Self {
        static GENERATIONS: AtomicU64 = AtomicU64::new(0);
        let generation = GENERATIONS.fetch_add(1, Ordering::Relaxed);
        Self { generation, compiled, digest, fallback }
    }

    /// Decides one call. Never panics; whatever goes wrong is a refusal with the rule id `policy_error`.
    pub fn decide(&self, question: &Question<'_>) -> Decision {
        // A runner that panicked or failed is not put back: its state is unknown.
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            let mut runner = self.take_runner()?;
            let decision = runner.ask(question)?;
            self.keep_runner(runner);
            Ok(decision)
        }));
        let problem: String = match outcome {
            Ok(Ok(decision)) => return decision,
            Ok(Err(problem)) => problem,
            Err(_) => "the policy engine panicked".into(),
        };
        tracing::error!(
            %problem,
            digest = self.digest,
            method = question.call.method,
            upstream = question.call.upstream,
            "the policy could not decide; the call is refused"
        );
        Decision::unanswered()
    }

    /// SHA-256 over names and contents of all files that take part in decisions, in hex.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// Why this policy runs in the slower interpreter; `None` where it runs as bytecode.
    pub fn fallback(&self) -> Option<&str> {
        self.fallback.as_deref()
    }

    fn take_runner(&self) -> Result<Runner, String> {
        let warm = RUNNERS.try_with(|runners| {
            let mut runners = runners.borrow_mut();
            let position = runners.iter().position(|(generation, _)| *generation == self.generation)?;
            Some(runners.remove(position).1)
        });
        match warm {
            Ok(Some(runner)) => Ok(runner),
            _ => Runner::new(&self.compiled),
        }
    }

    fn keep_runner(&self, runner: Runner) {
        // Fails only while the thread ends, when nothing needs keeping.
        let _ = RUNNERS.try_with(|runners| {
            let mut runners = runners.borrow_mut();
            if runners.len() == WARM {
                runners.remove(0);
            }
            runners.push((self.generation, runner));
        });
    }
}

/// One worker's machine.
struct Runner {
    machine: Machine,
    /// The subject asked about last, with its document: a list asks about the same one many times.
    subject: Option<(Principal, Value)>,
}

enum Machine {
    Bytecode(Box<RegoVM>),
    Interpreter(Box<Engine>),
}

impl Runner {
    fn new(compiled: &Compiled) -> Result<Self, String> {
        let timer = ExecutionTimerConfig { limit: TIME_LIMIT, check_interval: CHECK_INTERVAL };
        let machine = match compiled {
            Compiled::Bytecode { program, data } => {
                let mut vm = Box::new(RegoVM::new());
                vm.load_program(program.clone());
                vm.set_data(data.clone()).map_err(|error| error.to_string())?;
                vm.set_max_instructions(MAX_INSTRUCTIONS);
                vm.set_execution_timer_config(Some(timer));
                Machine::Bytecode(vm)
            }
            Compiled::Interpreter(prepared) => {
                let mut engine = prepared.clone();
                engine.set_execution_timer_config(timer);
                Machine::Interpreter(engine)
            }
        };
        Ok(Self { machine, subject: None })
    }

    fn ask(&mut self, question: &Question<'_>) -> Result<Decision, String> {
        let subject = match &self.subject {
            Some((principal, document)) if principal == question.subject => document.clone(),
            _ => {
                let document = input::subject(question.subject);
                self.subject = Some((question.subject.clone(), document.clone()));
                document
            }
        };
        let document = input::document(subject, question)?;
        let output = match &mut self.machine {
            Machine::Bytecode(vm) => {
                vm.set_input(document);
                let output = vm.execute_entry_point_by_index(0).map_err(|error| error.to_string());
                // What a client sent is not kept any longer than the decision takes.
                vm.set_input(Value::Null);
                output?
            }
            Machine::Interpreter(engine) => {
                engine.set_input(document);
                let output = engine.eval_rule(ENTRY_POINT.to_owned()).map_err(|error| error.to_string());
                engine.set_input(Value::Null);
                output?
            }
        };
        Decision::from_output(&output)
    }
}
