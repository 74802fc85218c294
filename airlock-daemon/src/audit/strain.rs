//! How far the log lags behind its records, said in the daemon's own log once it gets worse and once it is
//! over.

use std::fmt::Display;
use std::sync::atomic::{AtomicU8, Ordering};

/// The consequence for those whose records are taken, the least first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Consequence {
    /// Refusals are counted instead of recorded.
    Counted = 1,
    /// Requests wait for room.
    Waits,
    /// Requests are refused.
    Refused,
}

/// The worst since it was last over.
#[derive(Debug, Default)]
pub(super) struct Strain(AtomicU8);

impl Strain {
    /// Notes what has come of it; says so, with the reason, where nothing as bad had.
    pub(super) fn note(&self, consequence: Consequence, why: impl Display) {
        if self.0.fetch_max(consequence as u8, Ordering::SeqCst) >= consequence as u8 {
            return;
        }
        match consequence {
            Consequence::Counted => {
                tracing::error!("audit log: refusals are counted in gap records instead of recorded: {why}");
            }
            Consequence::Waits => tracing::error!("audit log: requests wait up to audit.wait: {why}"),
            Consequence::Refused => tracing::error!("audit log: requests are refused with 503: {why}"),
        }
    }

    /// Notes that there is room for all of it again.
    pub(super) fn over(&self) {
        if self.0.load(Ordering::SeqCst) != 0 && self.0.swap(0, Ordering::SeqCst) != 0 {
            tracing::info!("audit log: every record is taken at once again");
        }
    }
}
