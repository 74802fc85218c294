//! The one thread that numbers, chains, hashes and stores records.
//!
//! It takes what is queued as one batch, writes the batch at once, syncs it, and only then takes the next, so
//! that many records share one sync. Between batches it rests a few milliseconds: that groups more, and
//! workers need not wake it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::time::{Duration, Instant, SystemTime};

use super::error::AuditError;
use super::journald::forward::Forwarder;
use super::records::chain::Chain;
use super::records::event::Event;
use super::records::line;
use super::records::record::{Bounded, Record};
use super::shared::LogShared;
use super::store::file::Store;
use super::store::space::Space;
use super::store::spool::{Freed, RingSlot, Spool};

/// A batch ends at this many records or bytes.
const BATCH_RECORDS: usize = 4_096;
const BATCH_BYTES: usize = 1024 * 1024;
/// The least time from one batch to the next, unless a batch was full.
const PACE: Duration = Duration::from_millis(5);
/// How long to wait before the store is tried again: doubling from the first to the second.
const RETRY_FIRST: Duration = Duration::from_millis(20);
const RETRY_LAST: Duration = Duration::from_secs(2);
/// How often is looked whether there is room again, where there is little.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// Records that reach the queue in another order than their times differ by less than this; a larger step is
/// the clock's.
const JITTER: Duration = Duration::from_secs(1);

/// The part of the queue, in percent, below which the log is said to keep up again: well below what it takes
/// to be strained, so that it does not go to and fro.
const EASE_PERCENT: u64 = 10;

/// A message of the queue.
#[derive(Debug, Clone, Copy)]
pub(super) enum Queued {
    /// A record in the spool, and when it was made.
    Record(RingSlot, SystemTime),
    /// Look at what is shared: records were lost, or the log was closed.
    Wake,
}

/// Lines that are chained and not stored yet.
#[derive(Default)]
struct Batch {
    first_seq: u64,
    bytes: Vec<u8>,
    /// Those of them that came through the queue.
    queued: Vec<RingSlot>,
    records: u64,
}

pub(super) struct Writer {
    queue: Receiver<Queued>,
    shared: Arc<LogShared>,
    spool: Arc<Spool>,
    freed: Freed,
    store: Box<dyn Store>,
    journal: Option<Forwarder>,
    chain: Chain,
    batch: Batch,
    time: SystemTime,
    /// So many records will have been told as lost once the batch is stored.
    tells: Option<u64>,
}

impl Writer {
    pub(super) fn new(
        queue: Receiver<Queued>,
        shared: Arc<LogShared>,
        spool: Arc<Spool>,
        store: Box<dyn Store>,
        journal: Option<Forwarder>,
        chain: Chain,
        first: Vec<First>,
    ) -> Self {
        let mut writer = Self {
            queue,
            shared,
            spool,
            freed: Freed::default(),
            store,
            journal,
            chain,
            batch: Batch::default(),
            time: SystemTime::UNIX_EPOCH,
            tells: None,
        };
        for (slot, time, record) in first {
            let seq = writer.add(record, time);
            if let Some(slot) = slot {
                writer.spool.number(slot, seq);
            }
        }
        writer
    }

    pub(super) fn run(mut self) -> Result<(), AuditError> {
        let result = self.write_all();
        if let Some(journal) = &mut self.journal {
            journal.end();
        }
        result
    }

