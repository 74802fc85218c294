//! The lists of one server, compared with its lock, and what each principal was shown of them of late.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use airlock_tool_locks::definition::{Definition, Digest, Kind};
use parking_lot::{Mutex, MutexGuard};
use tokio::task::spawn_blocking;

use crate::auth::principal::Identity;
use crate::config::schema;
use crate::mcp::revision::Era;
use crate::runtime::apart::{LONG, by_length};

use super::bound::bound_to;
use super::changed::Changed;
use super::first::Lists;
use super::locks::{Hold, InForce, Lock, ToolLocks};

/// How long a definition is believed to be what was seen, before a call asks for the list again.
const FRESH: Duration = Duration::from_mins(1);
/// How long a server that did not list is not asked again by a call.
const SILENT: Duration = Duration::from_secs(10);
/// How long a first lock that has failed is not tried again: each attempt asks for all lists.
const FAILED: Duration = Duration::from_secs(10);
/// Most definitions of one server that are remembered, of all principals together. A list counts as one more:
/// an empty one takes room as well.
const MAX_SEEN: usize = 65_536;

/// Compares the lists of one server.
pub struct Guard {
    locks: Arc<ToolLocks>,
    upstream: Arc<str>,
    bound_to: String,
    changed: Arc<Changed>,
    seen: Mutex<HashMap<(Viewer, Kind), Sight>>,
    /// When the last attempt failed to lock all that the server lists at its first use; clients were shown
    /// nothing of it.
    failed: Arc<Mutex<Option<Instant>>>,
}

/// Whoever is shown one and the same list: a principal or, where the server does not tell them apart, all; in
/// one era.
pub type Viewer = (Option<Identity>, Era);

/// A list as a viewer saw it last.
struct Sight {
    digests: HashMap<Box<str>, Digest>,
    since: Instant,
    /// How often the server had said that the list has changed, before it was asked for it.
    changed: u64,
    /// False where some pages are missing.
    is_whole: bool,
    /// When the server did not list.
    silent: Option<Instant>,
}

/// How it stands with a tool or a prompt that is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// It is what was locked.
    Good,
    /// It is held back.
    Held(Hold),
    /// It has not been seen of late: the list has to be asked for.
    Unseen,
    /// The server does not list it.
    Unlisted,
    /// The server does not list, so that nobody knows what it is now.
    Silent,
}

impl Guard {
    /// For this server.
    pub fn new(locks: &Arc<ToolLocks>, config: &schema::Upstream) -> Self {
        Self {
            locks: Arc::clone(locks),
            upstream: config.name.as_str().into(),
            bound_to: bound_to(config),
            changed: Arc::default(),
            seen: Mutex::default(),
            failed: Arc::default(),
        }
    }

    /// True where definitions are compared.
    pub fn is_on(&self) -> bool {
        self.locks.is_on()
    }

    /// The command or the address of the server.
    pub fn bound_to(&self) -> &str {
        &self.bound_to
    }

    /// Where its notifications are heard.
    pub fn changed(&self) -> Arc<Changed> {
        Arc::clone(&self.changed)
    }

    /// How often it has said by now that a list has changed; to be read before the list is asked for.
    pub fn times(&self, kind: Kind) -> u64 {
        self.changed.times(kind)
    }

