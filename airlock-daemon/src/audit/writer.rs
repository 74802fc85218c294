//! The one thread that numbers, chains, hashes and stores records.
//!
//! It takes what is queued as one batch, writes the batch at once, syncs it, and only then takes the next, so that many
//! records share one sync. Between batches it rests a few milliseconds: that groups more, and workers need not wake it.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::{Duration, Instant, SystemTime};

use super::chain::{Chain, Hash};
use super::file::Store;
use super::journal::{Journal, fields};
use super::log::{AuditError, Shared};
use super::record::{Bounded, Record};

/// A batch ends at this many records or bytes.
const BATCH_RECORDS: u64 = 4_096;
const BATCH_BYTES: usize = 1024 * 1024;
/// The least time from one batch to the next, unless a batch was full.
const PACE: Duration = Duration::from_millis(5);
/// How long to wait before the store is tried again: doubling from the first to the second.
const RETRY_FIRST: Duration = Duration::from_millis(20);
const RETRY_LAST: Duration = Duration::from_secs(2);
/// Records that reach the queue in another order than their times differ by less than this; a larger step is the clock's.
const JITTER: Duration = Duration::from_secs(1);

/// What travels through the queue.
#[derive(Debug)]
#[allow(
    clippy::large_enum_variant,
    reason = "nearly all are records, which would each cost an allocation if boxed"
)]
pub(super) enum Queued {
    /// A record and when it was made.
    Record(Bounded, SystemTime),
    /// Look at what is shared: records were lost, or the log was closed.
    Wake,
}

/// Lines that are chained and not stored yet.
#[derive(Default)]
struct Batch {
    first_seq: u64,
    bytes: Vec<u8>,
    /// How many of them came through the queue.
    queued: u64,
    records: u64,
    /// What journald is to get: only filled where there is one.
    entries: Vec<(Bounded, u64, Hash, Range<usize>)>,
}

pub(super) struct Writer {
    queue: Receiver<Queued>,
    shared: Arc<Shared>,
    store: Box<dyn Store>,
    journal: Option<Box<dyn Journal>>,
    journal_fails: bool,
    chain: Chain,
    batch: Batch,
    time: SystemTime,
}

impl Writer {
    pub(super) fn new(
        queue: Receiver<Queued>,
        shared: Arc<Shared>,
        store: Box<dyn Store>,
        journal: Option<Box<dyn Journal>>,
        chain: Chain,
        first: Option<Record>,
    ) -> Self {
        let mut writer = Self {
            queue,
            shared,
            store,
            journal,
            journal_fails: false,
            chain,
            batch: Batch::default(),
            time: SystemTime::UNIX_EPOCH,
        };
        if let Some(first) = first {
            writer.add(first.into(), SystemTime::now());
        }
        writer
    }

    pub(super) fn run(mut self) -> Result<(), AuditError> {
        loop {
            let mut gone = false;
            if self.batch.records == 0 && !self.closed() {
                match self.queue.recv() {
                    Ok(queued) => self.take(queued),
                    Err(_) => gone = true,
                }
            }
            let full = loop {
                if self.batch.queued >= BATCH_RECORDS || self.batch.bytes.len() >= BATCH_BYTES {
                    break true;
                }
                match self.queue.try_recv() {
                    Ok(queued) => self.take(queued),
                    Err(TryRecvError::Empty) => break false,
                    Err(TryRecvError::Disconnected) => {
                        gone = true;
                        break false;
                    }
                }
            };
            let lost = self.shared.lost.swap(0, Ordering::SeqCst);
            if lost > 0 {
                let reason = "they were refused together with their calls, because the store failed or did not keep up";
                self.add(Record::gap(lost, reason, None).into(), SystemTime::now());
            }
            let begin = Instant::now();
            if self.batch.records > 0 {
                self.commit()?;
            }
            if gone || self.closed() {
                // A worker between counting its record and sending it (or counting it as lost) is waited for.
                let idle = self.shared.queued.load(Ordering::SeqCst) == 0
                    && self.shared.lost.load(Ordering::SeqCst) == 0;
                if gone || idle {
                    return Ok(());
                }
                std::thread::yield_now();
            } else if !full {
                std::thread::park_timeout(PACE.saturating_sub(begin.elapsed()));
            }
        }
    }

    fn closed(&self) -> bool {
        self.shared.closed.load(Ordering::SeqCst)
    }

    fn take(&mut self, queued: Queued) {
        match queued {
            Queued::Record(record, time) => {
                self.batch.queued += 1;
                self.add(record, time);
            }
            Queued::Wake => {}
        }
    }

    /// Chains a record and puts its line into the batch.
    fn add(&mut self, record: Bounded, time: SystemTime) {
        // Workers race for the queue; what they made in the same moment keeps the order of the queue.
        let behind = self.time.duration_since(time).unwrap_or_default();
        self.time = if behind < JITTER { self.time.max(time) } else { time };
        let start = self.batch.bytes.len();
        let seq = self.chain.append_bounded(&record, self.time, &mut self.batch.bytes);
        if self.batch.records == 0 {
            self.batch.first_seq = seq;
        }
        self.batch.records += 1;
        if self.journal.is_some() {
            let line = start..self.batch.bytes.len() - 1;
            self.batch.entries.push((record, seq, self.chain.head, line));
        }
    }

    /// Stores the batch, however often it takes, and gives up only when the log is closed.
    fn commit(&mut self) -> Result<(), AuditError> {
        let mut wait = RETRY_FIRST;
        loop {
            let closed = self.closed();
            let Err(error) = self.store.append(self.batch.first_seq, &self.batch.bytes) else { break };
            let reason = error.to_string();
            self.shared.store_failures.fetch_add(1, Ordering::Relaxed);
            if self.shared.failure().is_none() {
                tracing::error!("audit log: {reason}");
            }
            self.shared.set_failure(Some(reason.clone()));
            if closed {
                let records = self.shared.queued.load(Ordering::SeqCst);
                return Err(AuditError::Unstored { records, reason });
            }
            std::thread::park_timeout(wait);
            wait = (wait * 2).min(RETRY_LAST);
        }
        if self.shared.failure().is_some() {
            tracing::info!("audit log: the store works again");
            self.shared.set_failure(None);
        }
        self.shared.records.fetch_add(self.batch.records, Ordering::Relaxed);
        self.shared.queued.fetch_sub(self.batch.queued, Ordering::SeqCst);
        self.copy_to_journal();
        self.batch.bytes.clear();
        self.batch.entries.clear();
        (self.batch.queued, self.batch.records) = (0, 0);
        Ok(())
    }

    fn copy_to_journal(&mut self) {
        let Some(journal) = self.journal.as_mut() else { return };
        for (record, seq, hash, line) in self.batch.entries.drain(..) {
            let line = self.batch.bytes.get(line).map(String::from_utf8_lossy).unwrap_or_default();
            match journal.send(&fields(record.get(), seq, &hash, &line)) {
                Ok(()) => self.journal_fails = false,
                Err(error) => {
                    self.shared.journal_failures.fetch_add(1, Ordering::Relaxed);
                    if !std::mem::replace(&mut self.journal_fails, true) {
                        tracing::error!("journald does not take audit records (the files still do): {error}");
                    }
                }
            }
        }
    }
}
