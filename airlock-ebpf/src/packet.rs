//! Finding the source address of a packet, and the address and port that it goes to.
//!
//! The functions are generic over [`Packet`], because inside the kernel every read is a checked access to the
//! packet's memory and on the host it is a slice. A packet that is not understood is `None`, and `None` lets
//! it pass.

/// A source address as the maps know it: 16 bytes in network order, IPv4 mapped into `::ffff:0:0/96`, IPv6
/// cut to its /64, because one IPv6 host has a whole /64 to hide in. An address of `64:ff9b::/96` stays
/// whole: there one /64 is the IPv4 internet behind a translator (RFC 6052).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(transparent)]
pub struct Source(pub [u8; 16]);

/// Where a TCP packet goes to, as the maps know it: the address in network order, IPv4 mapped into
/// `::ffff:0:0/96`, IPv6 whole, and the port in network order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct Destination(pub [u8; 18]);

/// Checked access to the bytes of a packet.
pub trait Packet {
    /// The `N` bytes from offset `at` on, or `None` where the packet is shorter.
    fn bytes<const N: usize>(&self, at: usize) -> Option<[u8; N]>;
}

impl Packet for [u8] {
    fn bytes<const N: usize>(&self, at: usize) -> Option<[u8; N]> {
        self.get(at..at.checked_add(N)?)?.try_into().ok()
    }
}

/// A packet whose network header was understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Located {
    /// The sender.
    pub source: Source,
    /// The protocol after the network header, or an IPv6 extension header.
    protocol: u8,
    /// Where the destination address is.
    destination: usize,
    /// Where what follows begins.
    next: usize,
    /// True where `protocol` may name an IPv6 extension header.
    v6: bool,
    /// True where this is a later fragment, which has no ports.
    later_fragment: bool,
}

const ETHER_IPV4: u16 = 0x0800;
const ETHER_IPV6: u16 = 0x86dd;
const ETHER_VLAN: u16 = 0x8100;
const ETHER_QINQ: u16 = 0x88a8;
/// At most this many VLAN tags are looked through.
const MAX_TAGS: usize = 2;
/// At most this many IPv6 extension headers are looked through.
const MAX_EXTENSIONS: usize = 4;

const PROTO_HOP_BY_HOP: u8 = 0;
const PROTO_TCP: u8 = 6;
const PROTO_ROUTING: u8 = 43;
const PROTO_FRAGMENT: u8 = 44;
const PROTO_DESTINATION: u8 = 60;

impl Source {
    /// The key of an IPv4 address, given in network order.
    #[inline]
    pub const fn from_v4([a, b, c, d]: [u8; 4]) -> Self {
        Self([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d])
    }

    /// The key of an IPv6 address, given in network order: its /64, or itself behind the well-known
    /// translator.
    #[inline]
    pub const fn from_v6(address: [u8; 16]) -> Self {
        if Self(address).is_translated() {
            return Self(address);
        }
        Self((u128::from_be_bytes(address) & (u128::MAX << 64)).to_be_bytes())
    }

    /// True where it lies in `64:ff9b::/96`.
    #[inline]
    pub const fn is_translated(self) -> bool {
        u128::from_be_bytes(self.0) >> 32 == 0x0064_ff9b << 64
    }
}

impl Destination {
    /// An IPv4 address and a port.
    #[inline]
    pub const fn from_v4([a, b, c, d]: [u8; 4], port: u16) -> Self {
        let [high, low] = port.to_be_bytes();
        Self([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d, high, low])
    }

    /// An IPv6 address and a port.
    #[inline]
    #[allow(clippy::many_single_char_names, reason = "the octets of an address, in order")]
    pub const fn from_v6(address: [u8; 16], port: u16) -> Self {
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = address;
        let [high, low] = port.to_be_bytes();
        Self([a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, high, low])
    }
}

/// Finds the sender of an Ethernet frame: IPv4 or IPv6, behind at most two VLAN tags.
#[inline]
pub fn locate<P: Packet + ?Sized>(packet: &P) -> Option<Located> {
    let mut at = 12;
    let mut kind = u16::from_be_bytes(packet.bytes(at)?);
    for _ in 0..MAX_TAGS {
        if kind == ETHER_VLAN || kind == ETHER_QINQ {
            at += 4;
            kind = u16::from_be_bytes(packet.bytes(at)?);
        }
    }
    match kind {
        ETHER_IPV4 => locate_v4(packet, at + 2),
        ETHER_IPV6 => locate_v6(packet, at + 2),
        _ => None,
    }
}

#[inline]
fn locate_v4<P: Packet + ?Sized>(packet: &P, at: usize) -> Option<Located> {
    let [version_and_length, _, _, _, _, _, f0, f1, _, protocol, _, _, a, b, c, d, ..] =
        packet.bytes::<20>(at)?;
    let words = usize::from(version_and_length & 0x0f);
    if version_and_length >> 4 != 4 || words < 5 {
        return None;
    }
    Some(Located {
        source: Source::from_v4([a, b, c, d]),
        protocol,
        destination: at + 16,
        next: at + words * 4,
        v6: false,
        later_fragment: u16::from_be_bytes([f0, f1]) & 0x1fff != 0,
    })
}

#[inline]
fn locate_v6<P: Packet + ?Sized>(packet: &P, at: usize) -> Option<Located> {
    let [version, _, _, _, _, _, protocol, _] = packet.bytes::<8>(at)?;
    if version >> 4 != 6 {
        return None;
    }
    // A header that is cut short is not a header.
    packet.bytes::<16>(at + 24)?;
    Some(Located {
        source: Source::from_v6(packet.bytes(at + 8)?),
        protocol,
        destination: at + 24,
        next: at + 40,
        v6: true,
        later_fragment: false,
    })
}

/// Where a TCP packet goes to whose header is in this very packet (so not a later fragment).
#[inline]
pub fn tcp_destination<P: Packet + ?Sized>(packet: &P, located: &Located) -> Option<Destination> {
    let port = tcp_port(packet, located)?;
    Some(if located.v6 {
        Destination::from_v6(packet.bytes(located.destination)?, port)
    } else {
        Destination::from_v4(packet.bytes(located.destination)?, port)
    })
}

#[inline]
fn tcp_port<P: Packet + ?Sized>(packet: &P, located: &Located) -> Option<u16> {
    let mut protocol = located.protocol;
    let mut at = located.next;
    if located.later_fragment {
        return None;
    }
    if located.v6 {
        for _ in 0..MAX_EXTENSIONS {
            match protocol {
                PROTO_HOP_BY_HOP | PROTO_ROUTING | PROTO_DESTINATION => {
                    let [following, length] = packet.bytes(at)?;
                    protocol = following;
                    at += 8 + usize::from(length) * 8;
                }
                PROTO_FRAGMENT => {
                    let [following, _, f0, f1] = packet.bytes(at)?;
                    if u16::from_be_bytes([f0, f1]) & 0xfff8 != 0 {
                        return None;
                    }
                    protocol = following;
                    at += 8;
                }
                _ => break,
            }
        }
    }
    if protocol != PROTO_TCP {
        return None;
    }
    let [_, _, high, low] = packet.bytes(at)?;
    Some(u16::from_be_bytes([high, low]))
}
