//! The handle that workers record through, and its bounded queue.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::SystemTime;

use crate::config::schema;

use super::chain::Chain;
use super::file::{OpenError, Segments, Store};
use super::journal::{self, Journal, Journald};
use super::record::{Bounded, Record};
use super::writer::{Queued, Writer};

/// How many records may wait for the store, the batch that is being written included.
pub const CAPACITY: u64 = 10_000;

/// Why the log could not be opened or closed.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The directory cannot be used.
    #[error("audit log: {0}")]
    Open(#[from] OpenError),
    /// The writer thread could not be started.
    #[error("audit log: cannot start the writer thread: {0}; raise TasksMax= or the limit of threads")]
    Thread(std::io::Error),
    /// The store failed to the end.
    #[error("audit log: {records} records could not be stored before the end: {reason}")]
    Unstored {
        /// How many.
        records: u64,
        /// Why.
        reason: String,
    },
    /// The writer thread ended by a defect.
    #[error("audit log: the writer thread panicked; its last message is in the log")]
    Panicked,
}

/// Why a record was not taken. The caller refuses the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AuditFull {
    /// [`CAPACITY`] records wait for the store already.
    #[error("the audit log cannot keep up")]
    QueueFull,
    /// The store fails and `audit.on_failure` is `refuse`.
    #[error("the audit log cannot be written")]
    StoreFailed,
    /// The log is closed: the daemon ends.
    #[error("the audit log is closed")]
    Closed,
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
    /// Records that were not taken; each is counted in a gap record as well.
    pub refused: u64,
    /// Whether records reach the store.
    pub healthy: bool,
}

/// What workers and the writer share.
#[derive(Debug, Default)]
pub(super) struct Shared {
    /// Records taken and not stored yet.
    pub(super) queued: AtomicU64,
    /// Records refused since the last gap record.
    pub(super) lost: AtomicU64,
    pub(super) refused: AtomicU64,
    pub(super) records: AtomicU64,
    pub(super) store_failures: AtomicU64,
    pub(super) journal_failures: AtomicU64,
    pub(super) failing: AtomicBool,
    pub(super) closed: AtomicBool,
    /// Why the store fails, while it does.
    pub(super) reason: Mutex<Option<String>>,
}

impl Shared {
    /// Notes that the store fails, or works again (`None`).
    pub(super) fn set_failure(&self, reason: Option<String>) {
        self.failing.store(reason.is_some(), Ordering::Release);
        *self.reason.lock().unwrap_or_else(PoisonError::into_inner) = reason;
    }

