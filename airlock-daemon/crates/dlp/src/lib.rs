//! Redaction: finds what must not pass in JSON messages, and takes it out.
//!
//! A [`Pack`] is a file of detectors. A [`Detector`] has a pattern, the checks that a match must pass, and the
//! words that must stand near it. The scanner never runs a pattern over a whole text: it derives from each pattern
//! a trigger (a literal, a number of digits) that every match contains, looks for all triggers in one pass, and
//! runs a pattern only around its own.

mod check;
mod detector;
mod pack;
mod trigger;

pub use check::Check;
pub use detector::{Context, Detector, DetectorError, Spec};
pub use pack::{Pack, PackError};
