//! The first start of a server: whether it runs, and how the last one failed.

use super::super::error::UpstreamError;
use crate::upstream::era::facts::Facts;
use parking_lot::{Mutex, MutexGuard};
use std::sync::{Arc, OnceLock};
use std::time::Instant;
use tokio::sync::watch;

/// How a first start ended.
pub(super) type Verdict = Result<Arc<Facts>, UpstreamError>;

/// The first start of one upstream: whether it runs, and how the last one failed.
pub(super) struct First {
    state: Mutex<StartState>,
    /// True where the server was asked, well or not, or is only slow to answer.
    pub(super) asked: watch::Sender<bool>,
    /// When it began to be asked for the first time.
    pub(crate) began: OnceLock<Instant>,
}

#[derive(Default)]
pub(super) struct StartState {
    pub(crate) running: Option<watch::Receiver<Option<Verdict>>>,
    pub(crate) failed: Option<(Instant, UpstreamError)>,
}

impl Default for First {
    fn default() -> Self {
        Self { state: Mutex::default(), asked: watch::Sender::new(false), began: OnceLock::new() }
    }
}

impl First {
    pub(crate) fn lock(&self) -> MutexGuard<'_, StartState> {
        // No change of it can panic between its steps.
        self.state.lock()
    }

    pub(crate) fn was_asked(&self) {
        self.asked.send_replace(true);
    }
}
