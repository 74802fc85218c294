//! The nouns of a look through a message: what is looked for, what may pass, and why not.

use crate::action::{Action, Digest};
use crate::detectors::Detectors;
use crate::message::lexer::NotJson;
use crate::message::rewrite::TooMuch;

/// The search through a message: what for, and where not.
#[derive(Clone, Copy)]
pub struct Plan<'a> {
    /// The detectors.
    pub detectors: &'a Detectors,
    /// By place of the detector in [`Detectors::all`].
    pub actions: &'a [Action],
    /// The key of [`Action::Hash`].
    pub digest: &'a Digest<'a>,
    /// Members that are neither read nor changed.
    pub skip: &'a [Path],
    /// Members that are read and must stay as they are: a finding that would change one blocks the message.
    pub keep: &'a [Path],
    /// The longest result, in bytes.
    pub limit: usize,
}

/// The way to a member: names of members, from the top; an empty name stands for any entry or member.
pub type Path = &'static [&'static str];

/// A message that was looked at.
#[derive(Debug, PartialEq, Eq)]
pub struct Redacted {
    /// The message as it may pass; nothing where it may pass as it is.
    pub text: Option<String>,
    /// How often each detector has found something, by its place.
    pub counts: Vec<(usize, u32)>,
}

/// Reasons why a message may not pass.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// A detector blocks it.
    #[error("a detector blocks it")]
    Blocked {
        /// The place of the detector.
        detector: usize,
        /// As in [`Redacted`].
        counts: Vec<(usize, u32)>,
    },
    /// It is spelled so that looking through it costs more than its size allows.
    #[error("it has more encoded within encoded text than is looked through")]
    TooMuchWork,
    /// It would be longer than the limit.
    #[error("it would be longer than {limit} bytes once redacted")]
    TooLong {
        /// Bytes.
        limit: usize,
    },
    /// It is no JSON.
    #[error("it is no JSON at byte {at}")]
    NotJson {
        /// Bytes from its start.
        at: usize,
    },
}

impl From<TooMuch> for Refused {
    fn from(_: TooMuch) -> Self {
        Self::TooMuchWork
    }
}

impl From<NotJson> for Refused {
    fn from(NotJson(at): NotJson) -> Self {
        Self::NotJson { at }
    }
}
