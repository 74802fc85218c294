//! Why a bundle was not accepted.

use std::path::Path;

use serde::{Deserialize, Serialize};

/// A bundle that cannot be used: where, why, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{place}: {reason}\n  help: {remedy}")]
pub struct PolicyError {
    /// A path, followed by `:line:column` where these are known.
    pub place: String,
    /// What is wrong.
    pub reason: String,
    /// What to do about it.
    pub remedy: String,
    /// It says nothing of the bundle: the bundle could not be tried.
    #[serde(default)]
    pub(super) is_untried: bool,
}

impl PolicyError {
    pub(super) fn new(
        place: impl Into<String>,
        reason: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self { place: place.into(), reason: reason.into(), remedy: remedy.into(), is_untried: false }
    }

    /// The same for a bundle that could not be tried.
    pub(super) fn untried(self) -> Self {
        Self { is_untried: true, ..self }
    }

    pub(super) fn at(path: &Path, reason: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::new(path.display().to_string(), reason, remedy)
    }

    /// Turns the engine's multi-line message (`--> file:line:col`, a snippet, `error: …`) into place and reason.
    pub(super) fn from_rego(fallback: &Path, message: &str) -> Self {
        let place = message
            .lines()
            .find_map(|line| line.trim_start().strip_prefix("--> "))
            .map_or_else(|| fallback.display().to_string(), str::to_owned);
        let reason = message.lines().filter(|line| !line.trim_start().starts_with("--> ")).fold(
            String::new(),
            |mut text, line| {
                if !line.trim().is_empty() {
                    text.push_str(if text.is_empty() { "" } else { "\n" });
                    text.push_str(line);
                }
                text
            },
        );
        Self::new(
            place,
            reason,
            "correct the Rego source at this place; `airlock policy test --path DIR` checks it",
        )
    }
}
