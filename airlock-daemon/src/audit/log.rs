//! The handle that workers record through, and its bounded queue.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use crate::config::schema;

use super::error::{AuditError, AuditFull};
use super::journald::forward::Forwarder;
use super::journald::journal;
use super::journald::journal::{Journal, Journald};
use super::records::chain::Chain;
use super::records::line;
use super::records::record::{Bounded, Record};
use super::shared::{LogShared, places};
use super::store::file::{OpenError, Segments, Store};
use super::store::space::Space;
use super::store::spool::{Left, Spool};
use super::strain::Consequence;
use super::writer::{First, Queued, Writer};

/// The kind of a record, which decides how much of the queue and of the disk may be taken for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// Something that happens only if it is on record.
    Intent,
    /// Something that has happened.
    Done,
    /// A refusal, of which the one who is refused can cause many.
    Refusal,
    /// A refusal of nobody.
    Stranger,
}

impl Class {
    /// Which part of the queue, in percent, may be taken before a record of this class is not. A few places
    /// are kept for what has happened already.
    pub(super) const fn percent(self) -> u64 {
        match self {
            Self::Done => 100,
            Self::Intent => 90,
            Self::Refusal => 50,
            Self::Stranger => 10,
        }
    }
}

/// A handle on the log; clones are cheap and all write to the same chain.
#[derive(Debug, Clone)]
pub struct AuditLog {
    queue: Sender<Queued>,
    pub(super) spool: Arc<Spool>,
    pub(super) shared: Arc<LogShared>,
    pub(super) refuse_on_failure: bool,
    /// How long a request waits for room in the queue.
    pub(super) wait: Duration,
}

/// The writer thread. Dropping it ends the log as [`AuditWriter::join`] does, but hides whether everything
/// was stored.
#[derive(Debug)]
pub struct AuditWriter {
    queue: Sender<Queued>,
    shared: Arc<LogShared>,
    thread: Option<JoinHandle<Result<(), AuditError>>>,
}

impl AuditLog {
    /// Opens the log in `config.dir`, continuing the chain found there, and starts the writer thread.
    ///
    /// A last line cut by a crash is set apart in `<segment>.torn`, and a gap record names it.
    ///
    /// # Errors
    /// The directory cannot be made or written, others may write there, another daemon writes there, or its
    /// end is no record.
    pub fn open(config: &schema::Audit) -> Result<(Self, AuditWriter), AuditError> {
        let (segments, chain, torn) = Segments::open(&config.dir, config.reserve.0)?;
        let (spool, left) = Spool::open(&config.dir, chain.next_seq).map_err(OpenError::from)?;
        let now = SystemTime::now();
        let mut first = recovered(left, now);
        if let Some(torn) = torn {
            let reason = format!(
                "the last line was cut by a crash; its {} bytes are kept in {}",
                torn.bytes, torn.name
            );
            tracing::warn!(dir = %config.dir.display(), torn = %torn.name, "{reason}");
            first.push((None, now, Record::gap(1, &reason, Some(&torn.name))));
        }
        let journal: Option<Box<dyn Journal>> = if !config.journald {
            None
        } else if journal::expected() {
            Some(Box::new(Journald))
        } else {
            tracing::info!("this host has no journald: audit records go to files only");
            None
        };
        Self::start(Box::new(segments), journal, chain, config, spool, first)
    }

    pub(super) fn start(
        store: Box<dyn Store>,
        journal: Option<Box<dyn Journal>>,
        chain: Chain,
        config: &schema::Audit,
        spool: Spool,
        first: Vec<First>,
    ) -> Result<(Self, AuditWriter), AuditError> {
        let (queue, receiver) = channel();
        let shared = Arc::new(LogShared::default());
        let spool = Arc::new(spool);
        let forwarder = journal.map(|journal| Forwarder::start(journal, Arc::clone(&shared))).transpose();
        let forwarder = forwarder.map_err(AuditError::Thread)?;
        let writer =
            Writer::new(receiver, shared.clone(), Arc::clone(&spool), store, forwarder, chain, first);
        let state = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("airlock-audit".to_owned())
            .spawn(move || {
                let _told = DefectIsTold(state);
                writer.run()
            })
            .map_err(AuditError::Thread)?;
        let log = Self {
            queue: queue.clone(),
            spool,
            shared: shared.clone(),
            refuse_on_failure: config.on_failure == schema::OnAuditFailure::Refuse,
            wait: config.wait.0,
        };
        Ok((log, AuditWriter { queue, shared, thread: Some(thread) }))
    }

    /// Hands over the record of something that happens only if it is on record. Never blocks, and never waits
    /// for the disk. A record that was taken outlives the process: the next one stores what this one had not
    /// come to.
    ///
    /// # Errors
    /// The record was not taken, and a gap record will say so. Whatever it was to record must not happen.
    pub fn record(&self, record: Record) -> Result<(), AuditFull> {
        self.take(Class::Intent, record)
    }

    /// Hands over the record of something that has happened: how a call ended, that the daemon stops. It
    /// finds room where an intent does not any more.
    ///
    /// # Errors
    /// As for [`AuditLog::record`]; there is nothing that the caller could still refuse.
    pub fn record_done(&self, record: Record) -> Result<(), AuditFull> {
        self.take(Class::Done, record)
    }

