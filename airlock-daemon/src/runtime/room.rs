//! Room for connections: so many in all, so many of one address. Looked at once a connection, never on a request's way.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::config::network::customer;

/// The room of the whole process.
#[derive(Debug)]
pub struct Room {
    most: usize,
    most_of_one: usize,
    open: AtomicUsize,
    of_one: Mutex<HashMap<IpAddr, usize>>,
}

/// Why there is no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Full {
    /// `server.max_connections` are open.
    All,
    /// `server.max_connections_per_address` of that address are open.
    Address,
}

/// A connection's place among all.
#[derive(Debug)]
#[must_use = "the place is free again when this is dropped"]
pub struct Place(Arc<Room>);

/// A connection's place among those of its address.
#[derive(Debug)]
#[must_use = "the place is free again when this is dropped"]
pub struct OfOne(Arc<Room>, IpAddr);

impl Room {
    /// Room for `most` connections, `most_of_one` of them of one address.
    pub fn new(most: usize, most_of_one: usize) -> Arc<Self> {
        Arc::new(Self { most, most_of_one, open: AtomicUsize::new(0), of_one: Mutex::default() })
    }

    /// A place among all.
    ///
    /// # Errors
    /// [`Full::All`].
    pub fn enter(self: &Arc<Self>) -> Result<Place, Full> {
        let place = Place(Arc::clone(self));
        if self.open.fetch_add(1, Ordering::Relaxed) < self.most { Ok(place) } else { Err(Full::All) }
    }

    /// A place among those of `address`.
    ///
    /// # Errors
    /// [`Full::Address`].
    pub fn of(self: &Arc<Self>, address: IpAddr) -> Result<OfOne, Full> {
        let address = customer(address);
        let mut of_one = self.of_one.lock().unwrap_or_else(PoisonError::into_inner);
        let count = of_one.entry(address).or_default();
        if *count >= self.most_of_one {
            return Err(Full::Address);
        }
        *count += 1;
        drop(of_one);
        Ok(OfOne(Arc::clone(self), address))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for OfOne {
    fn drop(&mut self) {
        let mut of_one = self.0.of_one.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = of_one.get_mut(&self.1) {
            *count -= 1;
            if *count == 0 {
                of_one.remove(&self.1);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect(text)
    }

    #[test]
    fn a_place_is_free_again_when_it_is_left() {
        let room = Room::new(2, 1);
        let first = room.enter().expect("empty");
        let second = room.enter().expect("one is in");
        assert_eq!(room.enter().map(drop), Err(Full::All));
        drop(first);
        let third = room.enter().expect("one has left");
        assert_eq!(room.enter().map(drop), Err(Full::All));
        drop((second, third));
        assert_eq!(room.open.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn one_address_is_one_whatever_it_is_written_like() {
        let room = Room::new(9, 1);
        let held = [room.of(ip("192.0.2.1")).expect("first"), room.of(ip("2001:db8::1")).expect("first")];
        assert_eq!(room.of(ip("::ffff:192.0.2.1")).map(drop), Err(Full::Address));
        assert_eq!(room.of(ip("2001:db8::ffff:1")).map(drop), Err(Full::Address));
        assert!(room.of(ip("192.0.2.2")).is_ok() && room.of(ip("2001:db8:0:1::1")).is_ok());
        drop(held);
        assert!(room.of(ip("192.0.2.1")).is_ok());
        assert!(room.of_one.lock().expect("not poisoned").is_empty(), "nothing is kept of who has left");
    }
}
