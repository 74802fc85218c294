//! Requests wait for room in the queue while the store does not keep up: a slow disk slows requests, and
//! refuses them only where it stays slow.

use std::pin::pin;
use std::sync::atomic::Ordering;

use tokio::time::{Instant, timeout_at};

use super::error::AuditFull;
use super::log::AuditLog;
use super::records::record::Record;
use super::store::space::Space;
use super::strain::Consequence;

/// The part of the queue, in percent, from which on requests wait. The places from there to the end of those
/// for intents are for requests that have waited together, or were let through before.
const SLOW_PERCENT: u64 = 80;

/// The wait of one message: all its records together wait for at most one `audit.wait`.
#[derive(Debug, Default)]
pub struct RecordWait {
    until: Option<Instant>,
}

impl AuditLog {
    /// Waits while the store does not keep up, until the message has waited for `audit.wait`. Returns at once
    /// where room is not the trouble.
    pub async fn room(&self, wait: &mut RecordWait) {
        if self.has_room() {
            return;
        }
        let until = *wait.until.get_or_insert_with(|| {
            self.shared.waited.fetch_add(1, Ordering::Relaxed);
            // A store that fails has said so itself, and why.
            if !self.shared.is_failing() {
                let why = "the disk of audit.dir does not keep up; look what else writes there";
                self.shared.strain.note(Consequence::Waits, why);
            }
            Instant::now() + self.wait
        });
        loop {
            let mut changed = pin!(self.shared.changed.notified());
            // It is woken by all that changes from here on.
            changed.as_mut().enable();
            if self.has_room() || timeout_at(until, changed).await.is_err() {
                return;
            }
        }
    }

    /// Does as [`AuditLog::record`] once there is room. Others who waited for the same room may have taken it
    /// since the caller last asked, so this asks again. The record is made behind the wait: whoever waits
    /// holds none.
    ///
    /// # Errors
    /// As for [`AuditLog::record`].
    pub async fn record_in_time(
        &self,
        record: impl FnOnce() -> Record,
        wait: &mut RecordWait,
    ) -> Result<(), AuditFull> {
        self.room(wait).await;
        self.record(record())
    }

    /// True where the queue is not nearly full, and where a record would be refused for another reason.
    pub(super) fn has_room(&self) -> bool {
        let shared = &*self.shared;
        !self.is_taken(SLOW_PERCENT)
            || shared.is_closed()
            || self.refuse_on_failure && shared.is_failing()
            || shared.space() == Space::Gone
    }

    /// True where so much of the queue, in percent, waits for the store, in records or in bytes.
    pub(super) fn is_taken(&self, percent: u64) -> bool {
        self.shared.is_taken(&self.spool, percent)
    }
}
