//! Policy: who may do what, in Rego through regorus.
//!
//! [`PolicyEngine::load`] reads a directory, refuses what cannot be run safely and compiles the rest once;
//! [`PolicyEngine::decide`] asks it; [`reload`] puts another in its place. Anything but a plain
//! `allow := true` with an empty `deny` is a refusal.

mod bundle;
mod document;
mod engine;
mod error;
mod lint;
mod package;
pub mod reload;
mod syntax;
mod tools;
pub mod vet;
pub mod watch;

pub use document::asked::Asked;
pub use document::decision::{
    Call, Client, DEFAULT_RULE, Decision, ERROR_RULE, NO_POLICY_RULE, NOT_ALLOWED, Obligations, Question,
    SHADOW_PREFIX,
};
pub use document::describe::{InputForm, describe_input};
pub use engine::PolicyEngine;
pub use engine::cache::Counts;
pub use error::PolicyError;
pub use lint::clear::{Clarity, Unclear};
pub use syntax::probe::PolicyPiece;
pub use tools::explain::{Asks, Evaluated, Explanation, Failed, Held, explain};
pub use tools::recorded::{Known, Rebuilt, Recorded, Verdict};
pub use tools::replay::{Judgement, Replay};
pub use vet::coverage::{Coverage, FileCoverage};
pub use vet::unit_tests::{TestOptions, TestReport, TestResult, run_tests};

#[cfg(test)]
mod tests;
