//! Offenders earn a drop: addresses that go on where they were told to wait, again and again.
//!
//! Refusals of one address that lie closer together than [`SPACING`] are one violation, so that many requests
//! at once are not taken for stubbornness. The first drop lasts `for`, each next one twice as long, up to
//! `at_most`; after `at_most` without one, the address begins anew.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};

use crate::config::schema::KernelDrop;
use crate::kernel::Reason;

use super::early::Early;
use super::exempt::Exempt;
use super::orders::Order;
use super::ranks::{Rank, Ranks};
use super::table::BucketKey;
use crate::config::network::owners;

/// Refusals within this time are one violation.
const SPACING: u64 = 1_000_000_000;
/// Violations count for this long, or for the time of the first drop where that is longer.
const WINDOW: u64 = 60_000_000_000;
/// Most customers that are watched. Where there is no room for one more, who did least gives way.
const ROOM: usize = 16_384;
/// The same of one owner's nearer network (an IPv6 /48, an IPv4 /24), and of a farther one (a /32, a /16).
const SHARES: [usize; 2] = [ROOM / 64, ROOM / 8];

/// Where requests come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestSource {
    /// The address.
    pub address: IpAddr,
    /// Packets come from that address itself; otherwise a proxy has told of it.
    pub direct: bool,
    /// Somebody else's web page may have had the browser of whoever sits there send this: it is limited, and
    /// held against nobody.
    pub lured: bool,
}

/// An address that has earned a drop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offence {
    /// The customer: an address, or the base of an IPv6 /64.
    pub address: IpAddr,
    /// Its deed.
    pub reason: Reason,
    /// For how long.
    pub lasting: Duration,
    /// Packets come from that address itself; where a proxy has told of it, the kernel must not drop
    /// anything.
    pub direct: bool,
}

/// The listener to offenders.
pub trait OffenderSink: Send + Sync {
    /// Drops an address.
    fn offend(&self, offence: &Offence);
    /// The time of a drop that was earned is over.
    fn forgive(&self, address: IpAddr);
    /// An operator has ordered a block of this time; with what was earned besides, packets are to be dropped
    /// for `in_all`.
    fn ordered(&self, _order: &Order, _lasting: Duration, _in_all: Duration) {}
    /// A block that an operator ordered, or lifted, has ended.
    fn lifted(&self, _address: IpAddr, _why: &str) {}
    /// Nothing blocks this address any more.
    fn release(&self, _address: IpAddr) {}
    /// The kernel's part against an address; none when it has none.
    fn early(&self, _address: IpAddr) -> Option<Early> {
        None
    }
}

/// The addresses that are watched.
pub struct Offenders {
    after: u32,
    window: u64,
    first: u64,
    at_most: u64,
    exempt: Exempt,
    watched: Mutex<Book>,
    blocked: AtomicUsize,
    sink: Arc<dyn OffenderSink>,
}

#[derive(Debug)]
struct Book {
    entries: HashMap<u128, Watched>,
    ranks: Ranks,
}

/// Times are nanoseconds.
#[derive(Debug)]
struct Watched {
    address: IpAddr,
    violations: u32,
    /// When these violations began, and when the last one was.
    since: u64,
    last: u64,
    /// How many drops it has had.
    drops: u32,
    /// Until when the last one lasts or lasted.
    until: u64,
    is_blocked: bool,
    /// The last violation.
    reason: Reason,
}

impl Watched {
    /// An address that is dropped does not give way.
    fn rank(&self) -> Option<Rank> {
        let Self { drops, violations, last, .. } = *self;
        (!self.is_blocked).then_some(Rank { drops, violations, last })
    }
}

impl Book {
    fn new() -> Self {
        let [near, far] = SHARES;
        Self { entries: HashMap::new(), ranks: Ranks::new([near, far, ROOM]) }
    }

    /// A place for one more; false where there is none, and nobody who gives way.
    fn make_room(&mut self, customer: IpAddr) -> bool {
        let Ok(leaving) = self.ranks.room(owners(customer)) else { return false };
        if let Some(key) = leaving {
            self.remove(key);
        }
        self.ranks.enter(owners(customer));
        true
    }

    fn remove(&mut self, key: u128) -> Option<Watched> {
        let one = self.entries.remove(&key)?;
        self.ranks.leave(key, owners(one.address), one.rank());
        Some(one)
    }
}