    fn seen(&self) -> MutexGuard<'_, HashMap<(Viewer, Kind), Sight>> {
        // A sight is put in whole, so a panic elsewhere leaves whole ones.
        self.seen.lock()
    }

    /// True where all that the server lists at its first use is still to be locked.
    pub fn awaits_first(&self) -> bool {
        self.awaits_first_at(Instant::now())
    }

    fn awaits_first_at(&self, now: Instant) -> bool {
        let has_failed = |failed: Instant| now.duration_since(failed) < FAILED;
        self.locks.trusts_first()
            && matches!(self.lock(&self.locks.in_force(), Kind::Tools), Lock::Never)
            && !self.failed.lock().is_some_and(has_failed)
    }

    /// Remembers that nothing could be locked at the first use, since the list that was asked for is not known
    /// as a whole; why is a clause.
    pub fn first_failed(&self, why: &str) {
        *self.failed.lock() = Some(Instant::now());
        self.locks.is_unlocked(&self.upstream, why);
    }

    /// Takes in a list, or a part of one, that was asked for when [`Guard::times`] was `changed`, of a server with
    /// locks; the names that may be shown.
    pub async fn take(
        &self,
        viewer: Viewer,
        kind: Kind,
        (definitions, changed): (&[Definition], u64),
        is_whole: bool,
    ) -> BTreeSet<String> {
        self.remember(viewer, kind, (definitions, changed), is_whole);
        let in_force = self.locks.in_force();
        let lock = self.lock(&in_force, kind);
        let (good, others): (Vec<_>, Vec<_>) =
            definitions.iter().partition(|one| lock.has(&one.name, one.digest));
        let good: BTreeSet<String> = good.into_iter().map(|one| one.name.clone()).collect();
        let others: Vec<Definition> = others.into_iter().cloned().collect();
        self.note(in_force, kind, good.clone(), others, is_whole).await;
        // Of an entry without a definition there is no name: it was compared with nothing.
        good
    }

    /// Takes note of a list that has been seen. To say what has become of thousands takes longer than the
    /// others of a worker should wait.
    async fn note(
        &self,
        in_force: Arc<InForce>,
        kind: Kind,
        good: BTreeSet<String>,
        others: Vec<Definition>,
        is_whole: bool,
    ) {
        let (locks, upstream, bound_to) =
            (Arc::clone(&self.locks), Arc::clone(&self.upstream), self.bound_to.clone());
        // One that is new is compared with all that are locked.
        let bytes = if others.is_empty() { 0 } else { LONG };
        let note = move || {
            let lock = locks.lock(&in_force, &upstream, &bound_to, kind);
            locks.note(&upstream, &lock, &in_force, kind, (&good, others), is_whole);
        };
        // One that broke off is noted the next time; what it has found is held back all the same.
        let _ = by_length(bytes, note).await;
    }

    fn lock<'a>(&self, in_force: &'a InForce, kind: Kind) -> Lock<'a> {
        self.locks.lock(in_force, &self.upstream, &self.bound_to, kind)
    }

    /// Locks all that the server lists at its first use. A kind that is not known as a whole is told of, and
    /// counts as one that was not looked at. It is on the disk before this comes back.
    pub async fn lock_first(&self, lists: Lists) {
        let (locks, upstream, bound_to) =
            (Arc::clone(&self.locks), Arc::clone(&self.upstream), self.bound_to.clone());
        let failed = Arc::clone(&self.failed);
        let locking = spawn_blocking(move || match locks.lock_first(&upstream, &bound_to, lists) {
            Ok(true) => {
                // Who has listed it meanwhile was shown nothing.
                if failed.lock().take().is_some() {
                    locks.changed();
                }
            }
            Ok(false) => {}
            Err(error) => {
                *failed.lock() = Some(Instant::now());
                tracing::error!(upstream = &*upstream, "nothing can be locked, so all is held back: {error}");
            }
        });
        // A thread that broke off has locked nothing: what is not known to be good is held back.
        let _ = locking.await;
    }

    fn remember(
        &self,
        viewer: Viewer,
        kind: Kind,
        (definitions, changed): (&[Definition], u64),
        is_whole: bool,
    ) {
        let now = Instant::now();
        let new = definitions.iter().map(|one| (one.name.as_str().into(), one.digest));
        let mut seen = self.seen();
        make_room(&mut seen, definitions.len());
        let empty = || Sight { digests: HashMap::new(), since: now, changed, is_whole, silent: None };
        let sight = seen.entry((viewer, kind)).or_insert_with(empty);
        if is_whole || sight.changed != changed || sight.since.elapsed() >= FRESH {
            *sight = empty();
        }
        sight.digests.extend(new);
        sight.silent = None;
    }

    /// Remembers that the server did not list when [`Guard::times`] was `changed`.
    pub fn is_silent(&self, viewer: Viewer, kind: Kind, changed: u64) {
        let now = Instant::now();
        let silent =
            Sight { digests: HashMap::new(), since: now, changed, is_whole: false, silent: Some(now) };
        let mut seen = self.seen();
        make_room(&mut seen, 0);
        seen.insert((viewer, kind), silent);
    }

    /// Forgets what a principal saw of the server, which may be another now.
    pub fn forget(&self, identity: Option<&Identity>) {
        if self.is_on() {
            self.seen().retain(|((own, _), _), _| own.as_ref() != identity);
        }
    }

    /// How it stands with a name, unless the server has said since that the list has changed. An approval
    /// counts at once.
    pub fn standing(&self, viewer: &Viewer, kind: Kind, name: &str) -> Standing {
        self.standing_since(viewer, kind, name, self.times(kind))
    }

    /// The same for who came when [`Guard::times`] was `changed`, whatever the server says meanwhile: where it
    /// says so with each list, one list is good for all who wait for it. One that is silent stays so.
    pub fn standing_since(&self, viewer: &Viewer, kind: Kind, name: &str, changed: u64) -> Standing {
        let sight_of = (viewer.clone(), kind);
        let is_older = |sight: &Sight| sight.silent.is_none() && sight.changed < changed;
        if self.is_on() && self.seen().get(&sight_of).is_some_and(is_older) {
            return Standing::Unseen;
        }
        self.last_standing(viewer, kind, name)
    }

    /// The same as far as it was seen, whatever the server says meanwhile: one that says with each list that
    /// it has changed is called by what it has just listed.
    pub fn last_standing(&self, viewer: &Viewer, kind: Kind, name: &str) -> Standing {
        if !self.is_on() {
            return Standing::Good;
        }
        let in_force = self.locks.in_force();
        let lock = self.lock(&in_force, kind);
        let seen = self.seen();
        let Some(sight) = seen.get(&(viewer.clone(), kind)) else { return Standing::Unseen };
        if let Some(silent) = sight.silent {
            // Without a lock as well: perhaps all of it was held back, since none could be written.
            return if silent.elapsed() < SILENT { Standing::Silent } else { Standing::Unseen };
        }
        if self.awaits_first() {
            // The lock that it was compared with is gone with its file: the next look makes another.
            return Standing::Unseen;
        }
        match sight.digests.get(name) {
            _ if sight.since.elapsed() >= FRESH => Standing::Unseen,
            Some(digest) if lock.has(name, *digest) => Standing::Good,
            Some(_) => Standing::Held(lock.hold(name)),
            None if sight.is_whole => Standing::Unlisted,
            None => Standing::Unseen,
        }
    }
}