    /// Hands over the record of a refusal of a known principal, or of something else that somebody can cause
    /// many of: such records fill only half of the queue. Those above are counted in a gap record.
    ///
    /// # Errors
    /// As for [`AuditLog::record_done`].
    pub fn record_refusal(&self, record: Record) -> Result<(), AuditFull> {
        self.take(Class::Refusal, record)
    }

    /// Hands over the record of a refusal, at `stage` of the pipeline, of a request whose sender is not
    /// known. One record tells the number of those that one sender causes within a second, and a tenth of the
    /// queue is all that they may take.
    pub fn record_stranger(&self, stage: &'static str, record: Record) {
        if let Some(record) = self.shared.strangers.count(stage, record, Instant::now())
            && self.take(Class::Stranger, record).is_err()
        {
            self.shared.strangers_untold.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Why the queue is full: its store fails, or is slow.
    fn no_place(&self) -> AuditFull {
        if self.shared.is_failing() { AuditFull::StoreFailed } else { AuditFull::QueueFull }
    }

    fn take(&self, class: Class, record: Record) -> Result<(), AuditFull> {
        let shared = &*self.shared;
        // Counted before `closed` is looked at: the writer ends only when `closed` is set and this is back at
        // zero, so a record that was taken is always written.
        let waiting = shared.queued.fetch_add(1, Ordering::SeqCst);
        let taken = if shared.is_closed() {
            Err(AuditFull::Closed)
        } else if self.refuse_on_failure && shared.is_failing() {
            Err(AuditFull::StoreFailed)
        } else if waiting >= places(class.percent()) {
            Err(self.no_place())
        } else {
            match (shared.space(), class) {
                (Space::Plenty, _) | (_, Class::Done) | (Space::Low, Class::Intent | Class::Refusal) => {
                    Ok(())
                }
                _ => Err(AuditFull::DiskFull),
            }
        };
        let time = SystemTime::now();
        let taken = taken.and_then(|()| {
            let slot = self.spool.put(time, class.percent(), |out| line::write(&Bounded::from(record), out));
            slot.ok_or_else(|| self.no_place())
        });
        match taken {
            Ok(slot) => self.queue.send(Queued::Record(slot, time)).map_err(|_| {
                shared.queued.fetch_sub(1, Ordering::SeqCst);
                AuditFull::Closed
            }),
            Err(refusal) => {
                // After the end, the log's last record says that the daemon stopped; a stranger's is counted
                // by the caller.
                if refusal != AuditFull::Closed && class != Class::Stranger {
                    shared.refused.fetch_add(1, Ordering::Relaxed);
                    let is_intent = class == Class::Intent;
                    let said = if is_intent { Consequence::Refused } else { Consequence::Counted };
                    shared.strain.note(said, refusal);
                    // The first one wakes the writer, which may have emptied the queue meanwhile.
                    if self.spool.lose() && self.queue.send(Queued::Wake).is_err() {
                        tracing::debug!("no writer is left to record a gap");
                    }
                }
                shared.queued.fetch_sub(1, Ordering::SeqCst);
                Err(refusal)
            }
        }
    }
}

/// The records of an earlier process, in order, and one that tells of them: they are stored first.
fn recovered(left: Left, now: SystemTime) -> Vec<First> {
    let count = left.records.len();
    let mut first: Vec<First> = Vec::new();
    for (slot, time, text) in left.records {
        if let Ok(record) = line::read_text(&text) {
            first.push((Some(slot), time, record));
        }
    }
    let unreadable = count - first.len();
    if !first.is_empty() {
        tracing::warn!(
            records = first.len(),
            "the daemon before ended before it had stored its audit records"
        );
        first.push((None, now, Record::recovered(first.len() as u64)));
    }
    if unreadable > 0 {
        let reason = "an earlier process had taken them, and what it left cannot be read";
        first.push((None, now, Record::gap(unreadable as u64, reason, None)));
    }
    if left.refused > 0 {
        let reason =
            "they were refused together with their calls, and the daemon before ended before it could say so";
        first.push((None, now, Record::gap(left.refused, reason, None)));
    }
    if let Some(name) = left.unreadable {
        let reason = format!(
            "records that an earlier process had taken may be missing: they cannot be read in {name}"
        );
        tracing::warn!("{reason}");
        first.push((None, now, Record::gap(1, &reason, Some(&name))));
    }
    first
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
        self.shared.close();
        if self.queue.send(Queued::Wake).is_err() {
            tracing::debug!("the audit writer has ended already");
        }
        thread.thread().unpark(); // it may be waiting to try the store again
        thread.join().map_err(|_| AuditError::Panicked)?
    }
}

/// A writer thread that ends by a defect takes nothing any more, and says so to all who ask or wait.
struct DefectIsTold(Arc<LogShared>);

impl Drop for DefectIsTold {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.set_failure(Some("the writer thread ended by a defect; restart airlock".to_owned()));
            self.0.close();
        }
    }
}

impl Drop for AuditWriter {
    fn drop(&mut self) {
        if let Err(error) = self.close() {
            tracing::error!("{error}");
        }
    }
}
