//! Changes that servers tell of, and who wants to hear of which.

use super::ask::Ask;

/// One thing that a server says outside of calls.
#[derive(Debug)]
pub enum Notice {
    /// A notification: its method and its parameters as JSON text, by the upstream's own names.
    Notification(String, String),
    /// A question that belongs to no call.
    Ask(Ask),
    /// So many notices were dropped here, since the subscriber did not take them in time; none is meant by a
    /// gap in which nobody listened to the server, so that nobody knows how many there were.
    Dropped(u64),
}

impl Notice {
    /// Bytes that it keeps while it waits.
    pub(in crate::upstream) fn bytes(&self) -> usize {
        match self {
            Self::Notification(method, params) => method.len() + params.len(),
            Self::Ask(ask) => ask.method.len() + ask.params.len(),
            Self::Dropped(_) => 0,
        }
    }
}

/// The interest of a subscriber.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Interest {
    /// `notifications/tools/list_changed`.
    pub tools: bool,
    /// `notifications/prompts/list_changed`.
    pub prompts: bool,
    /// `notifications/resources/list_changed`.
    pub resources: bool,
    /// Log messages and questions that belong to no call, and what no revision knows; for a legacy session.
    pub everything: bool,
}
