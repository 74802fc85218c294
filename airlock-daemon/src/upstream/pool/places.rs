//! The links of one upstream by their owners, and the hubs of those who want to hear what the servers say.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Weak};

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::OnceCell;

use crate::auth::principal::Identity;
use crate::config::schema::ProcessShares;
use crate::limits::budget::{Account, Budget};
use crate::limits::fair::{self, Full, Seat};
use crate::mcp::client::ClientCapabilities;
use crate::tool_locks::Changed;

use super::super::error::UpstreamError;
use super::super::hub::Hub;
use crate::upstream::era::facts::Facts;
use crate::upstream::transport::handle::Link;

/// The owners of a process. A client's abilities are told a legacy server once, so processes for different
/// answers differ.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Owner {
    Everyone,
    Session(Arc<str>),
    Subject(Identity, ClientCapabilities),
    /// By issuer and name: two issuers may use one name for different tenants.
    Tenant(Arc<str>, Arc<str>, ClientCapabilities),
}

impl Owner {
    /// True where several principals share the process.
    pub(super) fn are_several(&self) -> bool {
        matches!(self, Self::Everyone | Self::Tenant(..))
    }
}

/// A link, with what was learned of the server behind it.
pub(super) type Opened = (Link, Arc<Facts>);

/// Most sessions that are still to be told that their process has ended.
const MAX_LOST: usize = 10_000;

/// A place for one link; the first who comes opens it for all who wait.
pub(super) type LinkSlot = Arc<OnceCell<Opened>>;

/// All places of one upstream.
pub(super) struct Places {
    inner: Mutex<Inner>,
    /// For those that somebody's request opens.
    seats: fair::Places,
    /// Where what their readers hold is charged.
    budget: Budget,
    /// Lists that the server says to have changed.
    changed: Arc<Changed>,
}

#[derive(Default)]
struct Inner {
    slots: HashMap<Owner, PoolEntry>,
    hubs: HashMap<Owner, Weak<Hub>>,
    /// Sessions whose process ended by itself and who were not told yet; at most as many as there are
    /// sessions.
    lost: HashSet<Arc<str>>,
}

struct PoolEntry {
    slot: LinkSlot,
    /// The seat of whoever opened it by a request.
    _seat: Option<Seat>,
}

impl PoolEntry {
    /// An empty place that nobody waits for is left over from a caller that went away.
    fn is_used(&self) -> bool {
        self.slot.get().map_or(Arc::strong_count(&self.slot) > 1, |(link, _)| link.is_alive())
    }
}

impl Places {
    /// As many as these shares allow.
    pub(super) fn new(shares: &ProcessShares, budget: &Budget, changed: Arc<Changed>) -> Self {
        let ProcessShares { total, per_tenant, per_principal } = *shares;
        let seats = fair::Places::new(fair::Shares { total, per_tenant, per_principal });
        Self { inner: Mutex::default(), seats, budget: budget.clone(), changed }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A panic while the maps were held leaves whole maps: every change to them is one call.
        self.inner.lock()
    }

    /// The place of an owner.
    ///
    /// # Errors
    /// When there are too many, of one principal or at all.
    pub(super) fn slot(
        &self,
        upstream: &str,
        owner: &Owner,
        opener: Option<&Identity>,
    ) -> Result<LinkSlot, UpstreamError> {
        let mut guard = self.lock();
        let inner = &mut *guard;
        if let Some(place) = inner.slots.get(owner) {
            return Ok(Arc::clone(&place.slot));
        }
        let mut seat = opener.map(|opener| self.seats.enter(opener)).transpose();
        if seat.is_err() {
            inner.tidy();
            seat = opener.map(|opener| self.seats.enter(opener)).transpose();
        }
        let seat = seat.map_err(|full| {
            let (what, limit) = match full {
                Full::All(limit) => ("processes", limit),
                Full::Tenant(limit) => ("processes of this tenant", limit),
                Full::Principal(limit) => ("processes of this principal", limit),
            };
            UpstreamError::Busy { upstream: upstream.to_owned(), what, limit }
        })?;
        let slot = LinkSlot::default();
        inner.slots.insert(owner.clone(), PoolEntry { slot: Arc::clone(&slot), _seat: seat });
        Ok(slot)
    }

    /// Puts a link in the place of an owner who has none.
    pub(super) fn keep(&self, owner: Owner, opened: Opened) {
        let slot = Arc::new(OnceCell::new_with(Some(opened)));
        self.lock().slots.entry(owner).or_insert(PoolEntry { slot, _seat: None });
    }

    /// Empties a place, unless it is another by now; says whether it did.
    pub(super) fn forget(&self, owner: &Owner, slot: &LinkSlot) -> bool {
        let mut inner = self.lock();
        let same = inner.slots.get(owner).is_some_and(|current| Arc::ptr_eq(&current.slot, slot));
        same && inner.slots.remove(owner).is_some()
    }

    /// The link of an owner, where it is alive.
    pub(super) fn live(&self, owner: &Owner) -> Option<Link> {
        let inner = self.lock();
        let (link, _) = inner.slots.get(owner)?.slot.get()?;
        link.is_alive().then(|| link.clone())
    }

    /// True where anybody has a link that is alive.
    pub(super) fn is_any_alive(&self) -> bool {
        let inner = self.lock();
        inner.slots.values().any(|place| place.slot.get().is_some_and(|(link, _)| link.is_alive()))
    }

    /// Where what is read for a principal is charged.
    pub(super) fn account(&self, principal: &Identity) -> Account {
        self.budget.of(principal)
    }

