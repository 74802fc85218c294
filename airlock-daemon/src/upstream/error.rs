//! The faults on the server's side, and who is to blame.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use http::StatusCode;

use crate::config::units::{ByteSize, Period};
use crate::limits::budget::level::Exhausted;

/// How a server ended. `Display` is a bracket with a space before it, or nothing.
#[derive(Debug, Clone, Default)]
pub struct How {
    /// Exit status or I/O error, in words; may be empty.
    pub status: String,
    /// Its last lines on standard error, which may quote what somebody else has said to it.
    pub words: Option<String>,
}

impl How {
    /// One without words of the server.
    pub fn plain(status: impl Into<String>) -> Self {
        Self { status: status.into(), words: None }
    }
}

impl fmt::Display for How {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { status, words } = self;
        match words.as_deref().filter(|words| !words.is_empty()) {
            None if status.is_empty() => Ok(()),
            None => write!(f, " ({status})"),
            Some(words) if status.is_empty() => write!(f, " (its last words: {words})"),
            Some(words) => write!(f, " ({status}, its last words: {words})"),
        }
    }
}

/// A call could not be answered by the upstream. `Display` is for the operator; clients get
/// [`UpstreamError::reason`].
#[derive(Debug, Clone, thiserror::Error)]
pub enum UpstreamError {
    /// The process could not be started.
    #[error("upstream `{upstream}` cannot be started: {detail}")]
    Start {
        /// The upstream's name.
        upstream: String,
        /// The fault, with the remedy.
        detail: String,
    },
    /// The process ended.
    #[error("upstream `{upstream}` ended{how}{remedy}")]
    Ended {
        /// The upstream's name.
        upstream: String,
        /// Exit status and last words, where known.
        how: How,
        /// Empty, or a sentence with the full stop of the one before.
        remedy: String,
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
        /// The error of the attempt.
        detail: String,
    },
    /// It is a server that dials in, and it has not.
    #[error(
        "upstream `{upstream}` is absent: nobody has dialled in at {place}. Start the server, and look into the log for refused ones"
    )]
    Absent {
        /// The upstream's name.
        upstream: String,
        /// The socket.
        place: String,
    },
    /// It closed the connection or the session.
    #[error("upstream `{upstream}` at {place} {detail}; its own log may say why")]
    Closed {
        /// The upstream's name.
        upstream: String,
        /// The URL or socket.
        place: String,
        /// Its deed, as a predicate.
        detail: String,
    },
    /// It does not speak MCP.
    #[error("upstream `{upstream}` does not speak MCP: {detail}")]
    Protocol {
        /// The upstream's name.
        upstream: String,
        /// Its deed instead.
        detail: String,
    },
    /// The credential that it wants to see of us cannot be had, or is not good enough for it.
    #[error("upstream `{upstream}`: {detail}")]
    Credential {
        /// The upstream's name.
        upstream: String,
        /// The fault, with the remedy.
        detail: String,
    },
    /// It did not answer in time.
    #[error("upstream `{upstream}` did not answer {what} within {limit}; raise `{key}` if it needs longer")]
    Deadline {
        /// The upstream's name.
        upstream: String,
        /// The question to it.
        what: String,
        /// The limit that passed.
        limit: String,
        /// The key of the configuration that sets it.
        key: &'static str,
    },
    /// Its answer is larger than may be passed on.
    #[error(
        "upstream `{upstream}`: its answer is larger than {limit} (`server.max_response_bytes`). Raise it, or let the server answer in parts"
    )]
    TooLarge {
        /// The upstream's name.
        upstream: String,
        /// The limit.
        limit: String,
    },
    /// Its answer finds no room in what the caller's share of the memory has left.
    #[error("upstream `{upstream}`: {exhausted}")]
    NoRoom {
        /// The upstream's name.
        upstream: String,
        /// The share.
        exhausted: Exhausted,
    },
    /// Too many of its processes run.
    #[error("upstream `{upstream}` already has {limit} {what}")]
    Busy {
        /// The upstream's name.
        upstream: String,
        /// The things that it has too many of.
        what: &'static str,
        /// The limit.
        limit: usize,
    },
    /// It failed to start so often that it is left alone for a while.
    #[error(
        "upstream `{upstream}` failed to start {failures} times in a row and is tried again in {}; the last time: {}",
        Period(Duration::from_secs(wait.as_secs() + 1)),
        last.without_name()
    )]
    CircuitOpen {
        /// The upstream's name.
        upstream: String,
        /// How often it failed in a row.
        failures: u32,
        /// Why it failed the last time.
        last: Box<UpstreamError>,
        /// How long it is left alone from now on.
        wait: Duration,
    },
    /// The process of a session ended by itself, and what the session kept in it is gone. Told once: the next
    /// call would get a process that knows nothing of the session.
    #[error("upstream `{upstream}` ended by itself{how}, and with it what a session kept there")]
    SessionLost {
        /// The upstream's name.
        upstream: String,
        /// Exit status and last words, where known.
        how: How,
    },
}

