//! The question whether a modern server has the legacy era as well.

use super::super::backoff::Backoff;
use parking_lot::{Mutex, MutexGuard};
use std::time::Instant;
use tokio::sync::OnceCell;

/// The question whether a server has the legacy era as well: its answer is kept, a failure of the moment is
/// not.
#[derive(Default)]
pub(super) struct Asked {
    answered: OnceCell<()>,
    /// Until when the server is left alone after a failure, and for how long after the next.
    failed: Mutex<Failed>,
}

#[derive(Default)]
pub(super) struct Failed {
    pub(crate) until: Option<Instant>,
    backoff: Backoff,
}

/// The server could not be asked, or ended or was silent before it answered.
#[derive(Debug)]
pub(super) struct Unanswered;

impl Asked {
    pub(super) fn is_answered(&self) -> bool {
        self.answered.initialized()
    }

    /// Asks by `ask` unless there is an answer, or the last failure was a moment ago. A client that comes
    /// meanwhile waits for it.
    pub(super) async fn ask(&self, ask: impl AsyncFnOnce() -> Result<(), Unanswered>) {
        let attempt = async || {
            if self.failed().until.is_some_and(|until| Instant::now() < until) {
                return Err(Unanswered);
            }
            let answer = ask().await;
            if answer.is_err() {
                let mut failed = self.failed();
                let pause = failed.backoff.pause();
                failed.until = Some(Instant::now() + pause);
            }
            answer
        };
        // The failure is in the log, and remembered.
        let _ = self.answered.get_or_try_init(attempt).await;
    }

    pub(crate) fn failed(&self) -> MutexGuard<'_, Failed> {
        // No change of it can panic between its steps.
        self.failed.lock()
    }
}
