//! Connections that are in use, so that one that stands idle is given up for somebody who has none: a unit
//! may have no second one.

use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};

use crate::upstream::transport::link::lease::Lease;

/// The connections of one server that somebody has.
pub(super) struct Lent {
    /// How long one may stand idle while another waits for one.
    spared: Duration,
    leases: Mutex<Vec<Lease>>,
}

/// The outcome of a search for a lease that may come back.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Reclaimed {
    /// One was given up.
    One,
    /// None yet; the next may be after this time at the earliest.
    NoneBefore(Duration),
    /// None is lent.
    Nothing,
}

impl Lent {
    pub(super) fn new(spared: Duration) -> Self {
        Self { spared, leases: Mutex::default() }
    }

    /// Notes one that somebody has from now on.
    pub(super) fn add(&self, lease: Lease) {
        let mut leases = self.lock();
        leases.retain(|lease| lease.idle().is_some());
        leases.push(lease);
    }

    /// Has the one given up that has stood idle for longest, if that is long enough.
    pub(super) fn reclaim(&self) -> Reclaimed {
        let mut leases = self.lock();
        leases.retain(|lease| lease.idle().is_some());
        let idle = |lease: &Lease| lease.idle().unwrap_or_default();
        let Some((place, longest)) = leases.iter().map(idle).enumerate().max_by_key(|(_, idle)| *idle) else {
            return Reclaimed::Nothing;
        };
        match self.spared.checked_sub(longest) {
            Some(left) if !left.is_zero() => Reclaimed::NoneBefore(left),
            _ => {
                // It stays in the list: a call may have begun meanwhile. Its turn comes after the others'
                // then.
                if let Some(lease) = leases.get(place) {
                    lease.give_up();
                }
                Reclaimed::One
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Lease>> {
        // A panic while it was held leaves a whole list: every change to it is one call.
        self.leases.lock()
    }
}
