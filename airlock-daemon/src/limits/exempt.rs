//! Addresses that are never dropped, whatever they do: loopback, trusted proxies, and what the operator
//! exempts.

use std::net::IpAddr;

use crate::config::network::Network;

/// Networks, and loopback.
#[derive(Debug, Clone, Default)]
pub(super) struct Exempt {
    proxies: Vec<Network>,
    allowed: Vec<Network>,
}

impl Exempt {
    /// From lists in CIDR notation, which were validated with the configuration.
    pub(super) fn new(proxies: &[String], allowed: &[String]) -> Self {
        let networks = |list: &[String]| list.iter().filter_map(|network| network.parse().ok()).collect();
        Self { proxies: networks(proxies), allowed: networks(allowed) }
    }

    /// True where an address is one of them. Loopback always is.
    pub(super) fn covers(&self, address: IpAddr) -> bool {
        self.why(address).is_some()
    }

    /// Why an address is one of them; none when it is not.
    pub(super) fn why(&self, address: IpAddr) -> Option<&'static str> {
        let within = |networks: &[Network]| networks.iter().any(|network| network.contains(address));
        if address.to_canonical().is_loopback() {
            Some("it is a loopback address")
        } else if within(&self.proxies) {
            Some("it is a trusted proxy (server.trusted_proxies), and its clients would be blocked with it")
        } else if within(&self.allowed) {
            Some("kernel.xdp.allow exempts it")
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_cover_what_is_in_them() {
        let allowed = ["10.0.0.0/8", "192.0.2.7/32", "2001:db8::/32", "::1/128"].map(str::to_owned);
        let exempt = Exempt::new(&allowed[..2], &allowed[2..]);
        let covers = |text: &str| exempt.covers(text.parse().expect("an address"));
        for inside in ["10.255.0.1", "::ffff:10.0.0.1", "192.0.2.7", "2001:db8:ffff::1", "127.0.0.9", "::1"] {
            assert!(covers(inside), "{inside}");
        }
        for outside in ["11.0.0.1", "192.0.2.8", "2001:db9::1", "::2"] {
            assert!(!covers(outside), "{outside}");
        }
        let everything = Exempt::new(&["::/0".to_owned()], &[]);
        assert!(everything.covers("2001:db8::1".parse().expect("an address")));
        let v4 = Exempt::new(&["0.0.0.0/0".to_owned()], &[]);
        assert!(v4.covers("203.0.113.1".parse().expect("an address")));
        assert!(!v4.covers("2001:db8::1".parse().expect("an address")));
    }
}