impl UpstreamError {
    /// An answer is longer than this limit in bytes.
    pub(super) fn too_large(upstream: &str, limit: usize) -> Self {
        let limit = ByteSize(limit.try_into().unwrap_or(u64::MAX)).to_string();
        Self::TooLarge { upstream: upstream.to_owned(), limit }
    }

    /// The HTTP status for the client.
    pub const fn status(&self) -> StatusCode {
        match self {
            Self::Deadline { .. } => StatusCode::GATEWAY_TIMEOUT,
            Self::NoRoom { exhausted, .. } => exhausted.status(),
            Self::Absent { .. } | Self::Busy { .. } | Self::CircuitOpen { .. } => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::SessionLost { .. } => StatusCode::NOT_FOUND,
            _ => StatusCode::BAD_GATEWAY,
        }
    }

    /// A sentence for the client that gives nothing internal away.
    pub fn reason(&self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            Self::Deadline { limit, key, .. } => {
                return format!("the server did not answer within {limit} (`{key}`)").into();
            }
            Self::TooLarge { limit, .. } => {
                return format!("the answer is larger than {limit} (`server.max_response_bytes`)").into();
            }
            Self::NoRoom { exhausted, .. } => return exhausted.to_string().into(),
            Self::Start { .. } => "the server could not be started",
            Self::Unreachable { .. } => "the server could not be reached",
            Self::Absent { .. } => "the server is not connected",
            Self::Ended { .. } | Self::Closed { .. } => "the server ended before it answered",
            Self::Protocol { .. } => "the server's answer was not valid",
            Self::Credential { .. } => "the server does not accept this gateway's credential",
            Self::Busy { .. } => "the server has no room for another session",
            Self::CircuitOpen { .. } => {
                "the server failed to start several times in a row and is left alone for a while"
            }
            Self::SessionLost { .. } => "the server of this session has ended: send `initialize` again",
        })
    }

    /// The same as `Display` without the upstream's name, where that stands already.
    pub fn without_name(&self) -> String {
        let text = self.to_string();
        let bare = text.strip_prefix("upstream `").and_then(|rest| rest.split_once('`'));
        bare.map_or(text.as_str(), |(_, rest)| rest.trim_start_matches([':', ' '])).to_owned()
    }

    /// As it goes on record: without the last words of the server, which may quote what somebody else has
    /// said to it.
    pub fn on_record(&self) -> String {
        let mut bare = self.clone();
        bare.forget_words();
        bare.to_string()
    }

    fn forget_words(&mut self) {
        match self {
            Self::Ended { how, .. } | Self::SessionLost { how, .. } => how.words = None,
            Self::CircuitOpen { last, .. } => last.forget_words(),
            _ => {}
        }
    }

    /// In how many seconds another try may be worth while.
    pub fn retry_after(&self) -> Option<u64> {
        match self {
            Self::NoRoom { .. } => Some(1),
            Self::Absent { .. } | Self::Busy { .. } => Some(5),
            Self::CircuitOpen { wait, .. } => Some(wait.as_secs() + 1),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_stands_already_is_left_out() {
        let (upstream, detail) = (|| "docs".to_owned(), || "its key is wrong".to_owned());
        let error = UpstreamError::Credential { upstream: upstream(), detail: detail() };
        assert_eq!(error.without_name(), "its key is wrong");
        let error = UpstreamError::Start { upstream: upstream(), detail: detail() };
        assert_eq!(error.without_name(), "cannot be started: its key is wrong");
    }

    #[test]
    fn words_of_a_server_do_not_go_on_record() {
        let upstream = || "docs".to_owned();
        let how = |status: &str| How { status: status.to_owned(), words: Some("secret (of (bob".to_owned()) };
        let remedy = ". Look, its last words: are no words".to_owned();
        let ended = UpstreamError::Ended { upstream: upstream(), how: how("exit status: 3"), remedy };
        let told = "upstream `docs` ended (exit status: 3, its last words: secret (of (bob). Look";
        assert!(ended.to_string().starts_with(told), "{ended}");
        let recorded = "upstream `docs` ended (exit status: 3). Look, its last words: are no words";
        assert_eq!(ended.on_record(), recorded);
        let lost = UpstreamError::SessionLost { upstream: upstream(), how: how("") };
        assert!(lost.to_string().contains("by itself (its last words: secret (of (bob), and"), "{lost}");
        assert_eq!(
            lost.on_record(),
            "upstream `docs` ended by itself, and with it what a session kept there"
        );
        let open = UpstreamError::CircuitOpen {
            upstream: upstream(),
            failures: 5,
            last: Box::new(ended),
            wait: Duration::ZERO,
        };
        assert!(
            open.to_string().contains("the last time: ended (exit status: 3, its last words: secret"),
            "{open}"
        );
        assert!(!open.on_record().contains("secret"), "{}", open.on_record());
    }
}
