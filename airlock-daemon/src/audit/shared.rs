//! Figures and troubles of the log, shared by workers and its writer.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::time::SystemTime;

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::error::CAPACITY;
use super::store::space::Space;
use super::store::spool::Spool;
use super::strain::Strain;
use super::strangers::Strangers;

/// A part of the queue, given in percent, in records.
pub(super) const fn places(percent: u64) -> u64 {
    CAPACITY / 100 * percent
}

/// Figures for the metrics.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Stats {
    /// Records stored since the start.
    pub records: u64,
    /// Records waiting for the store.
    pub queued: u64,
    /// Attempts of the store that failed.
    pub store_failures: u64,
    /// Records that journald did not take.
    pub journal_failures: u64,
    /// Requests that waited for room in the queue.
    pub waited: u64,
    /// Records that were not taken; each is counted in a gap record as well.
    pub refused: u64,
    /// Refusals of nobody that are not on record, because the disk is nearly full or the queue was.
    pub strangers_untold: u64,
    /// Room on the file system of the log.
    pub space: Space,
    /// Checks that records reach the store.
    pub healthy: bool,
}

/// The state that workers and the writer share.
#[derive(Debug, Default)]
pub(super) struct LogShared {
    /// Records taken and not stored yet.
    pub(super) queued: AtomicU64,
    pub(super) refused: AtomicU64,
    /// Requests that waited for room in the queue since the start.
    pub(super) waited: AtomicU64,
    /// Told after each batch, and of all else by which those who wait for room may go on.
    pub(super) changed: Notify,
    pub(super) records: AtomicU64,
    pub(super) store_failures: AtomicU64,
    pub(super) journal_failures: AtomicU64,
    pub(super) strangers_untold: AtomicU64,
    failing: AtomicBool,
    closed: AtomicBool,
    /// A [`Space`].
    space: AtomicU8,
    /// Why the store fails, while it does.
    reason: Mutex<Option<String>>,
    /// Since when and why journald does not take records, while it does not.
    pub(super) journal_trouble: Mutex<Option<(SystemTime, String)>>,
    /// Records that gap records of this process tell of, and when the last of those was made.
    pub(super) gaps: Mutex<Option<(u64, SystemTime)>>,
    pub(super) strangers: Strangers,
    pub(super) strain: Strain,
}

impl LogShared {
    /// Notes that the store fails, or works again (`None`).
    pub(super) fn set_failure(&self, reason: Option<String>) {
        self.failing.store(reason.is_some(), Ordering::Release);
        *self.reason.lock() = reason;
        self.changed.notify_waiters();
    }

    /// True while the store fails.
    pub(super) fn is_failing(&self) -> bool {
        self.failing.load(Ordering::Acquire)
    }

    /// Takes no record any more.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        self.changed.notify_waiters();
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    /// True where so much of the queue, in percent, waits for the store, in records or in bytes.
    pub(super) fn is_taken(&self, spool: &Spool, percent: u64) -> bool {
        self.queued.load(Ordering::SeqCst) >= places(percent) || spool.used() >= percent
    }

    pub(super) fn failure(&self) -> Option<String> {
        self.reason.lock().clone()
    }

    /// Notes why journald takes nothing, or that it does (`None`); says whether it was in trouble before.
    pub(super) fn set_journal_trouble(&self, trouble: Option<String>) -> bool {
        let mut noted = self.journal_trouble.lock();
        let before = noted.take();
        let was_there = before.is_some();
        let since = before.map_or_else(SystemTime::now, |(since, _)| since);
        *noted = trouble.map(|trouble| (since, trouble));
        was_there
    }

    /// Notes that a gap record was made.
    pub(super) fn note_gap(&self, lost: u64) {
        let mut gaps = self.gaps.lock();
        let before = gaps.map_or(0, |(lost, _)| lost);
        *gaps = Some((before + lost, SystemTime::now()));
    }

    pub(super) fn space(&self) -> Space {
        match self.space.load(Ordering::Acquire) {
            0 => Space::Plenty,
            1 => Space::Low,
            _ => Space::Gone,
        }
    }

    pub(super) fn set_space(&self, space: Space) {
        self.space.store(space as u8, Ordering::Release);
        self.changed.notify_waiters();
    }
}