    /// The hub whose members hear what the server of an owner says outside of calls. A server for one
    /// principal alone is `opener`'s.
    pub(super) fn hub(&self, owner: &Owner, opener: Option<&Identity>) -> Arc<Hub> {
        let mut inner = self.lock();
        if let Some(hub) = inner.hubs.get(owner).and_then(Weak::upgrade) {
            return hub;
        }
        // Those that nobody holds any more go whenever a new one comes.
        inner.hubs.retain(|_, hub| hub.strong_count() > 0);
        let account = opener.filter(|_| !owner.are_several()).map(|opener| self.account(opener));
        let hub = Hub::new(owner.are_several(), account, Arc::clone(&self.changed));
        inner.hubs.insert(owner.clone(), Arc::downgrade(&hub));
        hub
    }

    /// True where the session's process ended by itself and the session was not told yet; it counts as told
    /// from now on.
    pub(super) fn tell_lost(&self, session: &Arc<str>) -> bool {
        let mut inner = self.lock();
        !inner.lost.is_empty() && inner.lost.remove(session)
    }

    /// Ends what belongs to a session.
    pub(super) fn end_session(&self, session: &Arc<str>) {
        let owner = Owner::Session(Arc::clone(session));
        let mut inner = self.lock();
        inner.slots.remove(&owner);
        inner.lost.remove(session);
        if let Some(hub) = inner.hubs.remove(&owner).as_ref().and_then(Weak::upgrade) {
            hub.close();
        }
    }

    /// Ends everything.
    pub(super) fn clear(&self) {
        let mut inner = self.lock();
        inner.slots.clear();
        for hub in inner.hubs.drain().filter_map(|(_, hub)| hub.upgrade()) {
            hub.close();
        }
    }
}

impl Inner {
    /// Empties the places that nobody uses; the sessions among them are still to be told.
    fn tidy(&mut self) {
        let lost = &mut self.lost;
        self.slots.retain(|owner, place| {
            let used = place.is_used();
            if !used
                && let Owner::Session(session) = owner
                && place.slot.get().is_some_and(is_lost)
            {
                // A session that has ended meanwhile is not told; its mark must not add up.
                if lost.len() < MAX_LOST {
                    lost.insert(Arc::clone(session));
                }
            }
            used
        });
    }
}

/// True where a session has lost what it kept in this server.
pub(super) fn is_lost((link, facts): &Opened) -> bool {
    facts.era == crate::mcp::revision::Era::Legacy && link.is_lost()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::principal::Principal;
    use crate::config::schema::MemoryShares;
    use crate::mcp::client::ClientCapability;

    fn identity(subject: &str) -> Identity {
        Principal::named(subject, None).identity().clone()
    }

    fn places() -> Places {
        Places::new(&ProcessShares::default(), &Budget::new(&MemoryShares::default()), Arc::default())
    }

    fn session(number: usize) -> Owner {
        Owner::Session(number.to_string().into())
    }

    #[test]
    fn nobody_takes_all_places() {
        let places = places();
        let (alice, bob) = (identity("alice"), identity("bob"));
        let kept: Vec<_> =
            (0..32).map(|number| places.slot("x", &session(number), Some(&alice)).expect("room")).collect();
        let error = places.slot("x", &session(99), Some(&alice)).err().expect("too many").to_string();
        assert_eq!(error, "upstream `x` already has 32 processes of this principal");
        places.slot("x", &session(0), Some(&alice)).expect("it has this one");
        places.slot("x", &session(100), Some(&bob)).expect("another's");
        drop(kept);
        places.slot("x", &session(101), Some(&alice)).expect("nobody waits for the others any more");
    }

    #[test]
    fn places_are_bounded() {
        let places = places();
        let kept: Vec<_> = (0..256)
            .map(|number| {
                let who = identity(&number.to_string());
                places.slot("x", &session(number), Some(&who)).expect("room")
            })
            .collect();
        let error = places.slot("x", &session(999), Some(&identity("z"))).err().expect("too many");
        assert_eq!((error.status().as_u16(), error.retry_after()), (503, Some(5)));
        drop(kept);
    }

    #[test]
    fn a_hub_is_its_owners() {
        let places = places();
        let none = ClientCapabilities::default();
        let alice = Owner::Subject(identity("alice"), none);
        let hub = places.hub(&alice, None);
        assert!(Arc::ptr_eq(&hub, &places.hub(&alice, None)));
        for other in [
            Owner::Subject(identity("bob"), none),
            Owner::Subject(identity("alice"), none.with(ClientCapability::Sample)),
            Owner::Tenant("https://idp".into(), "acme".into(), none),
            Owner::Tenant("https://other".into(), "acme".into(), none),
            Owner::Session("alice".into()),
        ] {
            assert!(!Arc::ptr_eq(&hub, &places.hub(&other, None)), "{other:?}");
        }
        assert!(places.hub(&Owner::Everyone, None).several && !hub.several);
        let weak = Arc::downgrade(&hub);
        drop(hub);
        places.hub(&Owner::Everyone, None);
        assert!(weak.upgrade().is_none());
    }

    #[test]
    fn a_session_is_told_of_its_loss_once() {
        let places = places();
        let session: Arc<str> = "s".into();
        assert!(!places.tell_lost(&session));
        places.lock().lost.insert(Arc::clone(&session));
        assert!(places.tell_lost(&session));
        assert!(!places.tell_lost(&session));
        places.lock().lost.insert(Arc::clone(&session));
        places.end_session(&session);
        assert!(!places.tell_lost(&session));
    }
}
