//! Addresses and networks as the early drop knows them, and what this host must never drop: its own addresses
//! and its gateways.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use airlock_ebpf::Source;

use crate::netlink::{DUMP, ROUTE, ask, attributes};
use airlock_config::network::Network;
use airlock_config::translators::{Translators, well_known};

/// The key of a network in the trie of exempt sources. The early drop knows an IPv6 source by its /64, so a
/// longer IPv6 network exempts the whole /64 it is in; clients of the well-known translator it knows one by
/// one.
pub(super) fn trie_key(network: Network) -> (u32, [u8; 16]) {
    let (address, bits) = (network.address(), u32::from(network.prefix()));
    let key = source(address);
    let bits = match address {
        IpAddr::V4(_) => 96 + bits,
        IpAddr::V6(_) if key.is_translated() && bits >= 96 => bits,
        IpAddr::V6(_) => bits.min(64),
    };
    (bits, key.0)
}

/// The keys under which packets of a customer come: those of an IPv4 address its own, and that behind the
/// well-known translator.
pub(crate) fn sources(customer: IpAddr) -> impl Iterator<Item = Source> {
    let translated = match customer.to_canonical() {
        IpAddr::V4(client) => Some(source(well_known(client).into())),
        IpAddr::V6(_) => None,
    };
    std::iter::once(source(customer)).chain(translated)
}

/// The key under which the early drop knows an address. An IPv4 address written as IPv6 is the IPv4 address.
pub(crate) fn source(address: IpAddr) -> Source {
    match address.to_canonical() {
        IpAddr::V4(address) => Source::from_v4(address.octets()),
        IpAddr::V6(address) => Source::from_v6(address.octets()),
    }
}

/// The customer that a key stands for: an address, or the base of a /64.
pub(super) fn customer(source: Source) -> IpAddr {
    Translators::default().customer(Ipv6Addr::from(source.0).into())
}