    fn write_all(&mut self) -> Result<(), AuditError> {
        // Records that an earlier process left are stored before anything else, and only then given up.
        self.look_at_space();
        if self.batch.records > 0 {
            self.commit()?;
        }
        self.spool.forget_left();
        loop {
            let mut gone = false;
            let is_due = self.spool.lost() > self.spool.told() && self.shared.space() != Space::Gone;
            if self.batch.records == 0 && !is_due && !self.closed() {
                gone = !self.wait();
            }
            let full = loop {
                if self.batch.queued.len() >= BATCH_RECORDS || self.batch.bytes.len() >= BATCH_BYTES {
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
            self.look_at_space();
            // Asked once: what is closed while this round is under way has one more round, with all that was
            // counted till then.
            let last = gone || self.closed();
            self.add_strangers(last);
            // After what was waiting already, so that time does not run backwards; and not where every such
            // record would take from the little that is left.
            let refused = self.spool.lost();
            let untold = refused.saturating_sub(self.spool.told());
            if untold > 0 && !full && (self.shared.space() != Space::Gone || last) {
                let reason = "they were refused together with their calls, because the store failed or did not keep up";
                self.add(Record::gap(untold, reason, None), SystemTime::now());
                self.tells = Some(refused);
            }
            let begin = Instant::now();
            if self.batch.records > 0 {
                self.commit()?;
            }
            if last {
                // A worker between counting its record and sending it (or counting it as lost) is waited for.
                let idle =
                    self.shared.queued.load(Ordering::SeqCst) == 0 && self.spool.lost() == self.spool.told();
                if gone || idle {
                    return Ok(());
                }
                std::thread::yield_now();
            } else if !full {
                std::thread::park_timeout(PACE.saturating_sub(begin.elapsed()));
            }
        }
    }

    /// Waits for a record, for the end of a second in which strangers were refused, or to look again whether
    /// there is room. False where nobody can send any more.
    fn wait(&mut self) -> bool {
        let again = (self.shared.space() != Space::Plenty).then(|| Instant::now() + LOOK_AGAIN);
        let received = match self.shared.strangers.due().into_iter().chain(again).min() {
            Some(due) => self.queue.recv_timeout(due.saturating_duration_since(Instant::now())),
            None => self.queue.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        match received {
            Ok(queued) => self.take(queued),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return false,
        }
        true
    }

    /// Adds one record for each sender whose requests were refused in the second before.
    fn add_strangers(&mut self, last: bool) {
        let told = self.shared.strangers.take((!last).then(Instant::now));
        for record in told {
            if self.shared.space() == Space::Plenty {
                self.add(record, SystemTime::now());
            } else {
                let untold = record.count.unwrap_or(1);
                self.shared.strangers_untold.fetch_add(untold, Ordering::Relaxed);
            }
        }
    }

    /// Looks how much room there is, and says when that changes what is written.
    fn look_at_space(&self) {
        let (before, now) = (self.shared.space(), self.store.space());
        if now == before {
            return;
        }
        self.shared.set_space(now);
        match now {
            Space::Plenty => tracing::info!("audit log: there is room again below audit.dir"),
            Space::Low => tracing::error!(
                "audit log: less than audit.reserve is free below audit.dir: refusals of nobody are not written any more; free space there"
            ),
            Space::Gone => tracing::error!(
                "audit log: less than half of audit.reserve is free below audit.dir: every request is refused; free space there"
            ),
        }
    }

    fn closed(&self) -> bool {
        self.shared.is_closed()
    }

    fn take(&mut self, queued: Queued) {
        let Queued::Record(slot, time) = queued else { return };
        let time = self.in_order(time);
        let spool = Arc::clone(&self.spool);
        let seq = self.chain.append_text(time, &mut self.batch.bytes, |out| spool.copy(slot, out));
        self.spool.number(slot, seq);
        self.batch.queued.push(slot);
        self.count(seq);
    }

    /// Chains a record of the writer's own and puts its line into the batch.
    fn add(&mut self, record: Record, time: SystemTime) -> u64 {
        let time = self.in_order(time);
        if record.event == Event::Gap {
            self.shared.note_gap(record.lost.unwrap_or(1));
        }
        let mut text = Vec::new();
        line::write(&Bounded::from(record), &mut text);
        let seq = self.chain.append_text(time, &mut self.batch.bytes, |out| out.extend_from_slice(&text));
        self.count(seq);
        seq
    }

    fn count(&mut self, seq: u64) {
        if self.batch.records == 0 {
            self.batch.first_seq = seq;
        }
        self.batch.records += 1;
    }

    /// The time of the next line: workers race for the queue, and what they made in the same moment keeps the
    /// order of the queue.
    fn in_order(&mut self, time: SystemTime) -> SystemTime {
        let behind = self.time.duration_since(time).unwrap_or_default();
        if behind < JITTER {
            self.time = self.time.max(time);
        } else {
            // The numbers and the chain go on, so the order is the one in which things happened.
            let seconds = behind.as_secs();
            tracing::warn!(seconds, "audit log: the clock of the host was set back; times on record are too");
            self.time = time;
        }
        self.time
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
        let batch = &mut self.batch;
        self.shared.queued.fetch_sub(batch.queued.len() as u64, Ordering::SeqCst);
        if let Some(journal) = &self.journal {
            journal.send(&batch.bytes, batch.records);
        }
        self.spool.free(&mut self.freed, batch.queued.drain(..));
        if let Some(lost) = self.tells.take() {
            self.spool.tell(lost);
        }
        if self.shared.space() != Space::Gone && !self.shared.is_taken(&self.spool, EASE_PERCENT) {
            self.shared.strain.over();
        }
        self.shared.changed.notify_waiters();
        batch.bytes.clear();
        batch.records = 0;
        Ok(())
    }
}

/// A record that is stored first: where it is in the spool, if it is, and when it was made.
pub(super) type First = (Option<RingSlot>, SystemTime, Record);
