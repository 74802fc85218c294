//! The stops of this host: in force, and on disk.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::sleep;

use super::book::StopBook;
use super::order::{StopOrder, now};
use super::target::{Matter, StopTarget};
use super::{store, touch};
use crate::audit::{AuditLog, Event, Record, Verdict};
use crate::config::schema::Config;

/// The rule that refusals and records name.
pub const RULE: &str = "stopped";

/// How long the end of a stop is slept for at a time: somebody may set the clock meanwhile.
const NAP: Duration = Duration::from_hours(1);

/// The stops of this host.
pub struct Stops {
    path: PathBuf,
    touch: PathBuf,
    in_force: ArcSwap<StopBook>,
    /// Held through each change of what is in force, and never while a disk is waited for.
    turn: Mutex<()>,
    /// Held while the file is written.
    writing: Mutex<()>,
    faults: Mutex<Faults>,
    changes: watch::Sender<u64>,
    /// None in tests of this module.
    audit: Option<AuditLog>,
}

#[derive(Debug, Default)]
struct Faults {
    /// Why the state file could not be read at the start.
    unread: Option<String>,
    /// Why it could not be written.
    unwritten: Option<String>,
    /// Why it cannot be known if the other file is there.
    unseen: Option<String>,
}

impl Stops {
    /// Reads the stops that were in force when the daemon before ended, and looks for the file that stops
    /// everything. Where the state file cannot be read, everything is stopped.
    pub fn start(config: &Config, audit: &AuditLog) -> Arc<Self> {
        Arc::new(Self::read(config.stops_file(), config.stop_file(), Some(audit.clone())))
    }

    pub(super) fn read(path: PathBuf, touch: PathBuf, audit: Option<AuditLog>) -> Self {
        let mut book = StopBook::default();
        let mut faults = Faults::default();
        match store::read(&path) {
            Ok(ordered) => book.ordered = ordered,
            Err(fault) => {
                tracing::error!("everything is stopped, since what was stopped cannot be read: {fault}");
                let reason = "this host cannot read what its operator has stopped".to_owned();
                let order =
                    StopOrder { target: StopTarget::All {}, reason, by: None, since: now(), until: None };
                book.unread = Some(Arc::new(order));
                faults.unread = Some(fault);
            }
        }
        for order in book.ordered.values() {
            tracing::warn!(reason = order.reason, "stopped since before the start: {}", order.target);
        }
        let stops = Self {
            path,
            touch,
            in_force: ArcSwap::from_pointee(book),
            turn: Mutex::default(),
            writing: Mutex::default(),
            faults: Mutex::new(faults),
            changes: watch::Sender::new(0),
            audit,
        };
        stops.look();
        stops
    }

    /// The stops that are in force now.
    pub fn in_force(&self) -> Arc<StopBook> {
        self.in_force.load_full()
    }

    /// The stop that reaches this, if one does.
    pub fn covering(&self, matter: &Matter<'_>) -> Option<Arc<StopOrder>> {
        self.in_force.load().covering(matter).map(Arc::clone)
    }

    /// Counts the changes of what is in force, after each.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// The file whose being there stops everything.
    pub fn touch_file(&self) -> &Path {
        &self.touch
    }

    /// The faults that somebody should look at, a sentence each, with the remedy.
    pub fn alarms(&self) -> Vec<String> {
        let faults = self.faults.lock();
        let unread = faults.unread.as_deref().map(unread);
        let unwritten = faults.unwritten.as_deref();
        let unwritten = unwritten.map(|fault| format!("{fault} (a restart has the stops of before)"));
        unread.into_iter().chain(unwritten).chain(faults.unseen.clone()).collect()
    }

    /// Looks if the file that stops everything is there. Where that cannot be known, all stays as it was.
    pub fn look(&self) {
        let found = match touch::look(&self.touch) {
            Ok(found) => found,
            Err(error) => {
                let shown = self.touch.display();
                let fault = format!("it cannot be known if {shown} is there, which would stop all: {error}");
                if self.faults.lock().unseen.replace(fault.clone()).is_none() {
                    tracing::warn!("{fault}");
                }
                return;
            }
        };
        self.faults.lock().unseen = None;
        let before = self.in_force().touched.clone();
        if before.as_ref().map(|order| (&order.reason, order.by))
            == found.as_ref().map(|found| (&found.reason, Some(found.owner)))
        {
            return;
        }
        let since = before.as_ref().map_or_else(now, |order| order.since);
        let order = found.map(|found| {
            let (by, target) = (Some(found.owner), StopTarget::All {});
            Arc::new(StopOrder { target, reason: found.reason, by, since, until: None })
        });
        self.change(|book| book.touched.clone_from(&order));
        let shown = self.touch.display();
        match (order, before) {
            (Some(order), _) => {
                let owner = order.by.unwrap_or_default();
                let words = format!("the file {shown} of user {owner} is there: {}", order.reason);
                self.tell(&order, None, words.trim_end_matches([':', ' ']));
            }
            (None, Some(before)) => self.tell_end(&before, None, &format!("the file {shown} has gone")),
            (None, None) => {}
        }
    }