/// Why an address must not be dropped, whatever it did; `None` when it may be.
pub fn protected(candidate: IpAddr) -> Option<&'static str> {
    let candidate = candidate.to_canonical();
    if candidate.is_loopback() {
        return Some("it is a loopback address");
    }
    if candidate.is_unspecified() || candidate.is_multicast() {
        return Some("it is no address of a host");
    }
    let link_local = match candidate {
        IpAddr::V4(v4) => v4.is_link_local() || v4.is_broadcast(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    if link_local {
        return Some("it is a link-local address, which routers use");
    }
    let key = source(candidate);
    if own_addresses().into_iter().any(|own| source(own) == key) {
        return Some("it is an address of this host, or in the same IPv6 /64");
    }
    if gateways().into_iter().any(|gateway| source(gateway) == key) {
        return Some("it is a gateway of this host");
    }
    None
}

/// Reads a table of the calling thread's network namespace; an absent one (no IPv6) is empty.
fn table(name: &str) -> String {
    fs::read_to_string(format!("/proc/thread-self/net/{name}")).unwrap_or_default()
}

/// The addresses of the interfaces of the calling thread's network namespace, however many routes it has
/// besides.
///
/// # Errors
/// When the kernel does not tell.
pub(super) fn addresses() -> io::Result<Vec<IpAddr>> {
    /// `RTM_GETADDR`, and what it is answered with, `RTM_NEWADDR`.
    const ASK: u16 = 22;
    const ADDRESS: u16 = 20;
    // `struct ifaddrmsg`: every family, every interface.
    let answers = ask(ROUTE, ASK, DUMP, &[0; IFADDRMSG])?;
    Ok(answers
        .iter()
        .filter(|(kind, _)| *kind == ADDRESS)
        .filter_map(|(_, body)| one_address(body))
        .collect())
}

/// The length of `struct ifaddrmsg`.
const IFADDRMSG: usize = 8;

/// The address of this end: `IFA_LOCAL`, or, where both ends are one, `IFA_ADDRESS`.
fn one_address(body: &[u8]) -> Option<IpAddr> {
    let rest = body.get(IFADDRMSG..)?;
    let of_kind = |wanted: u16| attributes(rest).find(|(kind, _)| *kind == wanted).map(|(_, value)| value);
    let value = of_kind(2).or_else(|| of_kind(1))?;
    if let Ok(octets) = <[u8; 4]>::try_from(value) {
        return Some(IpAddr::from(octets));
    }
    <[u8; 16]>::try_from(value).ok().map(IpAddr::from)
}

fn own_addresses() -> Vec<IpAddr> {
    let mut own = local_v4(&table("fib_trie"));
    own.extend(local_v6(&table("if_inet6")));
    own
}

fn gateways() -> Vec<IpAddr> {
    let mut all = gateways_v4(&table("route"));
    all.extend(gateways_v6(&table("ipv6_route")));
    all
}

/// In `fib_trie` a line `|-- address` stands before each line `/32 host LOCAL`.
fn local_v4(fib_trie: &str) -> Vec<IpAddr> {
    let mut own = Vec::new();
    let mut last: Option<Ipv4Addr> = None;
    for line in fib_trie.lines() {
        let line = line.trim_start();
        if let Some(address) = line.strip_prefix("|-- ") {
            last = address.trim().parse().ok();
        } else if line.starts_with("/32 host LOCAL") {
            own.extend(last.map(IpAddr::V4));
        }
    }
    own
}

/// In `if_inet6` the first field is the address.
fn local_v6(if_inet6: &str) -> Vec<IpAddr> {
    if_inet6.lines().filter_map(|line| hex_v6(line.split_whitespace().next()?)).collect()
}

/// In `route` the third field is the gateway, a number in host order whose bytes lie in network order.
fn gateways_v4(route: &str) -> Vec<IpAddr> {
    route
        .lines()
        .skip(1)
        .filter_map(|line| u32::from_str_radix(line.split_whitespace().nth(2)?, 16).ok())
        .filter(|gateway| *gateway != 0)
        .map(|gateway| IpAddr::V4(gateway.to_ne_bytes().into()))
        .collect()
}

/// In `ipv6_route` the fifth field is the next hop.
fn gateways_v6(route: &str) -> Vec<IpAddr> {
    route
        .lines()
        .filter_map(|line| hex_v6(line.split_whitespace().nth(4)?))
        .filter(|gateway| !gateway.is_unspecified())
        .collect()
}

fn hex_v6(text: &str) -> Option<IpAddr> {
    (text.len() == 32)
        .then(|| u128::from_str_radix(text, 16).ok())
        .flatten()
        .map(|bits| IpAddr::V6(Ipv6Addr::from_bits(bits)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::tests::attribute;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect(text)
    }

    #[test]
    fn a_network_is_a_prefix_of_sources() {
        let key = |text: &str| trie_key(text.parse::<Network>().expect(text));
        assert_eq!(key("192.0.2.0/24").0, 120);
        assert_eq!(key("192.0.2.7/32"), (128, source(ip("192.0.2.7"))).into_key());
        assert_eq!(key("::/0").0, 0);
        assert_eq!(key("2001:db8::1/128"), (64, source(ip("2001:db8::"))).into_key());
        assert_eq!(key("64:ff9b::/96"), (96, source(ip("64:ff9b::"))).into_key());
        assert_eq!(key("64:ff9b::203.0.113.7/128"), (128, source(ip("64:ff9b::203.0.113.7"))).into_key());
        assert_eq!(key("64:ff9b::/64").0, 64);
    }

    trait IntoKey {
        fn into_key(self) -> (u32, [u8; 16]);
    }

    impl IntoKey for (u32, Source) {
        fn into_key(self) -> (u32, [u8; 16]) {
            (self.0, self.1.0)
        }
    }

    #[test]
    fn keys_and_addresses_are_two_ways_of_one_thing() {
        for text in ["203.0.113.7", "2001:db8:1:2::"] {
            for key in sources(ip(text)) {
                assert_eq!(customer(key), ip(text));
            }
        }
        assert_eq!(customer(source(ip("::ffff:203.0.113.7"))), ip("203.0.113.7"));
        let keys: Vec<_> = sources(ip("203.0.113.7")).collect();
        assert_eq!(keys, [source(ip("203.0.113.7")), source(ip("64:ff9b::203.0.113.7"))]);
    }

    #[test]
    fn what_a_host_lives_on_is_protected() {
        for text in [
            "127.0.0.1",
            "127.9.9.9",
            "::1",
            "::ffff:127.0.0.1",
            "0.0.0.0",
            "224.0.0.1",
            "ff02::1",
            "169.254.1.1",
            "fe80::1",
            "255.255.255.255",
        ] {
            assert!(protected(ip(text)).is_some(), "{text}");
        }
        assert_eq!(protected(ip("203.0.113.7")), None);
        assert_eq!(protected(ip("2001:db8::7")), None);
    }

    #[test]
    fn the_addresses_of_this_host_are_told() {
        let told = addresses().expect("an answer");
        assert!(told.contains(&ip("127.0.0.1")), "{told:?}");
        for address in told {
            assert!(protected(address).is_some(), "{address}");
        }
        let near = attribute(2, &[10, 0, 0, 1]);
        let far = attribute(1, &[10, 0, 0, 2]);
        let message = |attributes: &[Vec<u8>]| [vec![2, 32, 0, 0, 1, 0, 0, 0], attributes.concat()].concat();
        assert_eq!(one_address(&message(&[far.clone(), near])), Some(ip("10.0.0.1")));
        assert_eq!(one_address(&message(&[far])), Some(ip("10.0.0.2")));
        assert_eq!(one_address(&message(&[attribute(1, &[1, 2, 3])])), None);
        assert_eq!(one_address(&[2]), None);
    }

    #[test]
    fn the_kernels_tables_are_understood() {
        let trie = "\
Main:
  +-- 0.0.0.0/0 3 0 5
     |-- 10.0.0.0
        /24 link UNICAST
     |-- 10.0.0.5
        /32 host LOCAL
";
        assert_eq!(local_v4(trie), [ip("10.0.0.5")]);
        let v6 = "20010db8000000000000000000000005 02 40 00 80     eth0\n";
        assert_eq!(local_v6(v6), [ip("2001:db8::5")]);
        let gateway = u32::from_ne_bytes([10, 0, 0, 1]);
        let route = format!(
            "Iface\tDestination\tGateway\neth0\t00000000\t{gateway:08X}\t0003\neth0\t0\t00000000\t1\n"
        );
        assert_eq!(gateways_v4(&route), [ip("10.0.0.1")]);
        let zero = "0".repeat(32);
        let route = format!(
            "{zero} 00 {zero} 00 20010db8000000000000000000000001 0400\n{zero} 00 {zero} 00 {zero} 0400\n"
        );
        assert_eq!(gateways_v6(&route), [ip("2001:db8::1")]);
    }
}
