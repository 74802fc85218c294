//! Buckets by key, so many and no more.
//!
//! A bucket is forgotten only when it is full again, so nobody gets a fresh one by making others come and go.
//! Once half of the room is taken, no owner's network has more than its share of it: further customers of
//! that network share one bucket. When a shard has no room at all, a new key shares a bucket with its
//! neighbours. So an attacker with very many addresses gets in the way of those in the networks that they
//! come from, and of few others.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::RwLock;

use super::bucket::{Bucket, Quota};
use super::crowd::Crowd;
use crate::config::network::{Network, owners};

/// Independent parts of a table; two threads seldom meet in one.
const SHARDS: usize = 64;
/// Most buckets of a shard.
const ROOM: usize = 1_024;
/// Buckets that keys without one of their own share.
const SHARED: usize = 1_024;
/// The part of all room that a nearer and a farther network of one owner have, once half of it is taken.
const SHARES: [usize; 2] = [64, 8];
/// How often a full shard is looked through for buckets that are full again, in nanoseconds.
const SWEEP: u64 = 100_000_000;

/// The owner of a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BucketKey {
    /// Nobody else's.
    exact: u128,
    /// The part that it has in common with those with whom it shares a bucket where there is no room.
    wide: u64,
}

impl BucketKey {
    /// The key of a customer (see [`Translators`](crate::config::translators::Translators)). Neighbours are
    /// of one /16 or /48.
    pub fn of(customer: IpAddr) -> Self {
        match customer {
            IpAddr::V4(address) => Self {
                exact: address.to_ipv6_mapped().to_bits(),
                wide: 1 << 48 | u64::from(address.to_bits() >> 16),
            },
            IpAddr::V6(address) => {
                let [network, _] = halves(address.to_bits());
                Self { exact: address.to_bits(), wide: network >> 16 }
            }
        }
    }

    /// The key of something that was hashed with a secret.
    pub fn hashed(hash: u128) -> Self {
        let [wide, _] = halves(hash);
        Self { exact: hash, wide }
    }

    /// The customer, of a key that is one's.
    fn customer_of(exact: u128) -> IpAddr {
        Ipv6Addr::from_bits(exact).to_canonical()
    }

    fn customer(self) -> IpAddr {
        Self::customer_of(self.exact)
    }

    /// The number of it.
    pub fn number(self) -> u128 {
        self.exact
    }
}

fn halves(number: u128) -> [u64; 2] {
    let low = u128::from(u64::MAX);
    [(number >> 64) & low, number & low].map(|half| u64::try_from(half).unwrap_or_default())
}

/// Buckets of one quota.
#[derive(Debug)]
pub struct Table {
    quota: Quota,
    shards: Box<[RwLock<Shard>]>,
    shared: Box<[Bucket]>,
    hasher: RandomState,
    keys: AtomicUsize,
    room: usize,
    /// Where keys are customers: how many of each network there are.
    crowd: Option<Crowd>,
}

#[derive(Debug, Default)]
struct Shard {
    buckets: HashMap<u128, Bucket>,
    /// When it was last looked through.
    swept: u64,
}

impl Table {
    /// An empty table of what was hashed; it grows as keys come.
    pub fn new(quota: Quota) -> Self {
        Self::of_size(quota, ROOM, None)
    }

    /// An empty table of customers.
    pub fn of_customers(quota: Quota) -> Self {
        Self::of_size(quota, ROOM, Some(Crowd::default()))
    }

    fn of_size(quota: Quota, room: usize, crowd: Option<Crowd>) -> Self {
        Self {
            quota,
            shards: (0..SHARDS).map(|_| RwLock::default()).collect(),
            shared: (0..SHARED).map(|_| Bucket::default()).collect(),
            hasher: RandomState::new(),
            keys: AtomicUsize::new(0),
            room,
            crowd,
        }
    }

    /// Takes one request of `key` at the time `now`, in nanoseconds.
    ///
    /// # Errors
    /// How long to wait.
    pub fn take(&self, key: BucketKey, now: u64) -> Result<(), Duration> {
        self.with(key, now, |bucket| bucket.take(self.quota, now))
    }

    /// Takes one, and whatever is left when it is less than one.
    pub fn drain(&self, key: BucketKey, now: u64) {
        self.with(key, now, |bucket| bucket.drain(self.quota, now));
    }

