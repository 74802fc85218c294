//! Room for connections: so many in all, so many of one address. Looked at once a connection, never on a
//! request's way. Once half of the room is taken, no owner's network has more than its share of it, however
//! many addresses it has. Inside a site all clients may be of one network; there only the shares of addresses
//! hold.
//!
//! The sockets of an address are remembered, so that all can be shut down when it is blocked. Each is held by
//! a descriptor of its own, so none can meanwhile have become another connection's. `shutdown(2)` is what
//! both kinds of I/O, TLS and a handshake that hangs all notice by themselves.

use std::collections::HashMap;
use std::net::{IpAddr, Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use parking_lot::Mutex;

use crate::config::network::{Network, owners};
use crate::config::translators::Translators;

/// The room of the whole process.
#[derive(Debug)]
pub struct Room {
    most: usize,
    most_of_one: usize,
    open: AtomicUsize,
    book: Mutex<Book>,
    next: AtomicU64,
    translators: Translators,
}

/// The connections that are in.
#[derive(Debug, Default)]
struct Book {
    of_one: HashMap<IpAddr, HashMap<u64, Option<TcpStream>>>,
    /// How many are of each network.
    owners: HashMap<Network, usize>,
}

/// The part of all room that a nearer and a farther network of one owner have (see [`owners`]), once half of
/// it is taken.
const SHARES: [usize; 2] = [8, 4];

/// A customer is inside the site when its address is private, loopback or link-local: no stranger on the
/// internet has such an address (RFC 1918, RFC 3927, RFC 4193).
fn is_inside(customer: IpAddr) -> bool {
    match customer {
        IpAddr::V4(v4) => v4.is_private() || v4.is_loopback() || v4.is_link_local(),
        // The customer of `::1` is `::`, the base of its /64.
        IpAddr::V6(v6) => v6.is_unique_local() || v6.is_unicast_link_local() || v6.is_unspecified(),
    }
}

/// Why there is no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Full {
    /// `server.max_connections` are open.
    All,
    /// `server.max_connections_per_address` of that address are open.
    Address,
    /// Half of `server.max_connections` are open, and those of that address's network are as many as its
    /// share.
    Network,
}

impl Full {
    /// Its name in the metrics.
    pub const fn word(self) -> &'static str {
        match self {
            Self::All => "full",
            Self::Address => "address_full",
            Self::Network => "network_full",
        }
    }
}

/// A connection's place among all.
#[derive(Debug)]
#[must_use = "the place is free again when this is dropped"]
pub struct ConnectionPermit(Arc<Room>);

/// A connection's place among those of its address.
#[derive(Debug)]
#[must_use = "the place is free again when this is dropped"]
pub struct OfOne(Arc<Room>, IpAddr, u64);

impl Room {
    /// Room for `most` connections, `most_of_one` of them of one customer.
    pub fn new(most: usize, most_of_one: usize, translators: Translators) -> Arc<Self> {
        Arc::new(Self {
            most,
            most_of_one,
            open: AtomicUsize::new(0),
            book: Mutex::default(),
            next: AtomicU64::new(0),
            translators,
        })
    }

    /// A place among all.
    ///
    /// # Errors
    /// [`Full::All`].
    pub fn enter(self: &Arc<Self>) -> Result<ConnectionPermit, Full> {
        let place = ConnectionPermit(Arc::clone(self));
        if self.open.fetch_add(1, Ordering::Relaxed) < self.most { Ok(place) } else { Err(Full::All) }
    }

    /// A place among those of `address`, whose `socket` is to be shut down when the address is blocked. A
    /// connection of a proxy, which others share, gives none.
    ///
    /// # Errors
    /// [`Full::Address`] or [`Full::Network`].
    pub fn of(self: &Arc<Self>, address: IpAddr, socket: Option<TcpStream>) -> Result<OfOne, Full> {
        let address = self.translators.customer(address);
        let mut book = self.book.lock();
        let Book { of_one, owners: networks } = &mut *book;
        if of_one.get(&address).is_some_and(|places| places.len() >= self.most_of_one) {
            return Err(Full::Address);
        }
        if !is_inside(address) && self.open.load(Ordering::Relaxed) > self.most / 2 {
            let held = |network| networks.get(&network).copied().unwrap_or(0);
            // One address may have as many as it may have.
            let share = |part: usize| (self.most / part).max(self.most_of_one);
            if owners(address).into_iter().zip(SHARES).any(|(network, part)| held(network) >= share(part)) {
                return Err(Full::Network);
            }
        }
        for network in owners(address) {
            *networks.entry(network).or_insert(0) += 1;
        }
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        of_one.entry(address).or_default().insert(number, socket);
        drop(book);
        Ok(OfOne(Arc::clone(self), address, number))
    }

