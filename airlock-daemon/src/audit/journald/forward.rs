//! The way of records to journald: a thread of its own, so that a journald that does not read holds up
//! nobody.
//!
//! The writer hands over what it has stored, as it is stored, and a bounded number of bytes may wait. A batch
//! that does not fit is counted, said once, and shown by `airlock status`: the files are the log and have it
//! all the same. While no journald is there at all, what waits is kept for it: one that is started again
//! misses nothing that fits.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use super::journal::{Journal, Untaken, fields};
use crate::audit::records::hash::digest;
use crate::audit::records::line;
use crate::audit::shared::LogShared;

/// How many bytes of lines may wait for journald.
const WAITING: u64 = 8 * 1024 * 1024;
/// How many batches may wait; more than there can be within [`WAITING`] at an honest rate.
const BATCHES: usize = 4_096;
/// How long the end of the process waits for journald.
const FLUSH: Duration = Duration::from_secs(2);
/// How long to wait before a journald that is away is looked for again: doubling from the first to the
/// second, which the end of the process can wait for.
const LOOK_FIRST: Duration = Duration::from_millis(20);
const LOOK_LAST: Duration = Duration::from_millis(500);

/// Whole lines, as stored.
struct Batch {
    lines: Vec<u8>,
    records: u64,
}

/// The handle of the writer thread.
pub(in crate::audit) struct Forwarder {
    queue: Option<SyncSender<Batch>>,
    ended: Receiver<()>,
    waiting: Arc<AtomicU64>,
    shared: Arc<LogShared>,
}

impl Forwarder {
    /// Starts the thread.
    ///
    /// # Errors
    /// It could not be started.
    pub(in crate::audit) fn start(
        journal: Box<dyn Journal>,
        shared: Arc<LogShared>,
    ) -> std::io::Result<Self> {
        let (queue, batches) = sync_channel(BATCHES);
        let (end, ended) = sync_channel(0);
        let waiting = Arc::new(AtomicU64::new(0));
        let (left, figures) = (Arc::clone(&waiting), Arc::clone(&shared));
        std::thread::Builder::new().name("airlock-journal".to_owned()).spawn(move || {
            run(&batches, journal, &left, &figures);
            drop(end);
        })?;
        Ok(Self { queue: Some(queue), ended, waiting, shared })
    }

    /// Hands over whole lines; never waits.
    pub(in crate::audit) fn send(&self, lines: &[u8], records: u64) {
        let Some(queue) = &self.queue else { return };
        let bytes = lines.len() as u64;
        let waiting = self.waiting.fetch_add(bytes, Ordering::Relaxed);
        // A batch that is larger than all that may wait, such as what an earlier process left, goes alone.
        let fits = (waiting == 0 || waiting + bytes <= WAITING)
            && queue.try_send(Batch { lines: lines.to_vec(), records }).is_ok();
        if !fits {
            self.waiting.fetch_sub(bytes, Ordering::Relaxed);
            let reason = "it does not take them as fast as they come; look at systemd-journald.service";
            failed(&self.shared, records, reason);
        }
    }

    /// Lets journald have what waits, for at most two seconds.
    pub(in crate::audit) fn end(&mut self) {
        self.queue = None;
        // The other end is dropped when the thread has ended.
        if let Err(std::sync::mpsc::RecvTimeoutError::Timeout) = self.ended.recv_timeout(FLUSH) {
            let bytes = self.waiting.load(Ordering::Relaxed);
            tracing::error!(
                bytes,
                "journald did not take the last audit records in time; the files have them"
            );
        }
    }
}

/// The thread.
fn run(batches: &Receiver<Batch>, mut journal: Box<dyn Journal>, waiting: &AtomicU64, shared: &LogShared) {
    for batch in batches {
        let mut taken = 0;
        for line in batch.lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let sent = line::read(line).and_then(|(seq, record)| {
                let fields = fields(&record, seq, &digest(line), &String::from_utf8_lossy(line));
                deliver(&mut *journal, &fields, shared)
            });
            match sent {
                Ok(()) => taken += 1,
                Err(error) => failed(shared, 1, &error),
            }
        }
        waiting.fetch_sub(batch.lines.len() as u64, Ordering::Relaxed);
        if taken == batch.records && shared.set_journal_trouble(None) {
            taken_again(shared);
        }
    }
}

/// Sends an entry, once a journald is there or the process ends.
///
/// # Errors
/// Why it was not taken.
fn deliver(journal: &mut dyn Journal, fields: &[String], shared: &LogShared) -> Result<(), String> {
    let mut pause = LOOK_FIRST;
    loop {
        let reason = match journal.send(fields) {
            Err(Untaken::Away(reason)) if !shared.is_closed() => reason,
            Err(Untaken::Away(reason) | Untaken::Refused(reason)) => return Err(reason),
            Ok(()) => {
                if pause > LOOK_FIRST && shared.set_journal_trouble(None) {
                    taken_again(shared);
                }
                return Ok(());
            }
        };
        in_trouble(shared, &reason);
        std::thread::sleep(pause);
        pause = (pause * 2).min(LOOK_LAST);
    }
}

fn taken_again(shared: &LogShared) {
    let missing = shared.journal_failures.load(Ordering::Relaxed);
    tracing::info!(missing, "journald takes audit records again; `missing` counts those of all its absences");
}

/// Counts records that journald did not take, and says so once until it takes some again.
fn failed(shared: &LogShared, records: u64, reason: &str) {
    shared.journal_failures.fetch_add(records, Ordering::Relaxed);
    in_trouble(shared, reason);
}

/// Notes why journald takes nothing, and says so once until it takes some again.
fn in_trouble(shared: &LogShared, reason: &str) {
    if !shared.set_journal_trouble(Some(reason.to_owned())) {
        tracing::error!("journald does not take audit records (the files still do): {reason}");
    }
}
