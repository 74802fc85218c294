//! How long a link has stood idle, and its end for the sake of somebody else.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::mpsc;

use super::shared::{Command, LinkShared};

/// A link that may be taken back. It does not keep the link.
pub(in crate::upstream) struct Lease {
    pub(super) commands: mpsc::WeakSender<Command>,
    pub(super) shared: Arc<LinkShared>,
}

impl Lease {
    /// How long it has stood idle; `None` when it has ended.
    pub(in crate::upstream) fn idle(&self) -> Option<Duration> {
        let lives = self.shared.alive.load(Ordering::Acquire) && self.commands.strong_count() > 0;
        lives.then(|| self.shared.usage.idle())
    }

    /// Ends it, unless a call has begun meanwhile. Whoever had it and keeps something in the server is told
    /// with the next call.
    pub(in crate::upstream) fn give_up(&self) {
        self.shared.usage.is_asked_for();
        if let Some(commands) = self.commands.upgrade() {
            // A full queue is no idle link.
            let _ = commands.try_send(Command::GiveUp);
        }
    }
}
