//! A network in CIDR notation, and whether an address lies in it.

use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

/// An address and the length of its prefix: `192.0.2.0/24`, `2001:db8::/32`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
    /// The address before the slash.
    pub fn address(self) -> IpAddr {
        self.address
    }

    /// The length of the prefix in bits: at most 32 of IPv4, 128 of IPv6.
    pub fn prefix(self) -> u8 {
        self.prefix
    }

    /// Whether `address` lies in it. An IPv4 address written as IPv6 (`::ffff:…`) counts as the IPv4 address that it is.
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

    /// Whether no address (of its family) is outside, or so few that it comes to the same: less than a /4 of IPv4, a /8 of IPv6.
    pub fn is_everybody(&self) -> bool {
        self.prefix < if self.address.is_ipv4() { 4 } else { 8 }
    }

    /// Whether bits are set behind the prefix, which is a slip of whoever wrote it.
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

/// What one customer of a network has at least, by its base: an address of IPv4, the /64 of one of IPv6.
pub fn customer(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
    }
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
}
