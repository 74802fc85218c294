//! Policy: who may do what, in Rego through regorus.
//!
//! [`PolicyEngine::load`] reads a directory, refuses what cannot be run safely and compiles the rest once;
//! [`PolicyEngine::decide`] asks it; [`reload`] puts another in its place. Anything but a plain
//! `allow := true` with an empty `deny` is a refusal.

mod agree;
mod asked;
mod assigned;
mod bundle;
mod cache;
mod clear;
mod closed;
mod compile;
mod coverage;
mod cycles;
mod decision;
mod depends;
mod describe;
mod engine;
mod error;
mod explain;
mod hazards;
mod input;
mod literals;
mod negated;
mod package;
mod probe;
mod reads;
mod recorded;
pub mod reload;
mod replay;
mod shape;
mod strict;
mod syntax;
mod undefined;
mod unit_tests;
mod unnamed;
mod unprobed;
pub mod vet;
pub mod watch;

pub use asked::Asked;
pub use cache::Counts;
pub use clear::{Clarity, Unclear};
pub use coverage::{Coverage, FileCoverage};
pub use decision::{
    Call, Client, DEFAULT_RULE, Decision, ERROR_RULE, NO_POLICY_RULE, NOT_ALLOWED, Obligations, Question,
    SHADOW_PREFIX,
};
pub use describe::{InputForm, describe_input};
pub use engine::PolicyEngine;
pub use error::PolicyError;
pub use explain::{Asks, Evaluated, Explanation, Failed, Held, explain};
pub use probe::Source;
pub use recorded::{Known, Rebuilt, Recorded, Verdict};
pub use replay::{Judgement, Replay};
pub use unit_tests::{TestOptions, TestReport, TestResult, run_tests};

#[cfg(test)]
mod tests;