    /// Takes stops back whose time is over, as long as the daemon runs.
    pub async fn run_out(self: Arc<Self>) {
        let mut changes = self.changes();
        loop {
            let end = self.in_force().next_end();
            let over = async {
                let Some(end) = end else { return std::future::pending().await };
                let clock = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                sleep(Duration::from_secs(end).saturating_sub(clock).min(NAP)).await;
            };
            tokio::select! {
                () = over => {
                    let this = Arc::clone(&self);
                    // It writes a file.
                    let _ = tokio::task::spawn_blocking(move || this.sweep(now())).await;
                }
                // The sender is this value's.
                _ = changes.changed() => {}
            }
        }
    }

    /// Takes back the stops whose time is over. Writes a file: not for a worker's thread.
    pub(super) fn sweep(&self, now: u64) {
        if !self.in_force().ordered.values().any(|order| order.is_over(now)) {
            return;
        }
        // Looked at once more: it may have been given more time meanwhile.
        let over = self.change(|book| {
            book.ordered
                .extract_if(.., |_, order| order.is_over(now))
                .map(|(_, order)| order)
                .collect::<Vec<_>>()
        });
        for order in over {
            self.tell_end(&order, None, "its time is over");
        }
        // An alarm tells of it.
        let _ = self.keep();
    }

    /// Changes what is in force, and tells whoever runs.
    pub(super) fn change<T>(&self, change: impl FnOnce(&mut StopBook) -> T) -> T {
        let turn = self.turn.lock();
        let mut book = StopBook::clone(&self.in_force.load());
        let changed = change(&mut book);
        self.in_force.store(Arc::new(book));
        drop(turn);
        self.changes.send_modify(|count| *count += 1);
        changed
    }

    /// Writes the orders that are in force to the state file. One that could not be read is left alone: it
    /// may have more than is known.
    ///
    /// # Errors
    /// A sentence with place, reason and remedy.
    pub(super) fn keep(&self) -> Result<(), String> {
        let _writing = self.writing.lock();
        if let Some(fault) = &self.faults.lock().unread {
            return Err(unread(fault));
        }
        let written = store::write(&self.path, &self.in_force().ordered);
        self.faults.lock().unwritten = written.clone().err();
        written
    }

    /// Sets a state file aside that could not be read; what it had is not stopped any more.
    ///
    /// # Errors
    /// A sentence with place and reason: everything stays stopped.
    pub(super) fn set_aside(&self) -> Result<Option<Arc<StopOrder>>, String> {
        let _writing = self.writing.lock();
        if self.in_force().unread.is_none() {
            return Ok(None);
        }
        let aside = self.path.with_extension("json.broken");
        match fs::rename(&self.path, &aside) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                let (from, to) = (self.path.display(), aside.display());
                return Err(format!("{from} cannot be set aside as {to}: {error}; move it yourself"));
            }
            _ => {}
        }
        self.faults.lock().unread = None;
        Ok(self.change(|book| book.unread.take()))
    }

    /// Puts a stop on record and into the log, with the user who ordered it.
    pub(super) fn tell(&self, order: &StopOrder, by: Option<u32>, words: &str) {
        tracing::warn!("stopped: {}: {words}", order.target);
        let client = by.map(|uid| format!("unix:{uid}").into());
        let decision = Some(Verdict::Deny);
        self.record(order, Record { client, decision, ..on_record(Event::CallsStopped, words) });
    }

    /// Puts the end of a stop on record and into the log.
    pub(super) fn tell_end(&self, order: &StopOrder, by: Option<u32>, why: &str) {
        tracing::warn!("resumed: {}: {why}", order.target);
        let client = by.map(|uid| format!("unix:{uid}").into());
        self.record(order, Record { client, ..on_record(Event::CallsResumed, why) });
    }

    fn record(&self, order: &StopOrder, record: Record) {
        let (tenant, subject) = match &order.target {
            StopTarget::Tenant { tenant } => (Some(tenant), None),
            StopTarget::Principal { principal, tenant } => (tenant.as_ref(), Some(principal)),
            _ => (None, None),
        };
        let named = |name: Option<&str>| name.map(Into::into);
        let Some(audit) = &self.audit else { return };
        // A full log is the writer's to tell: a stop does not wait for it.
        let _ = audit.record_done(Record {
            tenant: named(tenant.map(String::as_str)),
            subject: named(subject.map(String::as_str)),
            upstream: named(order.target.upstream()),
            target: Some(order.target.to_string().into()),
            ..record
        });
    }
}

/// A record of a stop or its end, for this reason.
fn on_record(event: Event, reason: &str) -> Record {
    Record { rule_id: Some(RULE.into()), reason: Some(reason.into()), ..Record::new(event) }
}

fn unread(fault: &str) -> String {
    format!(
        "{fault}. Everything is stopped: correct the file and start Airlock again, or have it set aside by \
         `airlock resume --all`, and stop anew what has to be"
    )
}
