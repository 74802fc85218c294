//! All sessions of legacy clients. A session belongs to the principal that opened it: its id is worthless to
//! anybody else.
//!
//! Clients go away without a word and leave their sessions behind. So where a principal finds no room for one
//! more, the new session takes the place of the one of its own that was left alone longest; the principal has
//! to wait only where all of them are in use.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Mutex, MutexGuard};

use crate::auth::principal::{Identity, Principal};
use crate::config::schema::SessionShares;
use crate::limits::budget::Budget;
use crate::limits::fair::{self, Full, Places, Seat};
use crate::mcp::client::ClientCapabilities;
use crate::mcp::revision::Revision;
use crate::observe::seldom::Seldom;
use crate::pipeline::route::Endpoint;

use super::session::{Served, Session, nanos};

/// How many sessions of a principal are looked at when one of them must go. More than the default of
/// `limits.sessions.per_principal`; beyond it the rest is looked at with the next try.
const LOOKS: usize = 256;

/// All sessions.
pub struct Sessions {
    table: Mutex<Table>,
    budget: Budget,
    places: Places,
    clock: Instant,
    /// Sessions that made room, by the share that was used up.
    told: Seldom<&'static str>,
}

/// Opening a session costs the same however many there are.
#[derive(Default)]
struct Table {
    all: HashMap<Arc<str>, Kept>,
    /// The ids of each principal's, in the order of `Kept::since`.
    owners: HashMap<Identity, BTreeSet<(u64, Arc<str>)>>,
}

struct Kept {
    session: Arc<Session>,
    seat: Seat,
    /// Its last use as far as it was looked at: the real one is never earlier.
    since: u64,
}

/// A session that was opened.
pub struct Opened {
    /// The session.
    pub session: Arc<Session>,
    /// The one that had to make room for it.
    pub instead_of: Option<MadeRoom>,
}

/// A session that has ended, so that another of its principal could be opened.
pub struct MadeRoom {
    /// Its id.
    pub id: Arc<str>,
    /// The key of the share that was used up.
    pub share: &'static str,
}

/// Why no session can be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unopened {
    /// The principal uses all of its own.
    #[error("all {0} sessions that this account may have are in use: end one by DELETE, or come again")]
    Principal(usize),
    /// The tenant has no more, and the principal uses all of its own.
    #[error("all sessions that this tenant may have are taken: end one by DELETE, or come again")]
    Tenant,
    /// There are no more, and the principal uses all of its own.
    #[error("all sessions of this host are taken: end one by DELETE, or come again")]
    All,
    /// The kernel has no random numbers.
    #[error("the host has no random numbers for the id of a session")]
    Random,
}

impl Unopened {
    /// The key of the configuration that allows more.
    pub const fn key(self) -> Option<&'static str> {
        match self {
            Self::Principal(_) => Some("limits.sessions.per_principal"),
            Self::Tenant => Some("limits.sessions.per_tenant"),
            Self::All => Some("limits.sessions.total"),
            Self::Random => None,
        }
    }
}

impl From<Full> for Unopened {
    fn from(full: Full) -> Self {
        match full {
            Full::Principal(most) => Self::Principal(most),
            Full::Tenant(_) => Self::Tenant,
            Full::All(_) => Self::All,
        }
    }
}

impl Table {
    fn insert(&mut self, session: &Arc<Session>, seat: Seat) {
        let (id, since) = (Arc::clone(&session.id), session.used());
        self.owners.entry(session.owner.clone()).or_default().insert((since, Arc::clone(&id)));
        self.all.insert(id, Kept { session: Arc::clone(session), seat, since });
    }

    fn remove(&mut self, id: &str) -> Option<Kept> {
        let kept = self.all.remove(id)?;
        if let Some(own) = self.owners.get_mut(&kept.session.owner) {
            own.remove(&(kept.since, Arc::clone(&kept.session.id)));
            if own.is_empty() {
                self.owners.remove(&kept.session.owner);
            }
        }
        Some(kept)
    }

    /// Takes out the session of a principal that was left alone longest, if one is not in use.
    fn longest_idle(&mut self, owner: &Identity, now: u64) -> Option<Kept> {
        for _ in 0..LOOKS {
            let own = self.owners.get_mut(owner)?;
            let (since, id) = own.first()?.clone();
            let kept = self.all.get_mut(&id)?;
            let is_busy = kept.session.is_busy();
            let used = if is_busy { now } else { kept.session.used() };
            if !is_busy && used <= since {
                return self.remove(&id);
            }
            // It was used since it got its place in the order: behind those that were not.
            own.remove(&(since, Arc::clone(&id)));
            kept.since = used.max(since);
            own.insert((kept.since, id));
        }
        None
    }
}

