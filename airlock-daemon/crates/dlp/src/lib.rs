//! Redaction: finds what must not pass in JSON messages, and takes it out.
//!
//! A [`Pack`] is a file of detectors. A [`Detector`] has a pattern, the checks that a match must pass, and
//! the words that must stand near it. The scanner never runs a pattern over a whole text: it derives from
//! each pattern a trigger (a literal, a number of digits) that every match contains, looks for all triggers
//! in one pass, and runs a pattern only around its own.
//!
//! | room | holds |
//! |---|---|
//! | `pack`, `check` | the files of detectors; what matches are judged by |
//! | `trigger` | what is derived from a pattern |
//! | `scan` | the pass over a text that looks for all triggers |
//! | `detectors` | a look at a text, and at a message as it stands |
//! | `spelling` | escapes, percent encoding, look-alikes, base64 and hex |
//! | `message` | the walk through a message, and the edits that take findings out |

mod action;
mod check;
mod classes;
mod context;
mod detector;
mod detectors;
#[cfg(test)]
mod generate;
mod hit;
mod hostile;
mod message;
mod pack;
mod placeholder;
#[cfg(any(test, feature = "proof"))]
pub mod proof;
mod scan;
mod set;
mod spelling;
mod trigger;

pub use action::{Action, Digest};
pub use check::{Check, Regions};
pub use context::Context;
pub use detector::{Detector, DetectorError, Spec};
pub use detectors::Detectors;
pub use hit::Hit;
pub use message::account::{Account, Finding, Part, account, account_of_text};
pub use message::{Path, Plan, Redacted, Refused, redact};
pub use pack::{Fault, Pack, PackError, Shipped, merge, shipped};
