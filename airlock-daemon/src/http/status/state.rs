//! The state of a server, for who asks.

use serde::Serialize;

/// The state in a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum PartState {
    /// All of it can be served.
    Ready,
    /// Calls are served, but an upstream cannot be used.
    Degraded,
    /// Nothing can be served.
    NotReady,
}
