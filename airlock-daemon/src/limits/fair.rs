//! Places that are counted: sessions, processes, subscriptions. Nobody takes them all, neither a principal
//! nor a tenant.
//!
//! A tenant may have its fair share, which is what there would be for each if one more came, as long as a
//! place is free. Beyond it a tenant may have what nobody uses, but for a quarter that is left for those who
//! come next.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use tokio::time::sleep;

use crate::auth::principal::Identity;

/// How often who finds no place looks again, and after how long each time: a second in all.
const LOOKS: u32 = 20;
const LOOK: Duration = Duration::from_millis(50);

/// How many there are, and of whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shares {
    /// All of them.
    pub total: usize,
    /// Places of one tenant; none for a fair share.
    pub per_tenant: Option<usize>,
    /// Places of one principal.
    pub per_principal: usize,
}

/// Why there is no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Full {
    /// All of them are taken.
    All(usize),
    /// The tenant has as many as it may.
    Tenant(usize),
    /// The principal has as many as it may.
    Principal(usize),
}

/// The places; clones share them.
#[derive(Debug, Clone)]
pub struct Places(Arc<Mutex<Tally>>);

/// One place; given back when it is dropped.
#[derive(Debug)]
#[must_use = "the place is given back when this is dropped"]
pub struct Seat {
    places: Places,
    identity: Identity,
}

#[derive(Debug)]
struct Tally {
    shares: Shares,
    taken: usize,
    /// Tenants by issuer and name.
    tenants: HashMap<Tenant, usize>,
    /// How many of them have a name.
    named: usize,
    principals: HashMap<Identity, usize>,
}

type Tenant = (Box<str>, Option<Box<str>>);

fn tenant(identity: &Identity) -> Tenant {
    (identity.issuer().into(), identity.tenant().map(Into::into))
}

impl Places {
    /// Places of which none is taken.
    pub fn new(shares: Shares) -> Self {
        let (tenants, principals) = (HashMap::new(), HashMap::new());
        Self(Arc::new(Mutex::new(Tally { shares, taken: 0, tenants, named: 0, principals })))
    }

    fn lock(&self) -> MutexGuard<'_, Tally> {
        // Nothing in here panics between two changes that belong together.
        self.0.lock()
    }

    /// A place for a principal.
    ///
    /// # Errors
    /// Whose places are all taken.
    pub fn enter(&self, identity: &Identity) -> Result<Seat, Full> {
        let mut tally = self.lock();
        tally.admits(identity)?;
        tally.taken += 1;
        let tenant = tenant(identity);
        let is_named = tenant.1.is_some();
        let own = tally.tenants.entry(tenant).or_default();
        *own += 1;
        if *own == 1 && is_named {
            tally.named += 1;
        }
        *tally.principals.entry(identity.clone()).or_default() += 1;
        Ok(Seat { places: self.clone(), identity: identity.clone() })
    }

    /// How many are taken.
    pub fn taken(&self) -> usize {
        self.lock().taken
    }
}

/// Tries again for a moment what found no place.
///
/// # Errors
/// The error of the last try.
pub async fn soon<T, E>(
    mut attempt: impl FnMut() -> Result<T, E>,
    is_full: impl Fn(&E) -> bool,
) -> Result<T, E> {
    // Looks are counted, not time: who was held up in between has not looked.
    for _ in 0..LOOKS {
        match attempt() {
            Err(error) if is_full(&error) => sleep(LOOK).await,
            settled => return settled,
        }
    }
    attempt()
}

