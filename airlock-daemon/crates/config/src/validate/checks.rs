//! The issues that checks find, and where.

use super::super::diagnostics::{Issue, Position};
use super::super::units::Period;
use crate::yaml::tree::{Located, Node, PathStep};
use std::time::Duration;

/// The way from the root to a value: `at!["upstreams", 2, "type"]`.
macro_rules! at {
    ($($step:expr),* $(,)?) => { &[$($crate::yaml::tree::PathStep::from($step)),*] };
}
pub(super) use at;

/// The leave to look at the files and directories that the configuration names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Files {
    Check,
    Ignore,
}

/// Collects issues and finds their places.
pub(super) struct Checks<'t> {
    pub(super) root: &'t Node,
    pub(crate) issues: Vec<Issue>,
}

impl Checks<'_> {
    /// Reports the value at `path`, unless something there was reported before.
    pub(crate) fn value(
        &mut self,
        path: &[PathStep<'_>],
        message: impl Into<String>,
        expected: &str,
        help: &str,
    ) {
        if let Located::At { key, value, whole } = self.root.locate(path) {
            let at = if whole { value } else { key.unwrap_or(value) };
            self.report(at, message.into(), expected, help);
        }
    }

    /// Reports the key at `path`, unless something there was reported before.
    pub(crate) fn key(
        &mut self,
        path: &[PathStep<'_>],
        message: impl Into<String>,
        expected: &str,
        help: &str,
    ) {
        if let Located::At { key, value, .. } = self.root.locate(path) {
            self.report(key.unwrap_or(value), message.into(), expected, help);
        }
    }

    fn report(&mut self, at: Position, message: String, expected: &str, help: &str) {
        self.issues.push(Issue::new(at, message).expected(expected).help(help));
    }

    /// True where what was read at `path` is what the file says, or its default, and not a stand-in for a
    /// mistake.
    pub(crate) fn known(&self, path: &[PathStep<'_>]) -> bool {
        !matches!(self.root.locate(path), Located::Blank)
    }

    /// Where `path` is written, for a sentence: `line 7`, or `its default`.
    pub(crate) fn whereabouts(&self, path: &[PathStep<'_>]) -> String {
        self.line(path).map_or_else(|| "its default".to_owned(), |line| format!("line {line}"))
    }

    /// The line on which a value stands; `None` where the file does not have it.
    pub(super) fn line(&self, path: &[PathStep<'_>]) -> Option<usize> {
        match self.root.locate(path) {
            Located::At { value, whole: true, .. } => Some(value.line),
            _ => None,
        }
    }

    /// Reports a span of time that is zero.
    pub(crate) fn not_zero(&mut self, path: &[PathStep<'_>], name: &str, period: Period) {
        if period.0 == Duration::ZERO {
            let message = format!("`{name}` is zero, so nothing would ever be in time");
            self.value(path, message, "a time above zero, such as `30s`", "write how long it may take");
        }
    }
}
