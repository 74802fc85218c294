//! What can go wrong on the server's side, and whose fault it is.

use http::StatusCode;

/// A call could not be answered by the upstream. `Display` is for the operator; clients get [`UpstreamError::reason`].
#[derive(Debug, Clone, thiserror::Error)]
pub enum UpstreamError {
    /// The process could not be started.
    #[error("upstream `{upstream}` cannot be started: {detail}")]
    Start {
        /// The upstream's name.
        upstream: String,
        /// What went wrong, with the remedy.
        detail: String,
    },
    /// The process ended.
    #[error("upstream `{upstream}` ended{detail}. Run its command by hand to see why: {command}")]
    Ended {
        /// The upstream's name.
        upstream: String,
        /// Exit status and last words, where known.
        detail: String,
        /// The command line.
        command: String,
    },
    /// Its address takes no connection.
    #[error(
        "upstream `{upstream}` cannot be reached at {place}: {detail}. Start the server, or correct its address"
    )]
    Unreachable {
        /// The upstream's name.
        upstream: String,
        /// The URL or socket.
        place: String,
        /// What the connection attempt said.
        detail: String,
    },
    /// It closed the connection or the session.
    #[error("upstream `{upstream}` at {place} {detail}; its own log may say why")]
    Closed {
        /// The upstream's name.
        upstream: String,
        /// The URL or socket.
        place: String,
        /// What it did, as a predicate.
        detail: String,
    },
    /// It does not speak MCP.
    #[error("upstream `{upstream}` does not speak MCP: {detail}")]
    Protocol {
        /// The upstream's name.
        upstream: String,
        /// What it did instead.
        detail: String,
    },
    /// It did not answer in time.
    #[error("upstream `{upstream}` did not answer {what} within {limit}")]
    Deadline {
        /// The upstream's name.
        upstream: String,
        /// What it was asked.
        what: String,
        /// The limit that passed.
        limit: String,
    },
    /// Too many of its processes run.
    #[error("upstream `{upstream}` already has {limit} processes")]
    Busy {
        /// The upstream's name.
        upstream: String,
        /// The limit.
        limit: usize,
    },
}

impl UpstreamError {
    /// The HTTP status for the client.
    pub const fn status(&self) -> StatusCode {
        match self {
            Self::Deadline { .. } => StatusCode::GATEWAY_TIMEOUT,
            Self::Busy { .. } => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::BAD_GATEWAY,
        }
    }

    /// A sentence for the client that gives nothing internal away.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Start { .. } => "the server could not be started",
            Self::Unreachable { .. } => "the server could not be reached",
            Self::Ended { .. } | Self::Closed { .. } => "the server ended before it answered",
            Self::Protocol { .. } => "the server's answer was not valid",
            Self::Deadline { .. } => "the server did not answer in time",
            Self::Busy { .. } => "the server has no room for another session",
        }
    }
}