    /// How long `key` would have to wait; none when it would not. Makes no bucket.
    pub fn wait(&self, key: BucketKey, now: u64) -> Option<Duration> {
        if self.keys() == 0 {
            return None;
        }
        let shard = self.shard(key).read();
        match shard.buckets.get(&key.exact) {
            Some(bucket) => bucket.wait(self.quota, now),
            None if shard.buckets.len() >= self.room => self.neighbours(key).wait(self.quota, now),
            None => self.crowded(key).and_then(|network| self.shared(network).wait(self.quota, now)),
        }
    }

    /// True where `key` has a bucket of its own; otherwise it may share one with strangers.
    pub fn knows(&self, key: BucketKey) -> bool {
        self.shard(key).read().buckets.contains_key(&key.exact)
    }

    /// How many keys have a bucket of their own.
    pub fn keys(&self) -> usize {
        self.keys.load(Ordering::Relaxed)
    }

    /// Forgets buckets that are full again.
    pub fn sweep(&self, now: u64) {
        for shard in &self.shards {
            if shard.read().buckets.is_empty() {
                continue;
            }
            self.clear(&mut shard.write(), now);
        }
    }

    fn with<R>(&self, key: BucketKey, now: u64, act: impl Fn(&Bucket) -> R) -> R {
        let shard = self.shard(key);
        if let Some(bucket) = shard.read().buckets.get(&key.exact) {
            return act(bucket);
        }
        let mut shard = shard.write();
        if shard.buckets.len() >= self.room && !shard.buckets.contains_key(&key.exact) {
            if now.saturating_sub(shard.swept) >= SWEEP {
                self.clear(&mut shard, now);
            }
            if shard.buckets.len() >= self.room {
                return act(self.neighbours(key));
            }
        }
        if !shard.buckets.contains_key(&key.exact)
            && let Some(network) = self.crowded(key)
        {
            return act(self.shared(network));
        }
        let bucket = shard.buckets.entry(key.exact).or_insert_with(|| {
            self.keys.fetch_add(1, Ordering::Relaxed);
            if let Some(crowd) = &self.crowd {
                crowd.add(owners(key.customer()));
            }
            Bucket::default()
        });
        act(bucket)
    }

    /// The network of a new key that holds its share already, where room gets scarce.
    fn crowded(&self, key: BucketKey) -> Option<Network> {
        let crowd = self.crowd.as_ref()?;
        let whole = SHARDS * self.room;
        if self.keys() < whole / 2 {
            return None;
        }
        let networks = owners(key.customer()).into_iter().zip(SHARES);
        networks
            .rev()
            .find(|(network, part)| crowd.count(*network) >= whole / part)
            .map(|(network, _)| network)
    }

    fn clear(&self, shard: &mut Shard, now: u64) {
        let before = shard.buckets.len();
        shard.buckets.retain(|exact, bucket| {
            let stays = !bucket.is_full(now);
            if let Some(crowd) = self.crowd.as_ref().filter(|_| !stays) {
                crowd.remove(owners(BucketKey::customer_of(*exact)));
            }
            stays
        });
        shard.swept = now;
        self.keys.fetch_sub(before - shard.buckets.len(), Ordering::Relaxed);
    }

    fn shard(&self, key: BucketKey) -> &RwLock<Shard> {
        pick(&self.shards, self.hasher.hash_one(key.exact))
    }

    /// The bucket that `key` shares where there is no room.
    fn neighbours(&self, key: BucketKey) -> &Bucket {
        pick(&self.shared, self.hasher.hash_one(key.wide))
    }

    /// The bucket that a network shares which holds its share of the others.
    fn shared(&self, network: Network) -> &Bucket {
        pick(&self.shared, self.hasher.hash_one(network))
    }
}

