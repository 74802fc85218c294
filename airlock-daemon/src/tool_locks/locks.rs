//! The locks in force, and how they come to be: from the file, by the first use of a server, by approval.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use airlock_tool_locks::definition::{Digest, Kind};
use airlock_tool_locks::lock_file::{Definitions, LockFile, Server};
use arc_swap::ArcSwap;
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::watch;

use crate::audit::{AuditLog, Event, Record};
use crate::config::schema::{Config, ToolLockMode};
use crate::observe::metrics::Metrics;

use super::book::Book;
use super::store;

/// The rule that a refusal and a record name.
pub(super) const RULE: &str = "tool_lock";

/// The locks of this host.
pub struct ToolLocks {
    pub(super) mode: ToolLockMode,
    pub(super) path: PathBuf,
    host: String,
    in_force: ArcSwap<InForce>,
    /// The text on disk at the last attempt to read or write it. Held through the whole attempt, so that two
    /// do not overtake each other; no call waits for it.
    turn: Mutex<Option<Digest>>,
    faults: Mutex<Faults>,
    changes: watch::Sender<u64>,
    pub(super) book: Mutex<Book>,
    /// None where nothing is compared.
    pub(super) audit: Option<AuditLog>,
    pub(super) metrics: Arc<Metrics>,
}

/// The file as it is obeyed, or why there is none to obey.
pub(super) type InForce = Result<LockFile, String>;

#[derive(Debug, Default)]
pub(super) struct Faults {
    /// The file on disk is not the one in force.
    pub(super) rejected: Option<String>,
    /// The file could not be written.
    pub(super) unwritten: Option<String>,
    /// Servers whose first lists were not known as a whole, each with why.
    pub(super) unlocked: BTreeMap<String, String>,
}

/// The result of a reload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reloaded {
    /// The file on disk is the one in force.
    Same,
    /// The file on disk is in force now.
    Changed,
}

/// The things that a list may be compared with.
pub(super) enum Lock<'a> {
    /// Nothing: nothing is compared.
    Off,
    /// Nothing yet: the server has never been locked.
    Never,
    /// Nothing: the server was locked, and this kind was not looked at then.
    Unlooked,
    /// The file cannot be used.
    Unusable(&'a str),
    /// The lock is of a server with another command or address.
    Foreign(&'a Server),
    /// These definitions.
    Of(&'a Definitions),
}

/// Why something is held back, by the lock that it is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    /// It is another than the one that is locked by its name.
    Changed,
    /// Nothing is locked by its name.
    New,
    /// Nothing of its kind was looked at when its server was locked.
    Unlooked,
    /// The lock is of a server with another command or address.
    Foreign,
    /// The file of the locks cannot be used.
    Unusable,
    /// Its server has no lock.
    Unlocked,
}

impl Lock<'_> {
    /// Why something of this name is held back, if it is.
    pub(super) fn hold(&self, name: &str) -> Hold {
        match self {
            Self::Of(definitions) if definitions.contains_key(name) => Hold::Changed,
            Self::Of(_) => Hold::New,
            Self::Unlooked => Hold::Unlooked,
            Self::Foreign(_) => Hold::Foreign,
            Self::Unusable(_) => Hold::Unusable,
            Self::Never | Self::Off => Hold::Unlocked,
        }
    }

    /// True for a definition that may be shown and called.
    pub(super) fn has(&self, name: &str, digest: Digest) -> bool {
        match self {
            Self::Off => true,
            Self::Never | Self::Unlooked | Self::Unusable(_) | Self::Foreign(_) => false,
            Self::Of(definitions) => definitions.get(name).is_some_and(|locked| locked.digest == digest),
        }
    }
}

/// The name of this host, as a file of locks has it.
pub(super) fn own_host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

impl ToolLocks {
    /// Reads the file. Where it is not good, nothing that has a lock is offered until one that is good takes
    /// its place; why is in [`ToolLocks::alarms`].
    pub fn start(config: &Config, audit: &AuditLog, metrics: &Arc<Metrics>) -> Arc<Self> {
        let locks = Self {
            mode: config.tool_lock.mode,
            path: config.tool_lock_file(),
            audit: Some(audit.clone()),
            ..Self::nothing(metrics)
        };
        if let Err(error) = locks.reload(true) {
            tracing::error!("all that has a lock is held back: {error}");
            locks.in_force.store(Arc::new(Err(error)));
        }
        Arc::new(locks)
    }

    /// Locks that compare nothing, whatever the configuration says: for a server that is only tried.
    pub fn off(metrics: &Arc<Metrics>) -> Arc<Self> {
        Arc::new(Self::nothing(metrics))
    }