impl Sessions {
    /// None yet, and as many as these shares allow; what is kept for them is charged to this budget.
    pub fn new(budget: &Budget, shares: &SessionShares) -> Self {
        let SessionShares { total, per_tenant, per_principal } = *shares;
        let places = Places::new(fair::Shares { total, per_tenant, per_principal });
        Self {
            table: Mutex::default(),
            budget: budget.clone(),
            places,
            clock: Instant::now(),
            told: Seldom::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        // Nothing in here panics half-way through a change.
        self.table.lock()
    }

    /// Opens a session as soon as there is a place.
    ///
    /// # Errors
    /// [`Unopened`] when there is none for a second.
    pub async fn open_soon(
        &self,
        principal: &Principal,
        endpoint: &Endpoint,
        revision: Revision,
        capabilities: ClientCapabilities,
    ) -> Result<Opened, Unopened> {
        let attempt = || self.open(principal, endpoint, revision, capabilities);
        fair::soon(attempt, |unopened| *unopened != Unopened::Random).await
    }

    /// Opens a session. Where there is no place for one more, the principal's own that was left alone longest
    /// ends.
    ///
    /// # Errors
    /// [`Unopened`] when there is no place and all of the principal's own are in use.
    pub fn open(
        &self,
        principal: &Principal,
        endpoint: &Endpoint,
        revision: Revision,
        capabilities: ClientCapabilities,
    ) -> Result<Opened, Unopened> {
        let owner = principal.identity();
        let mut random = [0; 16];
        getrandom::fill(&mut random).map_err(|_| Unopened::Random)?;
        let id: Arc<str> = format!("{:032x}", u128::from_ne_bytes(random)).into();
        let (seat, instead_of) = match self.places.enter(owner) {
            Ok(seat) => (seat, None),
            Err(full) => {
                let idle = self.lock().longest_idle(owner, nanos(self.clock.elapsed()));
                let Kept { session, seat, .. } = idle.ok_or(full)?;
                (seat, Some(self.ended_early(&session, full.into())))
            }
        };
        let account = self.budget.of(owner).session();
        let session = Session::new(id, owner, account, endpoint, (revision, capabilities), self.clock);
        let session = Arc::new(session);
        self.lock().insert(&session, seat);
        Ok(Opened { session, instead_of })
    }

    /// Ends a session that makes room for another, and says so: its client has to begin anew, and nobody else
    /// would tell why.
    fn ended_early(&self, session: &Session, full: Unopened) -> MadeRoom {
        let share = full.key().unwrap_or("limits.sessions");
        session.close();
        if let Some(sessions) = self.told.count(share, Instant::now()) {
            let idle_secs = session.idle().as_secs();
            tracing::warn!(
                share,
                sessions,
                idle_secs,
                "sessions made room for others of their principal, the last one after {idle_secs} s without \
                 use; their clients have to send `initialize` again. Let clients end sessions by DELETE, or \
                 raise `{share}`"
            );
        }
        MadeRoom { id: Arc::clone(&session.id), share }
    }

    /// The session of an id, for the principal and at the endpoint that it was opened for only.
    pub fn get(&self, id: &str, principal: &Principal, endpoint: &Endpoint) -> Option<Served> {
        // Under the lock: nobody takes its place before it is in use.
        let table = self.lock();
        let session = &table.all.get(id)?.session;
        (session.endpoint == *endpoint && session.owner == *principal.identity())
            .then(|| Served::new(session))
    }

    /// Ends a session and its event streams.
    pub fn close(&self, id: &str) {
        let kept = self.lock().remove(id);
        if let Some(kept) = kept {
            kept.session.close();
        }
    }

    /// Ends the sessions that were not used for `idle`; returns their ids.
    pub fn expire(&self, idle: Duration) -> Vec<Arc<str>> {
        let mut ended = Vec::new();
        {
            let mut table = self.lock();
            let is_over = |kept: &Kept| kept.session.idle() >= idle && !kept.session.is_busy();
            let over: Vec<_> = table
                .all
                .values()
                .filter(|kept| is_over(kept))
                .map(|kept| Arc::clone(&kept.session.id))
                .collect();
            ended.extend(over.iter().filter_map(|id| table.remove(id)));
        }
        for kept in &ended {
            kept.session.close();
        }
        ended.into_iter().map(|kept| Arc::clone(&kept.session.id)).collect()
    }

    /// Takes away what has waited too long in any session; see [`Session::sweep`].
    pub fn sweep(&self) {
        let sessions: Vec<_> = self.lock().all.values().map(|kept| Arc::clone(&kept.session)).collect();
        for session in sessions {
            session.sweep();
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.lock().all.len()
    }

    /// True where there is no session.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
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
    use crate::mcp::envelope::Id;

    fn principal(subject: &str, tenant: Option<&str>) -> Principal {
        Principal::named(subject, tenant)
    }

    fn with(per_principal: usize, total: usize) -> Sessions {
        let shares = SessionShares { total, per_principal, per_tenant: None };
        Sessions::new(&Budget::default(), &shares)
    }

    fn try_open(sessions: &Sessions, principal: &Principal) -> Result<Opened, Unopened> {
        let capabilities = ClientCapabilities::default();
        sessions.open(principal, &Endpoint::Merged, Revision::LATEST_LEGACY, capabilities)
    }

    fn open(sessions: &Sessions, principal: &Principal) -> Arc<Session> {
        try_open(sessions, principal).expect("a session").session
    }

    /// Which one made room.
    fn made_room(opened: Result<Opened, Unopened>) -> Option<Arc<str>> {
        opened.expect("a session").instead_of.map(|gone| gone.id)
    }

    fn is_consistent(sessions: &Sessions) -> bool {
        let table = sessions.lock();
        let ordered: usize = table.owners.values().map(BTreeSet::len).sum();
        ordered == table.all.len()
            && table.owners.values().all(|own| !own.is_empty())
            && table
                .all
                .iter()
                .all(|(id, kept)| table.owners[&kept.session.owner].contains(&(kept.since, Arc::clone(id))))
            && sessions.places.taken() == table.all.len()
    }

    #[test]
    fn a_session_is_worthless_to_anybody_else() {
        let sessions = Sessions::default();
        let alice = principal("alice", Some("acme"));
        let session = open(&sessions, &alice);
        assert!(sessions.get(&session.id, &alice, &Endpoint::Merged).is_some());
        for thief in
            [principal("mallory", Some("acme")), principal("alice", Some("other")), principal("alice", None)]
        {
            assert!(sessions.get(&session.id, &thief, &Endpoint::Merged).is_none());
        }
        assert!(sessions.get(&session.id, &alice, &Endpoint::One("docs".into())).is_none());
        sessions.close(&session.id);
        assert!(sessions.get(&session.id, &alice, &Endpoint::Merged).is_none());
        assert!(sessions.is_empty() && is_consistent(&sessions));
    }

    #[test]
    fn idle_sessions_end_and_busy_ones_do_not() {
        let sessions = Sessions::default();
        let alice = principal("alice", None);
        let (idle, busy) = (open(&sessions, &alice), open(&sessions, &alice));
        let id = Id::parse("1").expect("an id");
        let call = busy.enter(&id).expect("a call");
        assert!(busy.enter(&id).is_none(), "an id in flight is not given twice");
        assert_eq!(sessions.expire(Duration::ZERO), [Arc::clone(&idle.id)]);
        drop(call);
        assert!(busy.enter(&id).is_some());
        assert_eq!(sessions.expire(Duration::ZERO), [Arc::clone(&busy.id)]);
        assert!(is_consistent(&sessions));
    }

    #[test]
    fn the_one_that_was_left_alone_longest_makes_room() {
        let sessions = with(3, 100);
        let (alice, bob) = (principal("alice", None), principal("bob", None));
        let [first, second, third] = std::array::from_fn(|_| open(&sessions, &alice));
        let theirs = open(&sessions, &bob);
        // Whatever the order in which they were opened.
        for used in [&first, &third] {
            drop(sessions.get(&used.id, &alice, &Endpoint::Merged).expect("it is there"));
        }
        assert_eq!(made_room(try_open(&sessions, &alice)), Some(Arc::clone(&second.id)));
        assert!(sessions.get(&second.id, &alice, &Endpoint::Merged).is_none());
        assert_eq!(made_room(try_open(&sessions, &alice)), Some(Arc::clone(&first.id)));
        assert!(sessions.get(&theirs.id, &bob, &Endpoint::Merged).is_some(), "nobody else's does");
        assert_eq!(sessions.len(), 4);
        assert!(is_consistent(&sessions));
    }

    #[test]
    fn one_in_use_does_not_and_when_all_are_there_is_no_room() {
        let sessions = with(3, 100);
        let alice = principal("alice", None);
        let [calls, reads, asks] = std::array::from_fn(|_| open(&sessions, &alice));
        let call = calls.enter(&Id::parse("1").expect("an id")).expect("a call");
        reads.used_by(true);
        let served = sessions.get(&asks.id, &alice, &Endpoint::Merged).expect("it is there");
        assert_eq!(try_open(&sessions, &alice).err(), Some(Unopened::Principal(3)));
        assert!(is_consistent(&sessions));
        drop(served);
        assert_eq!(made_room(try_open(&sessions, &alice)), Some(Arc::clone(&asks.id)));
        drop(call);
        reads.used_by(false);
        assert!(is_consistent(&sessions));
    }

    #[test]
    fn where_the_host_is_full_a_principal_takes_from_itself_only() {
        let sessions = with(3, 4);
        let (alice, bob) = (principal("alice", None), principal("bob", None));
        let own = open(&sessions, &alice);
        let theirs: Vec<_> = (0..3).map(|_| open(&sessions, &bob)).collect();
        let gone = try_open(&sessions, &alice).expect("a session").instead_of.expect("one made room");
        assert_eq!((gone.id, gone.share), (Arc::clone(&own.id), "limits.sessions.total"));
        assert_eq!(try_open(&sessions, &principal("carol", None)).err(), Some(Unopened::All));
        assert!(theirs.iter().all(|one| sessions.get(&one.id, &bob, &Endpoint::Merged).is_some()));
        assert!(is_consistent(&sessions));
    }
}