/// One of them: the remainder is below the length, and no slice that is given here is empty.
fn pick<T>(of: &[T], hash: u64) -> &T {
    let place = usize::try_from(hash % (of.len() as u64)).unwrap_or(0);
    &of[place]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::translators::Translators;
    use crate::config::units::Rate;

    fn key(text: &str) -> BucketKey {
        BucketKey::of(Translators::default().customer(text.parse().expect("an address")))
    }

    #[test]
    fn keys_are_what_one_client_has() {
        assert_eq!(key("192.0.2.1"), key("::ffff:192.0.2.1"));
        assert_ne!(key("192.0.2.1"), key("192.0.2.2"));
        assert_eq!(key("2001:db8:1:2::1"), key("2001:db8:1:2:ffff::9"));
        assert_ne!(key("2001:db8:1:2::1"), key("2001:db8:1:3::1"));
        assert_ne!(key("::1:2:3:4:5").number(), key("0.0.0.1").number());
        assert_eq!(key("2001:db8:1:2::1").wide, key("2001:db8:1:3::1").wide);
        assert_ne!(key("2001:db8:1:2::1").wide, key("2001:db8:2:2::1").wide);
    }

    #[test]
    fn each_key_has_its_own() {
        let table = Table::new(Quota::whole(Rate::per_minute(2)));
        assert_eq!(table.wait(key("192.0.2.1"), 0), None);
        for _ in 0..2 {
            assert_eq!(table.take(key("192.0.2.1"), 0), Ok(()));
        }
        assert_eq!(table.take(key("192.0.2.1"), 0), Err(Duration::from_secs(30)));
        assert_eq!(table.take(key("192.0.2.2"), 0), Ok(()));
        assert_eq!(table.keys(), 2);
        table.sweep(29_000_000_000);
        assert_eq!(table.keys(), 2);
        table.sweep(30_000_000_000);
        assert_eq!(table.keys(), 1, "only what is full again is forgotten");
        table.sweep(60_000_000_000);
        assert_eq!(table.keys(), 0);
    }

    /// An attacker with any number of networks neither resets a bucket nor grows the table, and strangers of
    /// other networks are still served.
    #[test]
    fn a_full_table_resets_nobody_and_serves_strangers() {
        let table = Table::of_size(Quota::whole(Rate::per_minute(2)), 4, None);
        let victim = key("192.0.2.1");
        for _ in 0..2 {
            assert_eq!(table.take(victim, 0), Ok(()));
        }
        let mut passed = 0;
        for network in 0_u32..100_000 {
            let [_, _, high, low] = network.to_be_bytes();
            let address = format!("2001:db8:7:{high:x}{low:02x}::1");
            passed += u32::from(table.take(key(&address), SWEEP + u64::from(network)).is_ok());
        }
        assert!(table.keys() <= SHARDS * 4);
        assert!(table.take(victim, 2 * SWEEP).is_err(), "still empty");
        // Those with a bucket of their own have two each (the networks repeat), and all others two together.
        assert!(passed <= u32::try_from(2 * SHARDS * 4 + 2).expect("a number"), "{passed}");
        let strangers =
            (0..100).filter(|n| table.take(key(&format!("198.{n}.0.1")), 3 * SWEEP).is_ok()).count();
        assert!(strangers >= 90, "{strangers}");
    }

    /// The owner of a /48 or a /32 takes half of the room and no more: all their further networks share one
    /// bucket, those who come from elsewhere have their own, and can be held to account.
    #[test]
    fn no_owner_takes_the_room_of_others() {
        for owner in ["2001:db8:7", "2001:db8:{}"] {
            let table = Table::of_size(Quota::whole(Rate::per_minute(2)), 64, Some(Crowd::default()));
            let whole = SHARDS * 64;
            for n in 0_u32..20_000 {
                // One /48 with as many /64s, or one /32 with as many /48s.
                let address = if owner.ends_with("{}") {
                    format!("{}::1", owner.replace("{}", &format!("{n:x}:1")))
                } else {
                    format!("{owner}:{n:x}::1")
                };
                let _ = table.take(key(&address), 1);
            }
            assert!(table.keys() <= whole / 2 + 1, "{owner}: {}", table.keys());
            for n in 0..100 {
                let stranger = key(&format!("198.51.{n}.1"));
                assert_eq!(table.take(stranger, 2), Ok(()));
                assert!(table.knows(stranger), "{owner}: {n}");
            }
            table.sweep(120_000_000_000);
            assert_eq!(table.keys(), 0);
            let crowd = table.crowd.as_ref().expect("a count");
            assert_eq!(owners(key("198.51.7.1").customer()).map(|network| crowd.count(network)), [0, 0]);
        }
    }

    #[test]
    fn threads_do_not_get_more_than_one_would() {
        let table = Table::new(Quota::new(Rate::per_minute(1), 100));
        let passed = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for n in 0..5_000_u32 {
                        // The others make sure that there is something to forget.
                        let _ = table.take(BucketKey::hashed((u128::from(n) << 64) | 7), u64::from(n));
                        if table.take(key("192.0.2.1"), u64::from(n)).is_ok() {
                            passed.fetch_add(1, Ordering::Relaxed);
                        }
                        table.wait(key("192.0.2.1"), u64::from(n));
                    }
                });
            }
        });
        assert_eq!(passed.into_inner(), 100);
    }
}
