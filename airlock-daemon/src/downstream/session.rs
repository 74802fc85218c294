//! A session of a legacy client; all of them are [`Sessions`](super::sessions::Sessions).

use std::collections::HashMap;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;

use crate::auth::principal::Identity;
use crate::limits::budget::Account;
use crate::mcp::client::ClientCapabilities;
use crate::mcp::envelope::Id;
use crate::mcp::level::Level;
use crate::mcp::revision::Revision;
use crate::pipeline::route::Endpoint;

use super::streams::Streams;

/// Most calls of a session at a time.
const MAX_CALLS: usize = 128;

/// A client's session.
pub struct Session {
    /// Its id: 32 hexadecimal digits from the kernel's random numbers.
    pub id: Arc<str>,
    /// The revision agreed on.
    pub revision: Revision,
    pub(super) endpoint: Endpoint,
    pub(super) owner: Identity,
    /// The account that everything kept for it is charged to.
    pub account: Account,
    /// The capabilities of the client that servers may use, as it declared them in `initialize`.
    pub capabilities: ClientCapabilities,
    /// From when on `used` counts: the same for all sessions.
    clock: Instant,
    /// Nanoseconds on the clock to the last use.
    used: AtomicU64,
    calls: Mutex<HashMap<Id, Arc<Notify>>>,
    /// The level from which on the client wants log messages: its place in [`Level::ALL`], or none of them.
    level: AtomicU8,
    /// How many of its requests are being served, and how many of its event streams read.
    users: AtomicUsize,
    /// Its event streams; most sessions never have one.
    pub(super) streams: Mutex<Streams>,
}

/// A call of a session while it runs; it can be cancelled by the id that the client gave it.
pub struct Cancellable {
    session: Arc<Session>,
    id: Id,
    /// Told when the client cancels.
    pub cancelled: Arc<Notify>,
}

/// A session while one of its requests is served: it ends for nobody meanwhile who wants its place.
pub struct Served(Arc<Session>);

impl Served {
    pub(super) fn new(session: &Arc<Session>) -> Self {
        session.used_by(true);
        Self(Arc::clone(session))
    }
}

impl Deref for Served {
    type Target = Arc<Session>;

    fn deref(&self) -> &Arc<Session> {
        &self.0
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.0.used_by(false);
    }
}

impl Session {
    /// A new one of a principal, whose use is counted from `clock` on.
    pub(super) fn new(
        id: Arc<str>,
        owner: &Identity,
        account: Account,
        endpoint: &Endpoint,
        spoken: (Revision, ClientCapabilities),
        clock: Instant,
    ) -> Self {
        let (revision, capabilities) = spoken;
        let session = Self {
            id,
            revision,
            endpoint: endpoint.clone(),
            owner: owner.clone(),
            account,
            capabilities,
            clock,
            used: AtomicU64::new(0),
            calls: Mutex::default(),
            level: AtomicU8::new(u8::MAX),
            users: AtomicUsize::new(0),
            streams: Mutex::default(),
        };
        session.touch();
        session
    }

    fn calls(&self) -> MutexGuard<'_, HashMap<Id, Arc<Notify>>> {
        self.calls.lock()
    }

    fn touch(&self) {
        self.used.store(nanos(self.clock.elapsed()), Ordering::Relaxed);
    }

    /// When it was last used, in nanoseconds on the clock.
    pub(super) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// True while a request is served, a call runs or a stream is read.
    pub(super) fn is_busy(&self) -> bool {
        self.users.load(Ordering::Acquire) > 0 || !self.calls().is_empty()
    }

    /// One more uses it, serving a request or reading a stream, or one less.
    pub(super) fn used_by(&self, begins: bool) {
        self.touch();
        if begins {
            self.users.fetch_add(1, Ordering::AcqRel);
        } else {
            self.users.fetch_sub(1, Ordering::AcqRel);
        }
    }

    pub(super) fn idle(&self) -> Duration {
        self.clock.elapsed().saturating_sub(Duration::from_nanos(self.used()))
    }

    /// The level from which on the client wants log messages, where it has said so.
    pub fn level(&self) -> Option<Level> {
        Level::ALL.get(usize::from(self.level.load(Ordering::Relaxed))).copied()
    }

    /// Keeps the level for the calls to come.
    pub fn set_level(&self, level: Level) {
        self.level.store(level as u8, Ordering::Relaxed);
    }

    /// Enters a call; `None` when its id is in use by another call of the session, or too many run.
    pub fn enter(self: &Arc<Self>, id: &Id) -> Option<Cancellable> {
        let cancelled = Arc::new(Notify::new());
        let mut calls = self.calls();
        if calls.contains_key(id) || calls.len() >= MAX_CALLS {
            return None;
        }
        calls.insert(id.clone(), Arc::clone(&cancelled));
        Some(Cancellable { session: Arc::clone(self), id: id.clone(), cancelled })
    }

    /// Cancels a call; nothing happens when there is none of that id.
    pub fn cancel(&self, id: &Id) {
        if let Some(cancelled) = self.calls().get(id) {
            cancelled.notify_one();
        }
    }
}

/// A time on the clock; after some centuries it stands still.
pub(super) fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

impl Drop for Cancellable {
    fn drop(&mut self) {
        self.session.calls().remove(&self.id);
        self.session.touch();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::principal::Principal;
    use crate::limits::budget::Budget;

    #[test]
    fn a_session_keeps_its_level() {
        let alice = Principal::named("alice", None);
        let account = Budget::default().of(alice.identity()).session();
        let spoken = (Revision::LATEST_LEGACY, ClientCapabilities::default());
        let session =
            Session::new("id".into(), alice.identity(), account, &Endpoint::Merged, spoken, Instant::now());
        assert_eq!(session.level(), None);
        for level in Level::ALL {
            session.set_level(level);
            assert_eq!(session.level(), Some(level));
        }
    }
}
