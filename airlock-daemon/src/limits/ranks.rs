//! The rule of who gives way where there is no room: in a network that holds more than its share, the one who
//! did least, longest ago.
//!
//! One owner may have a whole /48 of IPv6, or a /32, and so as many customers as they like. Each such network
//! has a share of the places (see [`owners`](crate::config::network::owners)), so its owner takes places from
//! themselves only.

use std::collections::{BTreeSet, HashMap};

use crate::config::network::Network;

/// How much is known against a customer; the smallest gives way first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank {
    /// Drops that it has had.
    pub(super) drops: u32,
    /// Violations since the last.
    pub(super) violations: u32,
    /// When the last violation was, in nanoseconds.
    pub(super) last: u64,
}

/// The places of all customers, by the networks that they lie in.
#[derive(Debug)]
pub(super) struct Ranks {
    /// Most places of a nearer network, of a farther one, and of all.
    shares: [usize; 3],
    /// The places within each network; those of all under none.
    held: HashMap<Option<Network>, Held>,
}

#[derive(Debug, Default)]
struct Held {
    places: usize,
    /// Those who may have to give way.
    giving: BTreeSet<(Rank, u128)>,
}

/// There is no room, and nobody who gives way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Full;

impl Ranks {
    /// Shares of a nearer network, of a farther one, and of all.
    pub(super) fn new(shares: [usize; 3]) -> Self {
        Self { shares, held: HashMap::new() }
    }

    /// The customer that has to leave so that one more of these networks has a place; none when there is
    /// room.
    ///
    /// # Errors
    /// [`Full`].
    pub(super) fn room(&self, owners: [Network; 2]) -> Result<Option<u128>, Full> {
        for (group, share) in groups(owners).into_iter().zip(self.shares) {
            let Some(held) = self.held.get(&group).filter(|held| held.places >= share) else { continue };
            // Whoever leaves a nearer network leaves the farther ones as well.
            return held.giving.first().map(|(_, key)| Some(*key)).ok_or(Full);
        }
        Ok(None)
    }

    /// A customer takes a place; it does not give way until it has a rank.
    pub(super) fn enter(&mut self, owners: [Network; 2]) {
        for group in groups(owners) {
            self.held.entry(group).or_default().places += 1;
        }
    }

    /// The rank of a customer changes; without one it does not give way.
    pub(super) fn change(&mut self, key: u128, owners: [Network; 2], old: Option<Rank>, new: Option<Rank>) {
        if old == new {
            return;
        }
        for group in groups(owners) {
            let held = self.held.entry(group).or_default();
            if let Some(rank) = old {
                held.giving.remove(&(rank, key));
            }
            held.giving.extend(new.map(|rank| (rank, key)));
        }
    }

    /// A customer of this rank leaves its place.
    pub(super) fn leave(&mut self, key: u128, owners: [Network; 2], rank: Option<Rank>) {
        self.change(key, owners, rank, None);
        for group in groups(owners) {
            let Some(held) = self.held.get_mut(&group) else { continue };
            held.places = held.places.saturating_sub(1);
            if held.places == 0 {
                self.held.remove(&group);
            }
        }
    }
}

fn groups([near, far]: [Network; 2]) -> [Option<Network>; 3] {
    [Some(near), Some(far), None]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::network::owners;

    fn of(text: &str) -> [Network; 2] {
        owners(text.parse().expect(text))
    }

    #[test]
    fn a_network_beyond_its_share_gives_way_itself() {
        let rank = |drops, violations, last| Some(Rank { drops, violations, last });
        let mut ranks = Ranks::new([2, 3, 5]);
        let networks = ["2001:db8:1:1::", "2001:db8:1:2::", "2001:db8:2:1::", "203.0.113.7", "198.51.100.7"];
        for (key, text) in (0..).zip(networks) {
            // There is room for all of these.
            assert_eq!(ranks.room(of(text)), Ok(None), "{text}");
            ranks.enter(of(text));
            ranks.change(key, of(text), None, rank(0, 1, 100 - u64::try_from(key).expect("small")));
        }
        assert_eq!(ranks.room(of("2001:db8:1:9::")), Ok(Some(1)), "the oldest of its /48");
        assert_eq!(ranks.room(of("2001:db8:3:9::")), Ok(Some(2)), "the oldest of its /32");
        assert_eq!(ranks.room(of("2001:db9::")), Ok(Some(4)), "the oldest of all");
        ranks.change(4, of(networks[4]), rank(0, 1, 96), rank(0, 2, 200));
        assert_eq!(ranks.room(of("2001:db9::")), Ok(Some(3)), "one violation goes before two");
        ranks.change(3, of(networks[3]), rank(0, 1, 97), None);
        assert_eq!(ranks.room(of("2001:db9::")), Ok(Some(2)), "who is blocked stays");
        for key in 0..2 {
            let old = rank(0, 1, 100 - u64::try_from(key).expect("small"));
            ranks.change(key, of("2001:db8:1:1::"), old, None);
        }
        assert_eq!(ranks.room(of("2001:db8:1:9::")), Err(Full));
        ranks.leave(0, of(networks[0]), None);
        assert_eq!(ranks.room(of("2001:db8:1:9::")), Ok(None));
        for (key, rank) in [(1, None), (2, rank(0, 1, 98)), (3, None), (4, rank(0, 2, 200))] {
            ranks.leave(key, of(networks[usize::try_from(key).expect("small")]), rank);
        }
        assert!(ranks.held.is_empty(), "nothing is kept of who has left");
    }
}
