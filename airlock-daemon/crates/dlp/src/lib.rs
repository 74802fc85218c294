//! Redaction: finds what must not pass in JSON messages, and takes it out.
//!
//! A [`Pack`] is a file of detectors. A [`Detector`] has a pattern, the checks that a match must pass, and
//! the words that must stand near it. The scanner never runs a pattern over a whole text: it derives from
//! each pattern a trigger (a literal, a number of digits) that every match contains, looks for all triggers
//! in one pass, and runs a pattern only around its own.

mod account;
mod action;
mod ats;
mod blob;
mod check;
mod classes;
mod context;
mod detector;
mod detectors;
mod edge;
mod fingers;
mod fold;
mod follow;
mod gate;
#[cfg(test)]
mod generate;
mod hit;
mod hostile;
mod joints;
mod lexer;
mod manifest;
mod marks;
mod message;
mod names;
mod net;
mod numbers;
mod pack;
mod placeholder;
#[cfg(any(test, feature = "proof"))]
pub mod proof;
mod rewrite;
mod screen;
mod set;
mod shape;
mod sieve;
mod sign;
mod spelling;
mod told;
mod trigger;
mod vector;
mod view;
mod whole;
mod windows;
mod wrapped;

pub use account::{Account, Finding, Part, account, account_of_text};
pub use action::{Action, Digest};
pub use check::{Check, Regions};
pub use context::Context;
pub use detector::{Detector, DetectorError, Spec};
pub use detectors::Detectors;
pub use hit::Hit;
pub use message::{Path, Plan, Redacted, Refused, redact};
pub use pack::{Fault, Pack, PackError, Shipped, merge, shipped};