    /// Shuts down the connections of an address that are its own; gives how many. With `how`
    /// [`Shutdown::Read`] answers that are on their way still arrive.
    pub fn shut(&self, address: IpAddr, how: Shutdown) -> usize {
        let book = self.book.lock();
        let sockets = book
            .of_one
            .get(&self.translators.customer(address))
            .into_iter()
            .flat_map(HashMap::values)
            .flatten();
        // One that the other side has ended meanwhile is as good.
        sockets.filter(|socket| socket.shutdown(how).is_ok()).count()
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for OfOne {
    fn drop(&mut self) {
        let mut book = self.0.book.lock();
        let Book { of_one, owners: networks } = &mut *book;
        if let Some(places) = of_one.get_mut(&self.1) {
            places.remove(&self.2);
            if places.is_empty() {
                of_one.remove(&self.1);
            }
        }
        for network in owners(self.1) {
            if let Some(held) = networks.get_mut(&network) {
                *held -= 1;
                if *held == 0 {
                    networks.remove(&network);
                }
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

    fn is_empty(room: &Room) -> bool {
        let book = room.book.lock();
        book.of_one.is_empty() && book.owners.is_empty()
    }

    /// A /48 has very many /64s; its owner fills half of the room and not the rest.
    #[test]
    fn one_owner_leaves_room_for_others() {
        let room = Room::new(80, 2, Translators::default());
        let enter = |address: &str| {
            let place = room.enter()?;
            Ok::<_, Full>((place, room.of(ip(address), None)?))
        };
        let mut held = Vec::new();
        for n in 0..200 {
            match enter(&format!("2001:db8:7:{n:x}::1")) {
                Ok(place) => held.push(place),
                Err(full) => assert_eq!(full, Full::Network),
            }
        }
        assert_eq!(held.len(), 40);
        let others: Vec<_> = (0..10).map(|n| enter(&format!("2001:db9:{n:x}::1")).expect("room")).collect();
        assert_eq!(enter("2001:db8:8::1").map(drop), Err(Full::Network), "another /48 of the same /32");
        drop((held, others));
        assert!(is_empty(&room));
    }

    /// All clients of a site are in one network and have all of the room; an address has no more than its
    /// share.
    #[test]
    fn inside_a_site_a_network_has_no_share() {
        for network in ["10.1.0.", "172.16.7.", "192.168.1.", "127.0.0.", "169.254.1.", "fd00:1:2:"] {
            let room = Room::new(80, 2, Translators::default());
            let enter = |n: u32| {
                let end = if network.ends_with(':') { "::1" } else { "" };
                let place = room.enter()?;
                Ok::<_, Full>((place, room.of(ip(&format!("{network}{n}{end}")), None)?))
            };
            let mut held: Vec<_> = (0..78).map(|n| enter(n).expect(network)).collect();
            held.push(enter(0).expect("the second of that address"));
            assert_eq!(enter(0).map(drop), Err(Full::Address), "{network}");
            held.push(enter(78).expect("the last place"));
            assert_eq!(enter(79).map(drop), Err(Full::All), "{network}");
            drop(held);
            assert!(is_empty(&room), "{network}");
        }
        for (address, inside) in [
            ("::1", true),
            ("fe80::1", true),
            ("fdff:ffff::1", true),
            ("::ffff:10.0.0.1", true),
            ("172.32.0.1", false),
            ("192.0.2.1", false),
            ("2001:db8::1", false),
            ("::ffff:192.0.2.1", false),
        ] {
            assert_eq!(is_inside(Translators::default().customer(ip(address))), inside, "{address}");
        }
    }

    #[test]
    fn a_place_is_free_again_when_it_is_left() {
        let room = Room::new(2, 1, Translators::default());
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
        let room = Room::new(9, 1, Translators::default());
        let held = [
            room.of(ip("192.0.2.1"), None).expect("first"),
            room.of(ip("2001:db8::1"), None).expect("first"),
        ];
        assert_eq!(room.of(ip("::ffff:192.0.2.1"), None).map(drop), Err(Full::Address));
        assert_eq!(room.of(ip("2001:db8::ffff:1"), None).map(drop), Err(Full::Address));
        assert!(room.of(ip("192.0.2.2"), None).is_ok() && room.of(ip("2001:db8:0:1::1"), None).is_ok());
        drop(held);
        assert!(room.of(ip("192.0.2.1"), None).is_ok());
        assert!(is_empty(&room), "nothing is kept of who has left");
    }

    #[test]
    fn all_connections_of_an_address_end_and_no_others() {
        use std::io::Read as _;
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a listener");
        let pair = || {
            let client =
                TcpStream::connect(listener.local_addr().expect("an address")).expect("a connection");
            (client, listener.accept().expect("a connection").0)
        };
        let room = Room::new(9, 9, Translators::default());
        let pairs = [pair(), pair(), pair()];
        let places = [("192.0.2.1", 0), ("192.0.2.1", 1), ("192.0.2.2", 2)].map(|(address, number)| {
            let (_, served): &(_, TcpStream) = &pairs[number];
            room.of(ip(address), Some(served.try_clone().expect("a descriptor"))).expect("room")
        });
        let shared = room.of(ip("192.0.2.1"), None).expect("room");
        assert_eq!(room.shut(ip("192.0.2.1"), Shutdown::Both), 2);
        assert_eq!(room.shut(ip("192.0.2.9"), Shutdown::Both), 0);
        for mut client in [&pairs[0].0, &pairs[1].0] {
            assert_eq!(client.read(&mut [0]).expect("the end"), 0);
        }
        let mut other = &pairs[2].0;
        other.set_nonblocking(true).expect("non-blocking");
        let open = other.read(&mut [0]).expect_err("it is open");
        assert_eq!(open.kind(), std::io::ErrorKind::WouldBlock);
        drop((places, shared));
        assert!(is_empty(&room));
    }
}
