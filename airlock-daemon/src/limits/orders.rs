//! Blocks that an operator ordered, so many and no more. They are apart from those that are earned: nobody
//! who earns many can take the room from the operator.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};

/// Most blocks that an operator can have ordered at a time.
pub const MOST: usize = 4_096;

/// A block that an operator ordered. Times are nanoseconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// The customer: an address, or the base of an IPv6 /64.
    pub address: IpAddr,
    /// Why, in the operator's words.
    pub reason: String,
    /// The user who ordered it.
    pub by: u32,
    /// Until when it lasts.
    pub until: u64,
}

/// All that were ordered.
#[derive(Debug, Default)]
pub struct Orders {
    book: Mutex<HashMap<IpAddr, Order>>,
    count: AtomicUsize,
}

/// No room for another order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full;

impl Orders {
    /// Takes an order. Another for the same address takes the place of the one before.
    ///
    /// # Errors
    /// [`Full`], when [`MOST`] are in force.
    pub fn add(&self, order: Order) -> Result<(), Full> {
        let mut book = self.lock();
        if book.len() >= MOST && !book.contains_key(&order.address) {
            return Err(Full);
        }
        book.insert(order.address, order);
        self.count.store(book.len(), Ordering::Relaxed);
        Ok(())
    }

    /// Takes the order about a customer back.
    pub fn remove(&self, customer: IpAddr) -> Option<Order> {
        let mut book = self.lock();
        let order = book.remove(&customer);
        self.count.store(book.len(), Ordering::Relaxed);
        order
    }

    /// How long a customer stays blocked; none when it is not.
    pub fn blocked(&self, customer: IpAddr, now: impl FnOnce() -> u64) -> Option<Duration> {
        if self.count.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let left = self.lock().get(&customer)?.until.checked_sub(now())?;
        (left > 0).then(|| Duration::from_nanos(left))
    }

    /// How many there are, those included whose end was not yet told.
    pub fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// The orders in force.
    pub fn list(&self, now: u64) -> Vec<Order> {
        self.lock().values().filter(|order| order.until > now).cloned().collect()
    }

    /// Forgets and gives those whose time is over.
    pub fn sweep(&self, now: u64) -> Vec<Order> {
        if self.count.load(Ordering::Relaxed) == 0 {
            return Vec::new();
        }
        let mut book = self.lock();
        let over = book.extract_if(|_, order| order.until <= now).map(|(_, order)| order).collect();
        self.count.store(book.len(), Ordering::Relaxed);
        over
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, Order>> {
        self.book.lock()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(address: IpAddr, until: u64) -> Order {
        Order { address, reason: "scans".into(), by: 0, until }
    }

    #[test]
    fn an_order_lasts_until_its_time_or_until_it_is_taken_back() {
        let orders = Orders::default();
        let address: IpAddr = "2001:db8:1:2::".parse().expect("an address");
        assert_eq!(orders.blocked(address, || 0), None);
        orders.add(order(address, 100)).expect("room");
        assert_eq!(orders.blocked(address, || 40), Some(Duration::from_nanos(60)));
        assert_eq!((orders.blocked(address, || 100), orders.list(100)), (None, Vec::new()));
        assert_eq!(orders.sweep(100).len(), 1);
        orders.add(order(address, 200)).expect("room");
        orders.add(order(address, 150)).expect("room");
        assert_eq!(orders.list(100), [order(address, 150)], "the last word counts");
        assert!(orders.remove(address).is_some() && orders.remove(address).is_none());
        assert_eq!(orders.blocked(address, || 100), None);
    }

    #[test]
    fn there_is_an_end_to_orders() {
        let orders = Orders::default();
        let address = |n: usize| IpAddr::V4(u32::try_from(n + (1 << 24)).expect("a number").into());
        for n in 0..MOST {
            orders.add(order(address(n), 100)).expect("room");
        }
        assert_eq!(orders.add(order(address(MOST), 100)), Err(Full));
        orders.add(order(address(7), 300)).expect("one that is there can be changed");
        assert_eq!(orders.sweep(100).len(), MOST - 1);
        orders.add(order(address(MOST), 200)).expect("room again");
    }
}
