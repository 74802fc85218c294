//! A network in CIDR notation, and whether an address lies in it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// An address and the length of its prefix: `192.0.2.0/24`, `2001:db8::/32`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

impl FromStr for Network {
    type Err = &'static str;

    /// Fails with the reason, as the end of a sentence.
    fn from_str(text: &str) -> Result<Self, &'static str> {
        let (address, prefix) = text.split_once('/').ok_or("the length of the prefix is missing")?;
        let address: IpAddr =
            address.parse().map_err(|_| "what stands before the slash is not an IP address")?;
        if address.to_canonical().is_ipv4() && address.is_ipv6() {
            return Err("it is an IPv4 network written as IPv6");
        }
        let longest = if address.is_ipv4() { 32 } else { 128 };
        let digits = !prefix.is_empty() && prefix.bytes().all(|b| b.is_ascii_digit());
        match prefix.parse::<u8>() {
            Ok(prefix) if digits && prefix <= longest => Ok(Self { address, prefix }),
            _ => Err("the length of the prefix is not a number from 0 to 32 (IPv4) or 128 (IPv6)"),
        }
    }
}

impl Network {
    /// The network of this length that an address lies in. A length beyond the longest is the longest.
    pub fn around(address: IpAddr, prefix: u8) -> Self {
        match address {
            IpAddr::V4(v4) => {
                let prefix = prefix.min(32);
                let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
                Self { address: Ipv4Addr::from_bits(v4.to_bits() & mask).into(), prefix }
            }
            IpAddr::V6(v6) => {
                let prefix = prefix.min(128);
                let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
                Self { address: Ipv6Addr::from_bits(v6.to_bits() & mask).into(), prefix }
            }
        }
    }

    /// The address before the slash.
    pub fn address(self) -> IpAddr {
        self.address
    }

    /// The length of the prefix in bits: at most 32 of IPv4, 128 of IPv6.
    pub fn prefix(self) -> u8 {
        self.prefix
    }

    /// True where `address` lies in it. An IPv4 address written as IPv6 (`::ffff:…`) counts as the IPv4
    /// address that it is.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                let differs = u32::from(network) ^ u32::from(address);
                differs.leading_zeros() >= u32::from(self.prefix)
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                let differs = u128::from(network) ^ u128::from(address);
                differs.leading_zeros() >= u32::from(self.prefix)
            }
            _ => false,
        }
    }

    /// True where no address (of its family) is outside, or so few that it comes to the same: less than a /4
    /// of IPv4, a /8 of IPv6.
    pub fn is_everybody(&self) -> bool {
        self.prefix < if self.address.is_ipv4() { 4 } else { 8 }
    }

    /// True where bits are set behind the prefix, which is a slip of whoever wrote it.
    pub fn has_host_bits(&self) -> bool {
        match self.address {
            IpAddr::V4(address) => {
                u32::from(address).checked_shl(self.prefix.into()).is_some_and(|rest| rest != 0)
            }
            IpAddr::V6(address) => {
                u128::from(address).checked_shl(self.prefix.into()).is_some_and(|rest| rest != 0)
            }
        }
    }
}

/// The networks that a customer lies in, which one owner may have as a whole: the /48 and the /32 of IPv6,
/// the /24 and the /16 of IPv4. The owner of entries in a table is told by these.
pub fn owners(customer: IpAddr) -> [Network; 2] {
    let within = |near: u8, far: u8| [near, far].map(|prefix| Network::around(customer, prefix));
    if customer.is_ipv4() { within(24, 16) } else { within(48, 32) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contains(network: &str, address: &str) -> bool {
        network.parse::<Network>().expect(network).contains(address.parse().expect(address))
    }

    #[test]
    fn an_address_lies_in_it_or_not() {
        for (network, address) in [
            ("10.0.0.0/8", "10.255.0.1"),
            ("192.0.2.7/32", "192.0.2.7"),
            ("192.0.2.7/32", "::ffff:192.0.2.7"),
            ("0.0.0.0/0", "203.0.113.9"),
            ("2001:db8::/32", "2001:db8:1::1"),
            ("::1/128", "::1"),
        ] {
            assert!(contains(network, address), "{address} in {network}");
        }
        for (network, address) in [
            ("10.0.0.0/8", "11.0.0.1"),
            ("192.0.2.7/32", "192.0.2.6"),
            ("0.0.0.0/0", "::1"),
            ("::/0", "192.0.2.1"),
            ("2001:db8::/32", "2001:db9::1"),
        ] {
            assert!(!contains(network, address), "{address} in {network}");
        }
    }

    #[test]
    fn bits_behind_the_prefix_are_seen() {
        let slips = |text: &str| text.parse::<Network>().expect(text).has_host_bits();
        assert!(slips("10.0.0.1/8") && slips("2001:db8::1/64"));
        let everybody = |text: &str| text.parse::<Network>().expect(text).is_everybody();
        assert!(everybody("0.0.0.0/0") && everybody("128.0.0.0/1") && everybody("::/0"));
        assert!(!everybody("10.0.0.0/8") && !everybody("fd00::/8"));
        assert!(!slips("10.0.0.0/8") && !slips("10.0.0.1/32") && !slips("0.0.0.0/0") && !slips("::1/128"));
    }

    #[test]
    fn owners_are_found_around_a_customer() {
        let owners = |text: &str| owners(text.parse().expect(text));
        let networks = |texts: [&str; 2]| texts.map(|text| text.parse::<Network>().expect(text));
        assert_eq!(owners("203.0.113.7"), networks(["203.0.113.0/24", "203.0.0.0/16"]));
        assert_eq!(owners("2001:db8:1:2::"), networks(["2001:db8:1::/48", "2001:db8::/32"]));
        let around = |text: &str, prefix| Network::around(text.parse().expect(text), prefix);
        assert_eq!(around("203.0.113.7", 0), "0.0.0.0/0".parse().expect("a network"));
        assert_eq!(around("203.0.113.7", 99), "203.0.113.7/32".parse().expect("a network"));
        assert_eq!(around("2001:db8::7", 128), "2001:db8::7/128".parse().expect("a network"));
    }
}