impl Offenders {
    /// Watches for the configured number of violations.
    pub(super) fn new(drop: &KernelDrop, exempt: Exempt, sink: Arc<dyn OffenderSink>) -> Self {
        let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        Self {
            after: drop.after.max(1),
            window: nanos(drop.r#for.0).max(WINDOW),
            first: nanos(drop.r#for.0),
            at_most: nanos(drop.at_most.0),
            exempt,
            watched: Mutex::new(Book::new()),
            blocked: AtomicUsize::new(0),
            sink,
        }
    }

    /// How long a customer stays dropped; none when it is not.
    pub fn blocked(&self, customer: IpAddr, now: u64) -> Option<Duration> {
        if self.blocked.load(Ordering::Relaxed) == 0 {
            return None;
        }
        self.left(customer, now)
    }

    /// The same, always looked for.
    pub(super) fn left(&self, customer: IpAddr, now: u64) -> Option<Duration> {
        let key = BucketKey::of(customer).number();
        let book = self.lock();
        let left = book.entries.get(&key)?.until.checked_sub(now)?;
        (left > 0).then(|| Duration::from_nanos(left))
    }

    /// The addresses that are dropped, with the cause and the time that is left.
    pub(super) fn list(&self, now: u64) -> Vec<(IpAddr, Reason, Duration)> {
        let book = self.lock();
        let dropped = book.entries.values().filter(|one| one.until > now);
        dropped.map(|one| (one.address, one.reason, Duration::from_nanos(one.until - now))).collect()
    }

    /// Forgets everything that a customer has done; whether it was dropped.
    pub(super) fn forgive(&self, customer: IpAddr) -> bool {
        let one = self.lock().remove(BucketKey::of(customer).number());
        let was_blocked = one.is_some_and(|one| one.is_blocked);
        if was_blocked {
            self.blocked.fetch_sub(1, Ordering::Relaxed);
        }
        was_blocked
    }

    /// A request was refused because of one of its address's limits.
    pub fn violation(&self, source: RequestSource, customer: IpAddr, reason: Reason, now: u64) {
        if source.lured {
            return;
        }
        // Neither address of a customer who comes by a translator may be blocked: the others behind either
        // would be as well.
        if self.exempt.covers(source.address) || self.exempt.covers(customer) {
            return;
        }
        let key = BucketKey::of(customer).number();
        let mut book = self.lock();
        if !book.entries.contains_key(&key) && !book.make_room(customer) {
            return;
        }
        let Book { entries, ranks } = &mut *book;
        let is_new = !entries.contains_key(&key);
        let one = entries.entry(key).or_insert_with(|| Watched {
            address: customer,
            violations: 0,
            since: now,
            last: 0,
            drops: 0,
            until: 0,
            is_blocked: false,
            reason,
        });
        if one.violations > 0 && now < one.last.saturating_add(SPACING) || one.until > now {
            return;
        }
        let before = if is_new { None } else { one.rank() };
        if now > one.since.saturating_add(self.window) {
            (one.violations, one.since) = (0, now);
        }
        if one.drops > 0 && now > one.until.saturating_add(self.at_most) {
            one.drops = 0;
        }
        one.violations += 1;
        one.last = now;
        one.reason = reason;
        if one.violations < self.after {
            ranks.change(key, owners(customer), before, one.rank());
            return;
        }
        let lasting =
            self.first.saturating_mul(1_u64.checked_shl(one.drops).unwrap_or(u64::MAX)).min(self.at_most);
        one.violations = 0;
        one.drops = one.drops.saturating_add(1);
        one.until = now.saturating_add(lasting);
        if !std::mem::replace(&mut one.is_blocked, true) {
            self.blocked.fetch_add(1, Ordering::Relaxed);
        }
        ranks.change(key, owners(customer), before, one.rank());
        let lasting = Duration::from_nanos(lasting);
        let offence = Offence { address: one.address, reason, lasting, direct: source.direct };
        drop(book);
        self.sink.offend(&offence);
    }

    /// Lifts and gives the drops whose time is over, and forgets who has been quiet for long.
    pub fn sweep(&self, now: u64) -> Vec<IpAddr> {
        let mut over = Vec::new();
        let mut quiet = Vec::new();
        let mut book = self.lock();
        let Book { entries, ranks } = &mut *book;
        for (key, one) in entries.iter_mut() {
            if one.is_blocked && one.until <= now {
                one.is_blocked = false;
                ranks.change(*key, owners(one.address), None, one.rank());
                self.blocked.fetch_sub(1, Ordering::Relaxed);
                over.push(one.address);
            }
            if self.is_over(one, now) {
                quiet.push(*key);
            }
        }
        for key in quiet {
            book.remove(key);
        }
        drop(book);
        for address in &over {
            self.sink.forgive(*address);
        }
        over
    }

    /// How many addresses are dropped.
    pub fn count(&self) -> usize {
        self.blocked.load(Ordering::Relaxed)
    }

    /// True where nothing is left to remember.
    fn is_over(&self, one: &Watched, now: u64) -> bool {
        !one.is_blocked
            && now > one.last.saturating_add(self.window)
            && (one.drops == 0 || now > one.until.saturating_add(self.at_most))
    }

    fn lock(&self) -> MutexGuard<'_, Book> {
        self.watched.lock()
    }
}

#[cfg(test)]
mod tests;
