//! How the log is: for `/ready`, the metrics and an operator.

use std::sync::atomic::Ordering;

use crate::config::age::Age;

use super::error::AuditFull;
use super::log::{AuditLog, Class};
use super::shared::Stats;
use super::store::space::Space;

impl AuditLog {
    /// Checks that records reach the store.
    ///
    /// # Errors
    /// Says why they do not, for `/ready` and the operator.
    pub fn healthy(&self) -> Result<(), String> {
        if let Some(reason) = self.shared.failure() {
            return Err(reason);
        }
        let waiting = self.shared.queued.load(Ordering::Relaxed);
        if self.is_taken(Class::Intent.percent()) {
            return Err(format!("{waiting} audit records wait for the store, which does not keep up"));
        }
        if self.shared.space() == Space::Gone {
            return Err(AuditFull::DiskFull.to_string());
        }
        Ok(())
    }

    /// Alarms for an operator although records are stored, a sentence each.
    pub fn alarms(&self) -> Vec<String> {
        let journal = self.shared.journal_trouble.lock().clone();
        let failures = self.shared.journal_failures.load(Ordering::Relaxed);
        let journal = journal.map(|(since, why)| {
            let age = Age::since(since);
            format!(
                "audit: journald has not taken records for {age}, {failures} since the start (the files have them): {why}"
            )
        });
        let gaps = *self.shared.gaps.lock();
        let gaps = gaps.map(|(lost, last)| {
            let age = Age::since(last);
            format!(
                "audit: {lost} records are missing, the last gap is {age} old: its record (`gap`) says why"
            )
        });
        let untold = self.shared.strangers_untold.load(Ordering::Relaxed);
        let space = (self.shared.space() == Space::Low).then(|| {
            format!(
                "audit: less than audit.reserve is free below audit.dir; refusals of nobody are not written, {untold} since the start"
            )
        });
        // A store that fails says why by itself.
        let slow = (!self.has_room() && !self.shared.is_failing()).then(|| {
            let waited = self.shared.waited.load(Ordering::Relaxed);
            format!(
                "audit: the disk of audit.dir does not keep up: requests wait up to audit.wait for it, {waited} since the start; look what else writes there"
            )
        });
        journal.into_iter().chain(gaps).chain(space).chain(slow).collect()
    }

    /// Figures for the metrics.
    pub fn stats(&self) -> Stats {
        let shared = &*self.shared;
        Stats {
            records: shared.records.load(Ordering::Relaxed),
            queued: shared.queued.load(Ordering::Relaxed),
            store_failures: shared.store_failures.load(Ordering::Relaxed),
            journal_failures: shared.journal_failures.load(Ordering::Relaxed),
            waited: shared.waited.load(Ordering::Relaxed),
            refused: shared.refused.load(Ordering::Relaxed),
            strangers_untold: shared.strangers_untold.load(Ordering::Relaxed),
            space: shared.space(),
            healthy: self.healthy().is_ok(),
        }
    }
}