    pub(super) fn failure(&self) -> Option<String> {
        self.reason.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A handle on the log; clones are cheap and all write to the same chain.
#[derive(Debug, Clone)]
pub struct AuditLog {
    queue: Sender<Queued>,
    shared: Arc<Shared>,
    refuse_on_failure: bool,
}

/// The writer thread. Dropping it ends the log as [`AuditWriter::join`] does, but hides whether everything was stored.
#[derive(Debug)]
pub struct AuditWriter {
    queue: Sender<Queued>,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<Result<(), AuditError>>>,
}

impl AuditLog {
    /// Opens the log in `config.dir`, continuing the chain found there, and starts the writer thread.
    ///
    /// A last line cut by a crash is set apart in `<segment>.torn`, and a gap record names it.
    ///
    /// # Errors
    /// The directory cannot be made or written, others may write there, another daemon writes there, or its end is no record.
    pub fn open(config: &schema::Audit) -> Result<(Self, AuditWriter), AuditError> {
        let (segments, chain, torn) = Segments::open(&config.dir)?;
        let first = torn.map(|torn| {
            let reason = format!(
                "the last line was cut by a crash; its {} bytes are kept in {}",
                torn.bytes, torn.name
            );
            tracing::warn!(dir = %config.dir.display(), torn = %torn.name, "{reason}");
            Record::gap(1, &reason, Some(&torn.name))
        });
        let journal: Option<Box<dyn Journal>> = if !config.journald {
            None
        } else if journal::present() {
            Some(Box::new(Journald))
        } else {
            tracing::info!("this host has no journald: audit records go to files only");
            None
        };
        Self::start(Box::new(segments), journal, chain, config.on_failure, first)
    }

    pub(super) fn start(
        store: Box<dyn Store>,
        journal: Option<Box<dyn Journal>>,
        chain: Chain,
        on_failure: schema::OnAuditFailure,
        first: Option<Record>,
    ) -> Result<(Self, AuditWriter), AuditError> {
        let (queue, receiver) = channel();
        let shared = Arc::new(Shared::default());
        let writer = Writer::new(receiver, shared.clone(), store, journal, chain, first);
        let thread = std::thread::Builder::new()
            .name("airlock-audit".to_owned())
            .spawn(move || writer.run())
            .map_err(AuditError::Thread)?;
        let log = Self {
            queue: queue.clone(),
            shared: shared.clone(),
            refuse_on_failure: on_failure == schema::OnAuditFailure::Refuse,
        };
        Ok((log, AuditWriter { queue, shared, thread: Some(thread) }))
    }

    /// Hands a record to the writer thread. Never blocks, and never waits for the disk.
    ///
    /// # Errors
    /// The record was not taken, and a gap record will say so. Whatever it was to record must not happen.
    pub fn record(&self, record: Record) -> Result<(), AuditFull> {
        self.record_within(CAPACITY, record)
    }

    /// Hands over the record of a refusal. Anybody can cause refusals, so they may fill only half of the queue: what is
    /// above is counted in a gap record, and the other half stays free for calls that were let through.
    ///
    /// # Errors
    /// As for [`AuditLog::record`].
    pub fn record_refusal(&self, record: Record) -> Result<(), AuditFull> {
        self.record_within(CAPACITY / 2, record)
    }

    fn record_within(&self, capacity: u64, record: Record) -> Result<(), AuditFull> {
        let shared = &*self.shared;
        // Counted before `closed` is looked at: the writer ends only when `closed` is set and this is back at zero, so a
        // record that was taken is always written.
        let waiting = shared.queued.fetch_add(1, Ordering::SeqCst);
        let refusal = if shared.closed.load(Ordering::SeqCst) {
            Some(AuditFull::Closed)
        } else if self.refuse_on_failure && shared.failing.load(Ordering::Acquire) {
            Some(AuditFull::StoreFailed)
        } else if waiting >= capacity {
            Some(AuditFull::QueueFull)
        } else {
            None
        };
        if let Some(refusal) = refusal {
            if refusal == AuditFull::Closed {
                shared.queued.fetch_sub(1, Ordering::SeqCst);
                return Err(refusal); // the log's last record says that the daemon stopped
            }
            shared.refused.fetch_add(1, Ordering::Relaxed);
            // The first one wakes the writer, which may have emptied the queue meanwhile.
            if shared.lost.fetch_add(1, Ordering::SeqCst) == 0 && self.queue.send(Queued::Wake).is_err() {
                tracing::debug!("no writer is left to record a gap");
            }
            shared.queued.fetch_sub(1, Ordering::SeqCst);
            return Err(refusal);
        }
        let queued = Queued::Record(Bounded::from(record), SystemTime::now());
        self.queue.send(queued).map_err(|_| {
            shared.queued.fetch_sub(1, Ordering::SeqCst);
            shared.set_failure(Some("the writer thread ended by a defect; restart airlock".to_owned()));
            AuditFull::Closed
        })
    }

    /// Whether records reach the store.
    ///
    /// # Errors
    /// Says why not, for `/ready` and the operator.
    pub fn healthy(&self) -> Result<(), String> {
        if let Some(reason) = self.shared.failure() {
            return Err(reason);
        }
        if self.shared.queued.load(Ordering::Relaxed) >= CAPACITY {
            return Err(format!("{CAPACITY} audit records wait for the store, which does not keep up"));
        }
        Ok(())
    }

    /// Figures for the metrics.
    pub fn stats(&self) -> Stats {
        let shared = &*self.shared;
        Stats {
            records: shared.records.load(Ordering::Relaxed),
            queued: shared.queued.load(Ordering::Relaxed),
            store_failures: shared.store_failures.load(Ordering::Relaxed),
            journal_failures: shared.journal_failures.load(Ordering::Relaxed),
            refused: shared.refused.load(Ordering::Relaxed),
            healthy: self.healthy().is_ok(),
        }
    }
}

impl AuditWriter {
    /// Closes the log, waits until what was recorded is stored, and ends the thread.
    ///
    /// # Errors
    /// The store failed to the end, and some records are not stored.
    pub fn join(mut self) -> Result<(), AuditError> {
        self.close()
    }

    fn close(&mut self) -> Result<(), AuditError> {
        let Some(thread) = self.thread.take() else { return Ok(()) };
        self.shared.closed.store(true, Ordering::SeqCst);
        if self.queue.send(Queued::Wake).is_err() {
            tracing::debug!("the audit writer has ended already");
        }
        thread.thread().unpark(); // it may be waiting to try the store again
        thread.join().map_err(|_| AuditError::Panicked)?
    }
}

impl Drop for AuditWriter {
    fn drop(&mut self) {
        if let Err(error) = self.close() {
            tracing::error!("{error}");
        }
    }
}