/// Forgets everything where so many definitions of one more list would be too many.
fn make_room(seen: &mut HashMap<(Viewer, Kind), Sight>, definitions: usize) {
    let count: usize = seen.values().map(|sight| sight.digests.len() + 1).sum();
    if count + definitions + 1 > MAX_SEEN {
        seen.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::principal::Principal;
    use crate::config::schema::ToolLockMode;
    use crate::observe::metrics::Metrics;

    const EVERYBODY: Viewer = (None, Era::Modern);

    /// The guard of a server that is trusted at its first use; its lock file is to be in this folder.
    fn guard(folder: &std::path::Path) -> Guard {
        let mut locks = Arc::into_inner(ToolLocks::off(&Metrics::new())).expect("the only one");
        (locks.mode, locks.path) = (ToolLockMode::TrustFirstUse, folder.join("tools.lock"));
        locks.reload(true).expect("there is none yet");
        let upstream = r#"{"name":"docs","type":"stdio","command":["x"]}"#;
        Guard::new(&Arc::new(locks), &serde_json::from_str(upstream).expect("an upstream"))
    }

    #[test]
    fn a_server_that_does_not_list_is_not_called_because_it_has_no_lock() {
        let folder = tempfile::tempdir().expect("a folder");
        let guard = guard(folder.path());
        assert_eq!(guard.standing(&EVERYBODY, Kind::Tools, "read"), Standing::Unseen);
        guard.is_silent(EVERYBODY, Kind::Tools, 0);
        assert_eq!(guard.standing(&EVERYBODY, Kind::Tools, "read"), Standing::Silent);
    }

    #[tokio::test]
    async fn a_first_lock_that_fails_is_not_tried_at_once_and_told_of_when_it_comes() {
        let folder = tempfile::tempdir().expect("a folder");
        let guard = guard(&folder.path().join("sub"));
        let changes = guard.locks.changes();
        let tool = Definition::read(Kind::Tools, r#"{"name":"read"}"#).expect("a tool");
        let lists =
            || vec![(Kind::Tools, Ok(vec![tool.clone()])), (Kind::Prompts, Err("it is slow".to_owned()))];
        assert!(guard.awaits_first());
        guard.lock_first(lists()).await;
        assert!(!guard.awaits_first() && guard.awaits_first_at(Instant::now() + FAILED));
        assert!(!changes.has_changed().expect("it lives"), "nothing is locked yet");
        std::fs::create_dir(folder.path().join("sub")).expect("a folder");
        guard.lock_first(lists()).await;
        assert!(changes.has_changed().expect("it lives"), "clients were shown nothing before");
        let in_force = guard.locks.in_force();
        let locked = Kind::ALL.map(|kind| matches!(guard.lock(&in_force, kind), Lock::Of(_)));
        assert_eq!(locked, [true, false, false], "one that is not known was not looked at");
    }

    #[tokio::test]
    async fn what_is_held_back_is_so_for_the_reason_that_its_lock_is() {
        let folder = tempfile::tempdir().expect("a folder");
        let guard = guard(folder.path());
        let read = |text: &str| Definition::read(Kind::Tools, text).expect("a definition");
        let (old, new) = (read(r#"{"name":"old"}"#), read(r#"{"name":"new"}"#));
        let other = read(r#"{"name":"old","title":"x"}"#);
        let is = |kind, name: &str| guard.standing(&EVERYBODY, kind, name);
        let see = async |kind, definitions: &[Definition]| {
            guard.take(EVERYBODY, kind, (definitions, 0), true).await;
        };
        see(Kind::Tools, std::slice::from_ref(&old)).await;
        assert_eq!(is(Kind::Tools, "old"), Standing::Unseen, "it is still to be locked");
        guard.first_failed("it is slow");
        assert_eq!(is(Kind::Tools, "old"), Standing::Held(Hold::Unlocked));
        guard.lock_first(vec![(Kind::Tools, Ok(vec![old]))]).await;
        assert_eq!(is(Kind::Tools, "old"), Standing::Good);
        see(Kind::Tools, &[other, new.clone()]).await;
        let held = [is(Kind::Tools, "old"), is(Kind::Tools, "new")];
        assert_eq!(held, [Hold::Changed, Hold::New].map(Standing::Held));
        see(Kind::Prompts, &[new]).await;
        assert_eq!(is(Kind::Prompts, "new"), Standing::Held(Hold::Unlooked));
        std::fs::remove_file(guard.locks.path()).expect("removed");
        guard.locks.reload(true).expect("there is none");
        assert_eq!(is(Kind::Tools, "old"), Standing::Unseen, "it is locked anew by the next call");
    }

    #[tokio::test]
    async fn one_list_is_good_for_all_who_came_before_it_was_asked_for() {
        let folder = tempfile::tempdir().expect("a folder");
        let guard = guard(folder.path());
        guard.lock_first(vec![(Kind::Tools, Ok(Vec::new()))]).await;
        let said = || guard.changed().hear("notifications/tools/list_changed");
        let since = |changed| guard.standing_since(&EVERYBODY, Kind::Tools, "read", changed);
        said();
        guard.remember(EVERYBODY, Kind::Tools, (&[], guard.times(Kind::Tools)), true);
        said();
        assert_eq!(
            (since(0), since(1), since(2)),
            (Standing::Unlisted, Standing::Unlisted, Standing::Unseen)
        );
        assert_eq!(guard.standing(&EVERYBODY, Kind::Tools, "read"), Standing::Unseen);
        guard.is_silent(EVERYBODY, Kind::Tools, 2);
        said();
        let silent = guard.standing(&EVERYBODY, Kind::Tools, "read");
        assert_eq!(silent, Standing::Silent, "it is not asked again because it says so");
    }

    #[test]
    fn empty_lists_take_room_as_well() {
        let mut seen = HashMap::new();
        for number in 0..MAX_SEEN {
            let identity = Principal::named(&number.to_string(), None).identity().clone();
            let now = Instant::now();
            let sight =
                Sight { digests: HashMap::new(), since: now, changed: 0, is_whole: true, silent: None };
            seen.insert(((Some(identity), Era::Modern), Kind::Tools), sight);
        }
        make_room(&mut seen, 0);
        assert!(seen.is_empty());
    }
}