impl Tally {
    fn admits(&self, identity: &Identity) -> Result<(), Full> {
        let Shares { total, per_tenant, per_principal } = self.shares;
        if self.principals.get(identity).is_some_and(|own| *own >= per_principal) {
            return Err(Full::Principal(per_principal));
        }
        let free = total.saturating_sub(self.taken);
        if free == 0 {
            return Err(Full::All(total));
        }
        let tenant = tenant(identity);
        let own = self.tenants.get(&tenant).copied().unwrap_or(0);
        if let Some(most) = per_tenant {
            return if own < most { Ok(()) } else { Err(Full::Tenant(most)) };
        }
        // Where nobody has a tenant there is none to be left out.
        if tenant.1.is_none() && self.named == 0 {
            return Ok(());
        }
        let fair = total / (self.tenants.len() + 1).max(2);
        if own < fair || free > total / 4 { Ok(()) } else { Err(Full::Tenant(own)) }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut tally = self.places.lock();
        tally.taken = tally.taken.saturating_sub(1);
        let tenant = tenant(&self.identity);
        if leave(&mut tally.tenants, &tenant) && tenant.1.is_some() {
            tally.named -= 1;
        }
        leave(&mut tally.principals, &self.identity);
    }
}

/// Takes one off; says whether it was the last.
fn leave<K: Eq + std::hash::Hash>(counts: &mut HashMap<K, usize>, key: &K) -> bool {
    let Some(count) = counts.get_mut(key) else { return false };
    *count -= 1;
    let was_last = *count == 0;
    if was_last {
        counts.remove(key);
    }
    was_last
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::principal::Principal;

    fn who(number: usize, tenant: Option<&str>) -> Identity {
        Principal::named(&number.to_string(), tenant).identity().clone()
    }

    fn places(per_tenant: Option<usize>) -> Places {
        Places::new(Shares { total: 256, per_tenant, per_principal: 32 })
    }

    fn take_all(places: &Places, tenant: Option<&str>) -> (Vec<Seat>, Full) {
        let mut seats = Vec::new();
        for number in 0.. {
            match places.enter(&who(number, tenant)) {
                Ok(seat) => seats.push(seat),
                Err(full) => return (seats, full),
            }
        }
        unreachable!("there is an end to them")
    }

    #[test]
    fn one_tenant_leaves_room_for_the_next_ones() {
        let places = places(None);
        let (greedy, full) = take_all(&places, Some("evil"));
        assert_eq!((greedy.len(), full), (192, Full::Tenant(192)));
        let (modest, full) = take_all(&places, Some("acme"));
        assert_eq!((modest.len(), full), (64, Full::All(256)));
        // A place that the greedy one gives back goes to whoever has less than its share.
        drop(greedy);
        let (more, _) = take_all(&places, Some("third"));
        assert!(more.len() >= 64, "{}", more.len());
        drop((modest, more));
        assert!(places.lock().principals.is_empty() && places.lock().tenants.is_empty());
        assert_eq!((places.taken(), places.lock().named), (0, 0));
    }

    #[test]
    fn a_principal_has_its_own_bound_and_a_tenant_one_that_is_configured() {
        let places = places(Some(40));
        let alice = who(0, Some("acme"));
        let all: Vec<_> = (0..32).map(|_| places.enter(&alice).expect("room")).collect();
        assert_eq!(places.enter(&alice).err(), Some(Full::Principal(32)));
        let (others, full) = take_all(&places, Some("acme"));
        // The first of them is the principal above.
        assert_eq!((others.len(), full), (0, Full::Principal(32)));
        let bobs: Vec<_> =
            (1..=8).map(|number| places.enter(&who(number, Some("acme"))).expect("room")).collect();
        assert_eq!(places.enter(&who(9, Some("acme"))).err(), Some(Full::Tenant(40)));
        drop((all, bobs));
    }

    #[test]
    fn where_nobody_has_a_tenant_all_places_can_be_taken() {
        let (all, full) = take_all(&places(None), None);
        assert_eq!((all.len(), full), (256, Full::All(256)));
    }

    #[tokio::test]
    async fn who_finds_no_place_waits_a_moment() {
        let places = Places::new(Shares { total: 1, per_tenant: None, per_principal: 1 });
        let taken = places.enter(&who(0, None)).expect("room");
        let refused = soon(|| places.enter(&who(1, None)), |_| true).await;
        assert_eq!(refused.err(), Some(Full::All(1)));
        let waiting = soon(|| places.enter(&who(1, None)), |_| true);
        let leaving = async {
            sleep(LOOK * 3).await;
            drop(taken);
        };
        let (entered, ()) = tokio::join!(waiting, leaving);
        entered.map(drop).expect("a place came free");
    }
}
