//! Metrics of the audit log.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::register::{registered, set};

/// The audit log's figures.
#[derive(Debug, Clone, Copy, Default)]
pub struct AuditFigures {
    /// Records stored since the start.
    pub records: u64,
    /// Requests that waited for room in the queue.
    pub waited: u64,
    /// Records that were not taken.
    pub refused: u64,
    /// Attempts of the store that failed.
    pub store_failures: u64,
    /// Records that journald did not take.
    pub journal_failures: u64,
    /// Refusals of nobody that are not on record.
    pub strangers_untold: u64,
    /// Records waiting for the store.
    pub queued: u64,
    /// Checks that records reach the store.
    pub healthy: bool,
}

/// The counters and gauges of the audit log.
#[derive(Debug, Default)]
pub struct AuditMetrics {
    records: Counter,
    waited: Counter,
    refused: Counter,
    store_failures: Counter,
    journal_failures: Counter,
    strangers_untold: Counter,
    queue: Gauge,
    healthy: Gauge,
}

impl AuditMetrics {
    pub(super) fn new(r: &mut Registry) -> Self {
        Self {
            records: registered(r, "audit_records", "Audit records stored", Counter::default()),
            waited: registered(
                r,
                "audit_waited",
                "Requests that waited for the disk of the log",
                Counter::default(),
            ),
            refused: registered(r, "audit_refused", "Audit records not taken", Counter::default()),
            store_failures: registered(
                r,
                "audit_store_failures",
                "Failed writes of the log",
                Counter::default(),
            ),
            journal_failures: registered(
                r,
                "audit_journal_failures",
                "Records journald did not take",
                Counter::default(),
            ),
            strangers_untold: registered(
                r,
                "audit_strangers_untold",
                "Refusals of requests without a good token that are not on record, because the disk or the queue was full",
                Counter::default(),
            ),
            queue: registered(r, "audit_queue", "Audit records waiting for the store", Gauge::default()),
            healthy: registered(
                r,
                "audit_healthy",
                "1 while audit records reach the store",
                Gauge::default(),
            ),
        }
    }

    /// Takes over the audit log's figures; called before [`Metrics::encode`](super::Metrics::encode).
    pub fn figures(&self, figures: &AuditFigures) {
        set(&self.records, figures.records);
        set(&self.waited, figures.waited);
        set(&self.refused, figures.refused);
        set(&self.store_failures, figures.store_failures);
        set(&self.journal_failures, figures.journal_failures);
        set(&self.strangers_untold, figures.strangers_untold);
        self.queue.set(i64::try_from(figures.queued).unwrap_or(i64::MAX));
        self.healthy.set(figures.healthy.into());
    }
}
