//! Address translators, and who is behind an address: the one thing that limits, connections and blocks
//! count.
//!
//! A translator (NAT64, SIIT) writes the IPv4 address of its client into the IPv6 address that it sends from
//! (RFC 6052), so that all IPv4 clients of one translator lie in one /64, or in a few. Where the prefix is
//! known, that IPv4 address is the client.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use super::network::Network;

/// The lengths that a prefix can have (RFC 6052, section 2.2).
pub const LENGTHS: [u8; 6] = [32, 40, 48, 56, 64, 96];
/// The well-known prefix, `64:ff9b::/96` (RFC 6052, section 2.1), without the 32 bits behind it.
const WELL_KNOWN: u128 = 0x0064_ff9b << 64;

/// The translators that are known: the well-known prefix, and those of `server.nat64_prefixes`.
#[derive(Debug, Clone, Default)]
pub struct Translators(Arc<[Network]>);

impl Translators {
    /// The well-known prefix and these, which were validated with the configuration.
    pub fn new(prefixes: &[String]) -> Self {
        let mut networks: Vec<Network> = prefixes.iter().filter_map(|prefix| prefix.parse().ok()).collect();
        // Where two hold an address, the longer one is the translator's.
        networks.sort_by_key(|network| std::cmp::Reverse(network.prefix()));
        Self(networks.into())
    }

    /// The customer behind an address: the address itself of IPv4, also where a translator has embedded it,
    /// and of IPv6 the base of its /64, which is what one customer of a network gets at least.
    ///
    /// An address that a translator could not have embedded (loopback, multicast and the like) makes nobody
    /// somebody else: such an IPv6 address is a customer by itself.
    pub fn customer(&self, address: IpAddr) -> IpAddr {
        let address = match address.to_canonical() {
            IpAddr::V4(address) => return address.into(),
            IpAddr::V6(address) => address,
        };
        match self.embedded(address) {
            Some(client) if is_a_host(client) => client.into(),
            Some(_) => address.into(),
            None => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
        }
    }

    /// The address that a translator has embedded in one of its own; none in any other address.
    fn embedded(&self, address: Ipv6Addr) -> Option<Ipv4Addr> {
        let bits = address.to_bits();
        if is_well_known(bits) {
            return Some(behind(address, 96));
        }
        let prefix = self.0.iter().find(|prefix| prefix.contains(address.into()))?;
        Some(behind(address, prefix.prefix()))
    }
}

/// Where the well-known translator puts a client of this IPv4 address.
pub fn well_known(client: Ipv4Addr) -> Ipv6Addr {
    Ipv6Addr::from_bits(WELL_KNOWN << 32 | u128::from(client.to_bits()))
}

fn is_well_known(bits: u128) -> bool {
    bits >> 32 == WELL_KNOWN
}

/// The four octets behind a prefix of this length, without the one that is reserved (RFC 6052, section 2.2).
fn behind(address: Ipv6Addr, length: u8) -> Ipv4Addr {
    /// The octet that stands for nothing, in all forms but that of 96 bits.
    const RESERVED: usize = 8;
    let start = usize::from(length / 8);
    let octets = address.octets();
    let mut rest = octets.iter().enumerate().skip(start).filter(|(at, _)| *at != RESERVED);
    let mut next = || rest.next().map_or(0, |(_, octet)| *octet);
    Ipv4Addr::new(next(), next(), next(), next())
}

fn is_a_host(address: Ipv4Addr) -> bool {
    !(address.is_loopback()
        || address.is_unspecified()
        || address.is_broadcast()
        || address.is_multicast()
        || address.is_link_local())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect(text)
    }

    fn customer(prefixes: &[&str], address: &str) -> IpAddr {
        let prefixes: Vec<String> = prefixes.iter().map(|prefix| (*prefix).to_owned()).collect();
        Translators::new(&prefixes).customer(ip(address))
    }

    #[test]
    fn a_customer_is_an_ipv4_address_or_a_64() {
        for (address, expected) in [
            ("192.0.2.1", "192.0.2.1"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
            // The well-known prefix needs no configuration.
            ("64:ff9b::203.0.113.7", "203.0.113.7"),
            // The one for local use (RFC 8215) is a network like any other until it is configured.
            ("64:ff9b:1::203.0.113.7", "64:ff9b:1::"),
            ("64:ff9b::1:203.0.113.7", "64:ff9b::"),
        ] {
            assert_eq!(customer(&[], address), ip(expected), "{address}");
        }
    }

    /// The table of RFC 6052, section 2.4.
    #[test]
    fn the_address_is_found_behind_a_prefix_of_any_length() {
        for (prefix, address) in [
            ("2001:db8::/32", "2001:db8:c000:221::"),
            ("2001:db8:100::/40", "2001:db8:1c0:2:21::"),
            ("2001:db8:122::/48", "2001:db8:122:c000:2:2100::"),
            ("2001:db8:122:300::/56", "2001:db8:122:3c0:0:221::"),
            ("2001:db8:122:344::/64", "2001:db8:122:344:c0:2:2100::"),
            ("2001:db8:122:344::/96", "2001:db8:122:344::192.0.2.33"),
        ] {
            assert_eq!(customer(&[prefix], address), ip("192.0.2.33"), "{prefix}");
            assert_eq!(customer(&["2001:db9::/32", prefix], address), ip("192.0.2.33"), "{prefix}");
        }
        assert_eq!(customer(&["2001:db8:1::/96"], "2001:db8:1::1:1:1"), ip("2001:db8:1::"), "beside it");
    }

    #[test]
    fn nobody_becomes_this_host_by_translation() {
        for inside in ["127.0.0.1", "0.0.0.0", "255.255.255.255", "224.0.0.1", "169.254.1.1"] {
            let address = format!("64:ff9b::{inside}");
            assert_eq!(customer(&[], &address), ip(&address));
        }
    }

    #[test]
    fn the_well_known_place_of_a_client_is_found_again() {
        let client = Ipv4Addr::new(203, 0, 113, 7);
        assert_eq!(IpAddr::from(well_known(client)), ip("64:ff9b::203.0.113.7"));
        assert_eq!(Translators::default().customer(well_known(client).into()), IpAddr::from(client));
    }
}
