//! How many buckets the networks of owners hold: asked only where a table fills up, counted only when a
//! bucket comes or goes.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{BuildHasher as _, RandomState};

use parking_lot::{Mutex, MutexGuard};

use crate::config::network::Network;

/// Independent parts of the count.
const SHARDS: usize = 64;

/// The count.
#[derive(Debug)]
pub(super) struct Crowd {
    shards: Box<[Mutex<HashMap<Network, usize>>]>,
    hasher: RandomState,
}

impl Default for Crowd {
    fn default() -> Self {
        Self { shards: (0..SHARDS).map(|_| Mutex::default()).collect(), hasher: RandomState::new() }
    }
}

impl Crowd {
    /// One more in each of these networks.
    pub(super) fn add(&self, owners: [Network; 2]) {
        for network in owners {
            *self.shard(network).entry(network).or_insert(0) += 1;
        }
    }

    /// One less in each of these networks.
    pub(super) fn remove(&self, owners: [Network; 2]) {
        for network in owners {
            if let Entry::Occupied(mut entry) = self.shard(network).entry(network) {
                match entry.get().saturating_sub(1) {
                    0 => drop(entry.remove()),
                    left => drop(entry.insert(left)),
                }
            }
        }
    }

    /// How many there are in a network.
    pub(super) fn count(&self, network: Network) -> usize {
        self.shard(network).get(&network).copied().unwrap_or(0)
    }

    fn shard(&self, network: Network) -> MutexGuard<'_, HashMap<Network, usize>> {
        let place = self.hasher.hash_one(network) % (self.shards.len() as u64);
        let shard = &self.shards[usize::try_from(place).unwrap_or(0)];
        shard.lock()
    }
}
