//! The calls that are suspended: each has a channel, through which its client's retry finds it from whichever
//! worker it comes.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::auth::principal::Identity;
use crate::limits::budget::level::Holding;
use crate::limits::fair::{Places, Seat, Shares};

use super::event::Event;
use super::open::Open;
use crate::pipeline::request::state::ResumeToken;

/// Most suspended calls.
const MAX: usize = 1_000;
/// Most suspended calls of one principal; the oldest makes room.
const MAX_EACH: usize = 16;

/// A client that has come back.
pub struct Retry {
    /// Its answers, by the keys it was given.
    pub answers: Vec<(String, String)>,
    /// The record of the retry, which is the record of the call from now on.
    pub open: Open,
    /// Takes what the call says.
    pub events: mpsc::Sender<Event>,
}

struct Entered {
    owner: Identity,
    since: Instant,
    way: mpsc::Sender<Retry>,
    _seat: Seat,
}

/// All suspended calls.
pub struct SuspendedCalls {
    all: Mutex<HashMap<ResumeToken, Entered>>,
    places: Places,
}

impl Default for SuspendedCalls {
    fn default() -> Self {
        let places = Places::new(Shares { total: MAX, per_tenant: None, per_principal: MAX_EACH });
        Self { all: Mutex::default(), places }
    }
}

/// A suspended call as something that can be given up: its task ends as soon as its place is gone.
pub(super) struct Held {
    calls: Weak<SuspendedCalls>,
    ticket: ResumeToken,
    bytes: AtomicUsize,
}

impl Held {
    /// Counts bytes that the call has come to hold.
    pub(super) fn grow(&self, bytes: usize) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }
}

impl Holding for Held {
    fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    fn give_up(&self) -> usize {
        let left = self.calls.upgrade().is_some_and(|calls| calls.leave(self.ticket));
        if left { self.bytes() } else { 0 }
    }
}

impl SuspendedCalls {
    fn lock(&self) -> MutexGuard<'_, HashMap<ResumeToken, Entered>> {
        // Every change to the map is one call, so a panic elsewhere leaves it whole.
        self.all.lock()
    }

    /// Makes room for a call: the oldest of its principal goes where there are too many. `None` when others
    /// have all of them, or the kernel has no random numbers.
    pub(super) fn enter(&self, owner: Identity) -> Option<(ResumeToken, mpsc::Receiver<Retry>)> {
        let ticket = ResumeToken::draw()?;
        let (way, retries) = mpsc::channel(1);
        let mut suspended = self.lock();
        let seat = if let Ok(seat) = self.places.enter(&owner) {
            seat
        } else {
            let own = suspended.iter().filter(|(_, entered)| entered.owner == owner);
            let oldest = own.min_by_key(|(_, entered)| entered.since).map(|(ticket, _)| *ticket);
            // Its task ends as soon as its place is gone.
            drop(suspended.remove(&oldest?));
            self.places.enter(&owner).ok()?
        };
        suspended.insert(ticket, Entered { owner, since: Instant::now(), way, _seat: seat });
        Some((ticket, retries))
    }

    /// Takes a call out, for its owner only. It can be taken once.
    pub fn take(&self, ticket: ResumeToken, owner: &Identity) -> Option<mpsc::Sender<Retry>> {
        let mut suspended = self.lock();
        suspended.get(&ticket).filter(|entered| entered.owner == *owner)?;
        suspended.remove(&ticket).map(|entered| entered.way)
    }

    /// A call that holds so many bytes, as something that can be given up.
    pub(super) fn held(self: &Arc<Self>, ticket: ResumeToken, bytes: usize) -> Arc<Held> {
        Arc::new(Held { calls: Arc::downgrade(self), ticket, bytes: AtomicUsize::new(bytes) })
    }

    /// Takes a call's place away; says whether it was there.
    pub(super) fn leave(&self, ticket: ResumeToken) -> bool {
        let entered = self.lock().remove(&ticket);
        entered.is_some()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.lock().len()
    }

    /// True where no call is suspended.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::principal::Principal;

    fn identity(subject: &str) -> Identity {
        Principal::named(subject, None).identity().clone()
    }

    #[test]
    fn a_call_is_taken_once_and_by_its_owner() {
        let suspended = SuspendedCalls::default();
        let alice = identity("alice");
        let (ticket, _retries) = suspended.enter(alice.clone()).expect("room");
        assert!(suspended.take(ticket, &identity("mallory")).is_none());
        assert!(suspended.take(ticket, &alice).is_some());
        assert!(suspended.take(ticket, &alice).is_none() && suspended.is_empty());
    }

    #[tokio::test]
    async fn the_oldest_of_a_principal_makes_room_and_nobody_elses_does() {
        let suspended = SuspendedCalls::default();
        let alice = identity("alice");
        let (_, mut first) = suspended.enter(alice.clone()).expect("room");
        let mut all = Vec::new();
        for _ in 1..=MAX_EACH {
            all.push(suspended.enter(alice.clone()).expect("room"));
        }
        assert_eq!(suspended.len(), MAX_EACH);
        assert!(first.recv().await.is_none(), "the oldest has ended");
        for number in 0.. {
            if suspended.len() == MAX {
                break;
            }
            all.push(suspended.enter(identity(&number.to_string())).expect("room"));
        }
        assert!(suspended.enter(identity("mallory")).is_none());
        assert!(suspended.enter(alice).is_some());
        assert_eq!(suspended.len(), MAX);
    }
}
