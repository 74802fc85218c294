//! Sessions of legacy clients. A session belongs to the principal that opened it: its id is worthless to anybody else.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::auth::principal::{Identity, Principal};
use crate::config::schema::SessionShares;
use crate::limits::budget::{Account, Budget};
use crate::limits::fair::{self, Places, Seat};
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
    endpoint: Endpoint,
    owner: Identity,
    /// What is kept for it is charged to this.
    pub account: Account,
    /// What the client can do for a server, as it said in `initialize`.
    pub capabilities: ClientCapabilities,
    born: Instant,
    /// Milliseconds from `born` to the last request.
    used: AtomicU64,
    calls: Mutex<HashMap<Id, Arc<Notify>>>,
    /// The level from which on the client wants log messages: its place in [`Level::ALL`], or none of them.
    level: AtomicU8,
    /// How many of its event streams are being read.
    readers: AtomicUsize,
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

/// All sessions.
pub struct Sessions {
    all: Mutex<HashMap<Arc<str>, Kept>>,
    budget: Budget,
    places: Places,
}

/// A session, and its place.
type Kept = (Arc<Session>, Seat);

impl Sessions {
    /// None yet, and as many as these shares allow; what is kept for them is charged to this budget.
    pub fn new(budget: &Budget, shares: &SessionShares) -> Self {
        let SessionShares { total, per_tenant, per_principal } = *shares;
        let places = Places::new(fair::Shares { total, per_tenant, per_principal });
        Self { all: Mutex::default(), budget: budget.clone(), places }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Arc<str>, Kept>> {
        // Every change to the map is one call, so a panic elsewhere leaves it whole.
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens a session as soon as there is a place; `None` when there is none for a moment, or the kernel has
    /// no random numbers.
    pub async fn open_soon(
        &self,
        principal: &Principal,
        endpoint: &Endpoint,
        revision: Revision,
        capabilities: ClientCapabilities,
    ) -> Option<Arc<Session>> {
        let attempt = || self.open(principal, endpoint, revision, capabilities).ok_or(());
        fair::soon(attempt, |()| true).await.ok()
    }

    /// Opens a session; `None` when there are too many, or the kernel has no random numbers.
    pub fn open(
        &self,
        principal: &Principal,
        endpoint: &Endpoint,
        revision: Revision,
        capabilities: ClientCapabilities,
    ) -> Option<Arc<Session>> {
        let seat = self.places.enter(principal.identity()).ok()?;
        let mut random = [0; 16];
        getrandom::fill(&mut random).ok()?;
        let id: Arc<str> = format!("{:032x}", u128::from_ne_bytes(random)).into();
        let session = Arc::new(Session {
            id: Arc::clone(&id),
            revision,
            endpoint: endpoint.clone(),
            owner: principal.identity().clone(),
            account: self.budget.of(principal.identity()).session(),
            capabilities,
            born: Instant::now(),
            used: AtomicU64::new(0),
            calls: Mutex::default(),
            level: AtomicU8::new(u8::MAX),
            readers: AtomicUsize::new(0),
            streams: Mutex::default(),
        });
        self.lock().insert(id, (Arc::clone(&session), seat));
        Some(session)
    }

    /// The session of an id, for the principal and at the endpoint that it was opened for only.
    pub fn get(&self, id: &str, principal: &Principal, endpoint: &Endpoint) -> Option<Arc<Session>> {
        let session = self.lock().get(id).map(|(session, _)| Arc::clone(session))?;
        if session.endpoint != *endpoint || session.owner != *principal.identity() {
            return None;
        }
        session.touch();
        Some(session)
    }

    /// Ends a session and its event streams.
    pub fn close(&self, id: &str) {
        let session = self.lock().remove(id);
        if let Some((session, _)) = session {
            session.close();
        }
    }

    /// Ends the sessions that were not used for `idle`; returns their ids.
    pub fn expire(&self, idle: Duration) -> Vec<Arc<str>> {
        let mut ended = Vec::new();
        self.lock().retain(|_, (session, _)| {
            let keep = session.idle() < idle || session.is_busy();
            if !keep {
                ended.push(Arc::clone(session));
            }
            keep
        });
        for session in &ended {
            session.close();
        }
        ended.into_iter().map(|session| Arc::clone(&session.id)).collect()
    }

    /// Takes away what has waited too long in any session; see [`Session::sweep`].
    pub fn sweep(&self) {
        let sessions: Vec<_> = self.lock().values().map(|(session, _)| Arc::clone(session)).collect();
        for session in sessions {
            session.sweep();
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.lock().len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Session {
    fn calls(&self) -> std::sync::MutexGuard<'_, HashMap<Id, Arc<Notify>>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn touch(&self) {
        let now = u64::try_from(self.born.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.used.store(now, Ordering::Relaxed);
    }

    /// Whether a call runs or a stream is read.
    fn is_busy(&self) -> bool {
        self.readers.load(Ordering::Relaxed) > 0 || !self.calls().is_empty()
    }

    /// One more of its streams is being read, or one less.
    pub(super) fn reading(&self, begins: bool) {
        if begins {
            self.readers.fetch_add(1, Ordering::Relaxed);
        } else {
            self.readers.fetch_sub(1, Ordering::Relaxed);
            self.touch();
        }
    }

    fn idle(&self) -> Duration {
        self.born.elapsed().saturating_sub(Duration::from_millis(self.used.load(Ordering::Relaxed)))
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

impl Drop for Cancellable {
    fn drop(&mut self) {
        self.session.calls().remove(&self.id);
        self.session.touch();
    }
}

impl Default for Sessions {
    fn default() -> Self {
        Self::new(&Budget::default(), &SessionShares::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn principal(subject: &str, tenant: Option<&str>) -> Principal {
        Principal::named(subject, tenant)
    }

    #[test]
    fn a_session_is_worthless_to_anybody_else() {
        let sessions = Sessions::default();
        let alice = principal("alice", Some("acme"));
        let session = sessions
            .open(&alice, &Endpoint::Merged, Revision::LATEST_LEGACY, ClientCapabilities::default())
            .expect("a session");
        assert!(sessions.get(&session.id, &alice, &Endpoint::Merged).is_some());
        for thief in
            [principal("mallory", Some("acme")), principal("alice", Some("other")), principal("alice", None)]
        {
            assert!(sessions.get(&session.id, &thief, &Endpoint::Merged).is_none());
        }
        assert!(sessions.get(&session.id, &alice, &Endpoint::One("docs".into())).is_none());
        sessions.close(&session.id);
        assert!(sessions.get(&session.id, &alice, &Endpoint::Merged).is_none());
    }

    #[test]
    fn a_session_keeps_its_level() {
        let session = Sessions::default()
            .open(
                &principal("alice", None),
                &Endpoint::Merged,
                Revision::LATEST_LEGACY,
                ClientCapabilities::default(),
            )
            .expect("a session");
        assert_eq!(session.level(), None);
        for level in Level::ALL {
            session.set_level(level);
            assert_eq!(session.level(), Some(level));
        }
    }

    #[test]
    fn idle_sessions_end_and_busy_ones_do_not() {
        let sessions = Sessions::default();
        let alice = principal("alice", None);
        let idle = sessions
            .open(&alice, &Endpoint::Merged, Revision::LATEST_LEGACY, ClientCapabilities::default())
            .expect("a session");
        let busy = sessions
            .open(&alice, &Endpoint::Merged, Revision::LATEST_LEGACY, ClientCapabilities::default())
            .expect("a session");
        let id = Id::parse("1").expect("an id");
        let call = busy.enter(&id).expect("a call");
        assert!(busy.enter(&id).is_none(), "an id in flight is not given twice");
        assert_eq!(sessions.expire(Duration::ZERO), [Arc::clone(&idle.id)]);
        drop(call);
        assert!(busy.enter(&id).is_some());
        assert_eq!(sessions.expire(Duration::ZERO), [Arc::clone(&busy.id)]);
    }
}
