//! Asking a compiled policy, from any number of workers, and never with a yes by accident.

pub(super) mod cache;
pub(super) mod compile;

use std::cell::RefCell;
use std::num::NonZeroU32;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use regorus::rvm::vm::{RegoVM, VmError};
use regorus::utils::limits::ExecutionTimerConfig;
use regorus::{Engine, LimitError, Value};
use rustix::time::{ClockId, clock_gettime};
use serde_json::value::RawValue;

use self::cache::{Counts, Plan};
use self::compile::{Built, Compiled, ENTRY_POINT, compile, interpreted, refuse_in_interpreter};
use super::bundle::Bundle;
use super::document::decision::{Decision, ERROR_RULE, Question};
use super::document::input;
use super::error::PolicyError;
use super::lint::clear::{self, ArgumentsRead, Clarity, Unclear};
use super::syntax::depends::Depends;
use super::syntax::strict::{self, Calls};
use super::syntax::unnamed::Unnamed;

/// The longest that one decision may take.
const TIME_LIMIT: Duration = Duration::from_millis(50);
/// How often a decision is made again that was late for want of a processor.
const MOST_REPEATS: usize = 8;
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
    /// Nothing where there is no good policy: then everything is refused.
    compiled: Option<Compiled>,
    digest: String,
    fallback: Option<String>,
    reads: Depends,
    arguments: ArgumentsRead,
    unnamed: Arc<Unnamed>,
    cache: Option<Plan>,
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

    /// Compiles a bundle that was read.
    pub(super) fn from_bundle(bundle: &Bundle) -> Result<Self, PolicyError> {
        Ok(Self::new(compile(bundle)?, bundle.digest.clone()))
    }

    /// The bundle in the interpreter, because of `reason`, although bytecode could run it.
    ///
    /// # Errors
    /// The construct that the interpreter gets wrong.
    pub(super) fn interpreted(bundle: &Bundle, reason: &str) -> Result<Self, PolicyError> {
        refuse_in_interpreter(bundle, reason)?;
        Ok(Self::new(interpreted(bundle, reason)?, bundle.digest.clone()))
    }

    /// The bundle in the interpreter, to compare with bytecode.
    ///
    /// # Errors
    /// As [`PolicyEngine::load`].
    pub(super) fn to_compare(bundle: &Bundle) -> Result<Self, PolicyError> {
        Ok(Self::new(interpreted(bundle, "it is there to compare")?, bundle.digest.clone()))
    }

    /// The bundle at `path` in the interpreter, whether it needs it or not.
    #[cfg(test)]
    pub(super) fn load_interpreted(path: &Path) -> Result<Self, PolicyError> {
        let bundle = Bundle::read(path)?;
        Ok(Self::new(interpreted(&bundle, "a test asked for it")?, bundle.digest))
    }

    /// The stand-in for a policy where there is no good one: it refuses everything, with the rule id
    /// `no_policy`.
    pub fn none() -> Self {
        Self {
            generation: generation(),
            compiled: None,
            digest: "none".into(),
            fallback: None,
            reads: Depends::default(),
            arguments: ArgumentsRead::default(),
            unnamed: Arc::default(),
            cache: None,
        }
    }

    fn new(built: Built, digest: String) -> Self {
        Self {
            generation: generation(),
            compiled: Some(built.compiled),
            digest,
            fallback: built.fallback,
            reads: built.reads,
            arguments: built.arguments,
            unnamed: Arc::new(built.unnamed),
            cache: None,
        }
    }

    /// Keeps decisions for `ttl`, unless the policy reads the clock or chance. Found and missed ones are
    /// counted in `counts`.
    #[must_use]
    pub fn with_cache(mut self, ttl: Option<Duration>, counts: &Arc<Counts>) -> Self {
        self.cache = ttl.filter(|_| self.compiled.is_some() && self.reads.fickle.is_none()).map(|ttl| Plan {
            generation: self.generation,
            ttl,
            reads: self.reads.clone(),
            counts: Arc::clone(counts),
        });
        self
    }

    /// Decides one call, or finds the decision that was made for the same question before. Never panics;
    /// whatever goes wrong is a refusal with the rule id `policy_error`.
    pub fn decide(&self, question: &Question<'_>) -> Decision {
        let Some(plan) = &self.cache else { return self.ask(question) };
        let Some(key) = plan.key(question) else { return self.ask(question) };
        let (tenant, now) = (question.subject.tenant.as_deref(), Instant::now());
        if let Some(decision) = plan.find(tenant, &key, now) {
            return decision;
        }
        let decision = self.ask(question);
        // An answer that failed once (a limit of time, for one) may come the next time.
        if &*decision.rule_id != ERROR_RULE {
            plan.keep(tenant, key, &decision, now);
        }
        decision
    }

    /// Decides one call anew.
    fn ask(&self, question: &Question<'_>) -> Decision {
        self.try_ask(question).unwrap_or_else(|problem| {
            // A client that may call may bring it about, and not fill the log with it: each such call is on
            // record.
            if is_due() {
                tracing::error!(
                    %problem,
                    digest = self.digest,
                    method = question.call.method,
                    upstream = question.call.upstream,
                    "the policy could not decide; the call is refused"
                );
            }
            Decision::unanswered(&problem)
        })
    }

    /// Decides one call anew.
    ///
    /// # Errors
    /// Why the policy could not, for the log.
    pub(super) fn try_ask(&self, question: &Question<'_>) -> Result<Decision, String> {
        self.run(|runner| runner.ask(question))
    }

    /// Looks for what two readers of these arguments would understand differently, before anything is decided
    /// about them.
    ///
    /// # Errors
    /// The first such place.
    pub fn clear(&self, arguments: &RawValue, clarity: Clarity) -> Result<(), Unclear> {
        clear::check(arguments, &self.arguments, clarity)
    }

    /// SHA-256 over names and contents of all files that take part in decisions, in hex.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// Why this policy runs in the slower interpreter; `None` where it runs as bytecode.
    pub fn fallback(&self) -> Option<&str> {
        self.fallback.as_deref()
    }

    /// True where there is a policy at all.
    pub fn is_policy(&self) -> bool {
        self.compiled.is_some()
    }

    /// True where it runs as bytecode.
    pub fn is_bytecode(&self) -> bool {
        matches!(self.compiled, Some(Compiled::Bytecode { .. }))
    }

    /// Why no decision of this policy may be kept; `None` where they may.
    pub fn fickle(&self) -> Option<&str> {
        self.reads.fickle.as_deref()
    }

    /// Decides about a whole input document.
    ///
    /// # Errors
    /// As [`PolicyEngine::try_ask`].
    pub(super) fn try_document(&self, document: &Value) -> Result<Decision, String> {
        self.run(|runner| runner.judge(document.clone()))
    }

    /// Lets a runner do something. The engine's limit goes by the clock on the wall, which runs on while this
    /// thread waits for a processor: a decision that met the limit and had little of a processor is made
    /// again.
    fn run(&self, act: impl Fn(&mut Runner) -> Result<Decision, Unanswered>) -> Result<Decision, String> {
        let mut outcome = self.run_once(&act);
        for _ in 0..MOST_REPEATS {
            if !outcome.as_ref().is_err_and(|unanswered| unanswered.is_late) {
                break;
            }
            let before = processor_time();
            outcome = self.run_once(&act);
            if processor_time().saturating_sub(before) > TIME_LIMIT / 2 {
                break;
            }
        }
        outcome.map_err(|unanswered| unanswered.problem)
    }

    fn run_once(
        &self,
        act: &impl Fn(&mut Runner) -> Result<Decision, Unanswered>,
    ) -> Result<Decision, Unanswered> {
        let Some(compiled) = &self.compiled else { return Ok(Decision::without_policy()) };
        // A runner that panicked or failed is not put back: its state is unknown.
        catch_unwind(AssertUnwindSafe(|| {
            let mut runner = self.take_runner(compiled)?;
            let decision = act(&mut runner)?;
            self.keep_runner(runner);
            Ok(decision)
        }))
        .unwrap_or_else(|_| Err("the policy engine panicked".to_owned().into()))
    }

    fn take_runner(&self, compiled: &Compiled) -> Result<Runner, String> {
        let warm = RUNNERS.try_with(|runners| {
            let mut runners = runners.borrow_mut();
            let position = runners.iter().position(|(generation, _)| *generation == self.generation)?;
            Some(runners.remove(position).1)
        });
        match warm {
            Ok(Some(runner)) => Ok(runner),
            _ => Runner::new(compiled, Arc::clone(&self.unnamed)),
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

/// A number that no other engine of this process has; a later one has a higher.
fn generation() -> u64 {
    static GENERATIONS: AtomicU64 = AtomicU64::new(1);
    GENERATIONS.fetch_add(1, Ordering::Relaxed)
}

/// True where it is another second than the last time.
fn is_due() -> bool {
    static LAST: AtomicU64 = AtomicU64::new(0);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    LAST.swap(now, Ordering::Relaxed) != now
}

/// The time that this thread has had of a processor.
fn processor_time() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default()
}

/// Why a machine has no answer.
struct Unanswered {
    /// A sentence for the log.
    problem: String,
    /// True where the limit of time was met, which another try may not meet.
    is_late: bool,
}

impl From<String> for Unanswered {
    fn from(problem: String) -> Self {
        Self { problem, is_late: false }
    }
}

/// One worker's machine.
struct Runner {
    machine: Machine,
    unnamed: Arc<Unnamed>,
    /// The subject asked about last, with its document: a list asks about the same one many times.
    /// Known by its digest: the principal itself may carry a token, which is not to be kept.
    subject: Option<([u8; 32], Value)>,
}

enum Machine {
    Bytecode(Box<RegoVM>, Arc<Calls>),
    Interpreter(Box<Engine>),
}

impl Runner {
    fn new(compiled: &Compiled, unnamed: Arc<Unnamed>) -> Result<Self, String> {
        let timer = ExecutionTimerConfig { limit: TIME_LIMIT, check_interval: CHECK_INTERVAL };
        let machine = match compiled {
            Compiled::Bytecode { program, data, calls } => {
                let mut vm = Box::new(RegoVM::new());
                vm.load_program(program.clone());
                vm.set_data(data.clone()).map_err(|error| error.to_string())?;
                vm.set_max_instructions(MAX_INSTRUCTIONS);
                vm.set_execution_timer_config(Some(timer));
                Machine::Bytecode(vm, Arc::clone(calls))
            }
            Compiled::Interpreter(prepared) => {
                let mut engine = prepared.clone();
                engine.set_execution_timer_config(timer);
                Machine::Interpreter(engine)
            }
        };
        Ok(Self { machine, unnamed, subject: None })
    }

    fn ask(&mut self, question: &Question<'_>) -> Result<Decision, Unanswered> {
        let subject = match &self.subject {
            Some((digest, document)) if digest == question.subject.digest() => document.clone(),
            _ => {
                let document = input::subject(question.subject);
                self.subject = Some((*question.subject.digest(), document.clone()));
                document
            }
        };
        self.judge(input::document(subject, question)?)
    }

    fn judge(&mut self, document: Value) -> Result<Decision, Unanswered> {
        let output = match &mut self.machine {
            Machine::Bytecode(vm, calls) => {
                vm.set_input(document);
                strict::begin();
                let output = vm.execute_entry_point_by_index(0).map_err(|error| Unanswered {
                    is_late: matches!(error, VmError::TimeLimitExceeded { .. }),
                    problem: strict::failure(vm, calls).unwrap_or_else(|| error.to_string()),
                });
                // Text of a client is not kept any longer than the decision takes.
                vm.set_input(Value::Null);
                output?
            }
            Machine::Interpreter(engine) => {
                engine.set_input(document);
                let output = engine.eval_rule(ENTRY_POINT.to_owned()).map_err(|error| Unanswered {
                    is_late: matches!(error.downcast_ref(), Some(LimitError::TimeLimitExceeded { .. })),
                    problem: strict::failure_of_interpreter(&error.to_string()),
                });
                engine.set_input(Value::Null);
                output?
            }
        };
        Ok(Decision::from_output(&output, &self.unnamed)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_machines_tell_by_a_type_that_the_time_was_over() {
        let folder = tempfile::tempdir().expect("a folder");
        let policy = "package airlock.authz\nimport rego.v1\n\nallow if count([1 | some i in numbers.range(1, 3000); \
                      some j in numbers.range(1, 3000); i != j]) > 0\n";
        std::fs::write(folder.path().join("authz.rego"), policy).expect("a policy");
        for engine in [PolicyEngine::load(folder.path()), PolicyEngine::load_interpreted(folder.path())] {
            let engine = engine.expect("a policy");
            let unanswered = engine.run_once(&|runner| runner.judge(Value::new_object())).expect_err("late");
            assert!(unanswered.is_late, "{}", unanswered.problem);
        }
        let other = Unanswered::from("exceeded time limit".to_owned());
        assert!(!other.is_late, "a text decides nothing");
    }
}