    fn nothing(metrics: &Arc<Metrics>) -> Self {
        Self {
            mode: ToolLockMode::Off,
            path: PathBuf::new(),
            host: own_host(),
            in_force: ArcSwap::from_pointee(Ok(LockFile::default())),
            turn: Mutex::default(),
            faults: Mutex::default(),
            changes: watch::Sender::new(0),
            book: Mutex::default(),
            audit: None,
            metrics: Arc::clone(metrics),
        }
    }

    /// True where definitions are compared.
    pub fn is_on(&self) -> bool {
        self.mode != ToolLockMode::Off
    }

    /// Counts what changes lists: who shows them can tell when they may have become others.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Where the file is.
    pub fn path(&self) -> &std::path::Path {
        &self.path
    }

    /// The lock of a list in what is in force.
    pub(super) fn lock<'a>(
        &self,
        in_force: &'a InForce,
        upstream: &str,
        bound_to: &str,
        kind: Kind,
    ) -> Lock<'a> {
        if !self.is_on() {
            return Lock::Off;
        }
        match in_force {
            Err(why) => Lock::Unusable(why),
            Ok(file) => match file.upstreams.get(upstream) {
                Some(server) if server.bound_to != bound_to => Lock::Foreign(server),
                Some(server) => server.kinds.get(&kind).map_or(Lock::Unlooked, Lock::Of),
                None => Lock::Never,
            },
        }
    }

    /// The file that is in force now.
    pub(super) fn in_force(&self) -> Arc<InForce> {
        self.in_force.load_full()
    }

    /// True where all that a server lists at its first use becomes its lock.
    pub(super) fn trusts_first(&self) -> bool {
        self.mode == ToolLockMode::TrustFirstUse
    }

    /// Why the file could not be written, where it could not.
    pub(super) fn unwritten(&self) -> Option<String> {
        self.faults().unwritten.clone()
    }

    pub(super) fn faults(&self) -> MutexGuard<'_, Faults> {
        self.faults.lock()
    }

    pub(super) fn book(&self) -> MutexGuard<'_, Book> {
        // Names and texts are moved whole, so a panic elsewhere leaves a book that can be read.
        self.book.lock()
    }

    /// Puts the file on disk in force, if it is good; does nothing where it is what it was at the last
    /// attempt, unless that is `asked` for. Reads a file: not for a worker's thread.
    ///
    /// # Errors
    /// A sentence with place, reason and remedy; the locks in force stay.
    pub fn reload(&self, asked: bool) -> Result<Option<Reloaded>, String> {
        if !self.is_on() {
            return Ok(None);
        }
        let mut tried = self.turn.lock();
        let read = store::read(&self.path);
        let digest = store::digest(&read);
        if !asked && *tried == Some(digest) {
            return Ok(None);
        }
        *tried = Some(digest);
        let file = read.and_then(|text| match text {
            Some(text) => store::parse(&self.path, &text, Some(&self.host)),
            None => Ok(LockFile::default()),
        });
        match file {
            Err(error) => {
                self.faults().rejected = Some(error.clone());
                Err(error)
            }
            Ok(file) => {
                // A lock that had no place in the file before may well have one in this.
                *self.faults() = Faults::default();
                if self.in_force.load().as_ref().as_ref() == Ok(&file) {
                    return Ok(Some(Reloaded::Same));
                }
                self.settle(&file);
                self.in_force.store(Arc::new(Ok(file)));
                self.changed();
                Ok(Some(Reloaded::Changed))
            }
        }
    }

    pub(super) fn record_locked(&self, upstream: &str, kind: Kind, reason: &str) {
        let Some(audit) = &self.audit else { return };
        // A full log is the writer's to tell.
        let _ = audit.record_done(Record {
            upstream: Some(upstream.into()),
            method: Some(kind.list().into()),
            rule_id: Some(RULE.into()),
            reason: Some(reason.into()),
            ..Record::new(Event::ToolsLocked)
        });
    }

    /// Changes the file on disk and in force; `change` says if it has changed anything. The file stays as it
    /// is where it is not the one in force, is only to be read, or would be too long to be read again.
    pub(super) fn write(
        &self,
        change: impl FnOnce(&mut LockFile) -> Result<bool, String>,
    ) -> Result<bool, String> {
        let mut tried = self.turn.lock();
        let unwritten = |why: &String| self.faults().unwritten = Some(why.clone());
        let rejected = self.faults().rejected.clone();
        let is_there = store::may_write(&self.path, *tried, rejected.as_deref()).inspect_err(unwritten)?;
        let in_force = self.in_force();
        let before = in_force.as_ref().as_ref().map_err(String::clone)?;
        let mut file = before.clone();
        if !change(&mut file)? {
            return Ok(false);
        }
        if file.host.is_none() && !is_there {
            file.host = Some(self.host.clone());
        }
        let text = store::text(&self.path, before, &file).inspect_err(unwritten)?;
        store::write(&self.path, &text).inspect_err(unwritten)?;
        self.faults().unwritten = None;
        *tried = Some(store::digest(&Ok(Some(text))));
        self.settle(&file);
        self.in_force.store(Arc::new(Ok(file)));
        Ok(true)
    }

    /// Forgets what is held back and is locked now.
    fn settle(&self, file: &LockFile) {
        let mut book = self.book();
        for (upstream, server) in &file.upstreams {
            for (kind, definitions) in &server.kinds {
                book.settle(upstream, *kind, definitions);
            }
            self.metrics.upstream(upstream).held_back(book.count(upstream));
        }
    }

    pub(super) fn changed(&self) {
        self.changes.send_modify(|count| *count += 1);
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::Path;

    use airlock_tool_locks::definition::Definition;

    use super::*;

    fn locks(path: &Path) -> ToolLocks {
        let locks = ToolLocks {
            mode: ToolLockMode::TrustFirstUse,
            path: path.to_owned(),
            ..ToolLocks::nothing(&Metrics::new())
        };
        locks.reload(true).expect("no file, or a good one");
        locks
    }

    /// The first use of a server with one tool that has this schema.
    fn first(locks: &ToolLocks, upstream: &str, schema: &str) -> Result<(), String> {
        let text = format!(r#"{{"name":"t","inputSchema":{schema}}}"#);
        let tool = Definition::read(Kind::Tools, &text).expect("a tool");
        locks.lock_first(upstream, "stdio docs", vec![(Kind::Tools, Ok(vec![tool]))]).map(drop)
    }

    #[test]
    fn no_server_takes_the_room_of_the_others() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("tools.lock");
        let own = locks(&path);
        let deep = |each: &str| {
            let many = vec![each; 100_000].join(",");
            format!("{}{many}{}", "[".repeat(60), "]".repeat(60))
        };
        let error = first(&own, "big", &deep("{}")).expect_err("a line for each is too much");
        assert!(error.starts_with("the definitions of upstream big would take more than 8388608"), "{error}");
        assert!(error.contains("`airlock tools approve big/NAME`") && own.alarms().len() == 1, "{error}");
        assert!(!path.exists(), "the disk is not touched");
        for (upstream, schema) in [("docs", "{}".to_owned()), ("flat", deep("1"))] {
            assert_eq!(first(&own, upstream, &schema), Ok(()), "{upstream}");
        }
        assert!(own.alarms().is_empty() && *locks(&path).in_force() == *own.in_force());
    }

    #[test]
    fn a_file_that_is_only_to_be_read_is_obeyed_and_stays() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("tools.lock");
        first(&locks(&path), "docs", "{}").expect("locked");
        let text = fs::read_to_string(&path).expect("a file");
        let mode = |mode| fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("a mode");
        mode(0o444);
        let own = locks(&path);
        let error = first(&own, "other", "{}").expect_err("it is read only");
        assert!(error.contains("it is only to be read") && own.unwritten() == Some(error));
        assert_eq!(fs::read_to_string(&path).expect("a file"), text);
        mode(0o644);
        assert_eq!((first(&own, "other", "{}"), own.unwritten()), (Ok(()), None));
    }

    #[test]
    fn an_edit_that_is_not_read_yet_or_was_rejected_is_not_lost() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("tools.lock");
        let own = locks(&path);
        first(&own, "docs", "{}").expect("locked");
        let refused = |wanted: &str| {
            let error = first(&own, "other", "{}").expect_err(wanted);
            assert!(error.contains("tools.lock is not ") && error.contains(wanted), "{error}");
        };
        fs::write(&path, "<<<<<<< ours").expect("written");
        refused("have it read by SIGHUP");
        own.reload(false).expect_err("it is broken");
        refused("no JSON that can be read");
        assert_eq!(fs::read_to_string(&path).expect("a file"), "<<<<<<< ours");
        fs::remove_file(&path).expect("removed");
        refused("have it read by SIGHUP");
        assert_eq!(own.reload(false), Ok(Some(Reloaded::Changed)));
        assert_eq!(first(&own, "other", "{}"), Ok(()));
        assert!(own.alarms().is_empty() && !fs::read_to_string(&path).expect("a file").contains("docs\": {"));
    }
}
