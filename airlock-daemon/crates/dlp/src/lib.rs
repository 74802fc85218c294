//! Redaction: finds what must not pass in JSON messages, and takes it out.
//!
//! A [`Pack`] is a file of detectors. A [`Detector`] has a pattern, the checks that a match must pass, and
//! the words that must stand near it. The scanner never runs a pattern over a whole text: it derives from
//! each pattern a trigger (a literal, a number of digits) that every match contains, looks for all triggers
//! in one pass, and runs a pattern only around its own.

mod account;
mod action;
mod blob;
mod check;
mod detector;
mod detectors;
mod fold;
mod gate;
#[cfg(test)]
mod generate;
mod joints;
mod lexer;
mod marks;
mod message;
mod pack;
mod rewrite;
mod trigger;
mod view;

pub use account::{Account, Finding, Part, account, account_of_text};
pub use action::{Action, Digest};
pub use check::{Check, Regions};
pub use detector::{Context, Detector, DetectorError, Spec};
pub use detectors::{Detectors, Hit};
pub use message::{Path, Plan, Redacted, Refused, redact};
pub use pack::{Fault, Pack, PackError, Shipped, merge, shipped};
