//! Which addresses documents of identity providers are fetched from: the check is made on the address that is
//! connected to, after the name was looked up, so that neither a name nor metadata can lead a fetch into this
//! host's own network.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use hyper_util::client::legacy::connect::dns::Name;
use tower_service::Service;

/// The addresses that may be connected to on behalf of one issuer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Zone {
    /// This host alone: for plain HTTP.
    Loopback,
    /// The internet.
    Public,
    /// The internet and this host: for an issuer whose own URL names this host.
    PublicAndLoopback,
    /// The internet, this host and private networks: where the configuration says so.
    Private,
}

/// The class of an address, as far as fetching goes (the IANA special-purpose registries, RFC 6890).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum AddressKind {
    Public,
    Loopback,
    Private,
    /// Never to be fetched from.
    Never(&'static str),
}

impl Zone {
    /// # Errors
    /// The class of the address, where it lies outside.
    fn check(self, address: IpAddr) -> Result<(), String> {
        let remedy = "set `allow_private_addresses: true` for this issuer if it is meant to be there";
        match (self, kind(address)) {
            (_, AddressKind::Never(what)) => {
                Err(format!("{address} is {what}, where no identity provider can be"))
            }
            (Self::Public | Self::PublicAndLoopback | Self::Private, AddressKind::Public)
            | (Self::Loopback | Self::PublicAndLoopback | Self::Private, AddressKind::Loopback)
            | (Self::Private, AddressKind::Private) => Ok(()),
            (Self::Loopback, _) => Err(format!("{address} is not this host, and plain http goes no further")),
            (_, AddressKind::Loopback) => Err(format!("{address} is this host itself: {remedy}")),
            (_, AddressKind::Private) => Err(format!("{address} is a private address: {remedy}")),
        }
    }

    /// Checks the host of a URL where it is an address; names are checked when they have been looked up.
    ///
    /// # Errors
    /// The class of the address, where it lies outside.
    pub(crate) fn check_host(self, host: &str) -> Result<(), String> {
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        bare.parse().map_or(Ok(()), |address| self.check(address))
    }
}

fn kind(address: IpAddr) -> AddressKind {
    match address.to_canonical() {
        IpAddr::V4(address) => kind_v4(address),
        IpAddr::V6(address) => kind_v6(address),
    }
}

fn kind_v4(address: Ipv4Addr) -> AddressKind {
    match address.octets() {
        // Alibaba's is in the shared range, Azure's looks public.
        [100, 100, 100, 200] | [168, 63, 129, 16] => AddressKind::Never("a cloud's metadata service"),
        [127, ..] => AddressKind::Loopback,
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] | [100, 64..=127, ..] | [198, 18..=19, ..] => {
            AddressKind::Private
        }
        [169, 254, ..] => AddressKind::Never("link-local"),
        [224..=239, ..] => AddressKind::Never("multicast"),
        [0 | 240..=255, ..] | [192, 0, 0, _] | [192, 88, 99, _] => AddressKind::Never("reserved"),
        [192, 0, 2, _] | [198, 51, 100, _] | [203, 0, 113, _] => {
            AddressKind::Never("an example of documents")
        }
        _ => AddressKind::Public,
    }
}

fn kind_v6(address: Ipv6Addr) -> AddressKind {
    if address.is_loopback() {
        return AddressKind::Loopback;
    }
    match address.segments() {
        // NAT64: what is behind it is an IPv4 address.
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
            let [a, b] = high.to_be_bytes();
            let [c, d] = low.to_be_bytes();
            match kind_v4(Ipv4Addr::new(a, b, c, d)) {
                AddressKind::Public => AddressKind::Public,
                _ => AddressKind::Never("a translated address that is not public"),
            }
        }
        [0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254] | [0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254] => {
            AddressKind::Never("a cloud's metadata service")
        }
        [0xfc00..=0xfdff, ..] => AddressKind::Private,
        [0xfe80..=0xfebf, ..] => AddressKind::Never("link-local"),
        [0xff00..=0xffff, ..] => AddressKind::Never("multicast"),
        [0x2001, 0..=0x1ff, ..] | [0x2002, ..] => AddressKind::Never("a tunnel's address"),
        [0x2001, 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => AddressKind::Never("an example of documents"),
        [0x2000..=0x3fff, ..] => AddressKind::Public,
        _ => AddressKind::Never("reserved"),
    }
}

type Lookup = Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send>>;

/// Looks names up and leaves out what lies outside a zone.
#[derive(Clone)]
pub(crate) struct Resolver {
    zone: Zone,
    lookup: Arc<dyn Fn(String) -> Lookup + Send + Sync>,
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resolver").field("zone", &self.zone).finish_non_exhaustive()
    }
}

impl Resolver {
    /// The system's, within a zone.
    pub(crate) fn new(zone: Zone) -> Self {
        // The port is put in by the connector.
        let system = |name: String| -> Lookup {
            Box::pin(async move { Ok(tokio::net::lookup_host((name, 0)).await?.collect()) })
        };
        Self { zone, lookup: Arc::new(system) }
    }

    #[cfg(test)]
    pub(crate) fn answering(
        zone: Zone,
        answer: impl Fn(&str) -> Vec<IpAddr> + Send + Sync + 'static,
    ) -> Self {
        let lookup = move |name: String| -> Lookup {
            let found = answer(&name).into_iter().map(|address| SocketAddr::new(address, 0)).collect();
            Box::pin(std::future::ready(Ok(found)))
        };
        Self { zone, lookup: Arc::new(lookup) }
    }
}

impl Service<Name> for Resolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let (zone, found) = (self.zone, (self.lookup)(name.as_str().to_owned()));
        Box::pin(async move {
            let mut refused = None;
            let mut within = Vec::new();
            for address in found.await? {
                match zone.check(address.ip()) {
                    Ok(()) => within.push(address),
                    Err(problem) => refused = Some(problem),
                }
            }
            match refused {
                Some(problem) if within.is_empty() => Err(io::Error::other(problem)),
                _ => Ok(within.into_iter()),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(addresses: &[&str]) -> Vec<(String, AddressKind)> {
        let of = |text: &&str| ((*text).to_owned(), kind(text.parse().expect("an address")));
        addresses.iter().map(of).collect()
    }

    #[test]
    fn every_special_range_is_known() {
        let public = [
            "8.8.8.8",
            "1.1.1.1",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "192.167.255.255",
            "169.253.255.255",
            "223.255.255.255",
            "2606:4700::1111",
            "2a00::1",
            "::ffff:8.8.8.8",
            "64:ff9b::8.8.8.8",
            "2001:4860::8888",
        ];
        for (text, kind) in kinds(&public) {
            assert_eq!(kind, AddressKind::Public, "{text}");
        }
        for (text, kind) in kinds(&["127.0.0.1", "127.255.255.255", "::1", "::ffff:127.0.0.1"]) {
            assert_eq!(kind, AddressKind::Loopback, "{text}");
        }
        let private = [
            "10.0.0.1",
            "10.255.255.255",
            "172.16.0.0",
            "172.31.255.255",
            "192.168.1.1",
            "100.64.0.0",
            "100.127.255.255",
            "198.18.0.1",
            "fc00::1",
            "fdff::1",
            "::ffff:10.0.0.1",
            "::ffff:192.168.0.1",
        ];
        for (text, kind) in kinds(&private) {
            assert_eq!(kind, AddressKind::Private, "{text}");
        }
        let never = [
            "169.254.169.254",
            "::ffff:169.254.169.254",
            "100.100.100.200",
            "168.63.129.16",
            "fd00:ec2::254",
            "fd20:ce::254",
            "192.0.0.192",
            "fe80::1",
            "fec0::1",
            "224.0.0.1",
            "239.1.1.1",
            "ff02::1",
            "0.0.0.0",
            "0.1.2.3",
            "255.255.255.255",
            "240.0.0.1",
            "::",
            "::8.8.8.8",
            "192.0.2.1",
            "203.0.113.9",
            "198.51.100.1",
            "2001:db8::1",
            "3fff::1",
            "2002:a00:1::",
            "2001::1",
            "64:ff9b::10.0.0.1",
            "64:ff9b::127.0.0.1",
            "64:ff9b:1::1",
            "100::1",
            "5f00::1",
            "4000::1",
        ];
        for (text, kind) in kinds(&never) {
            assert!(matches!(kind, AddressKind::Never(_)), "{text}: {kind:?}");
        }
    }

    #[test]
    fn zones_admit_what_they_say() {
        let admitted = |zone: Zone| -> Vec<bool> {
            ["8.8.8.8", "127.0.0.1", "10.0.0.1", "169.254.169.254"]
                .iter()
                .map(|text| zone.check(text.parse().expect("an address")).is_ok())
                .collect()
        };
        assert_eq!(admitted(Zone::Loopback), [false, true, false, false]);
        assert_eq!(admitted(Zone::Public), [true, false, false, false]);
        assert_eq!(admitted(Zone::PublicAndLoopback), [true, true, false, false]);
        assert_eq!(admitted(Zone::Private), [true, true, true, false]);
        assert!(Zone::Public.check_host("[::1]").is_err() && Zone::Public.check_host("10.0.0.1").is_err());
        // A name says nothing yet.
        assert!(Zone::Public.check_host("localhost").is_ok());
    }

    async fn resolve(mut resolver: Resolver, name: &str) -> io::Result<Vec<IpAddr>> {
        let found = resolver.call(name.parse().expect("a name")).await?;
        Ok(found.map(|address| address.ip()).collect())
    }

    #[tokio::test]
    async fn names_of_this_host_and_odd_spellings_of_addresses_do_not_resolve() {
        for name in ["localhost", "127.1", "2130706433", "0x7f000001", "0"] {
            let error = match resolve(Resolver::new(Zone::Public), name).await {
                Err(error) => error.to_string(),
                Ok(found) => panic!("{name} resolved to {found:?}"),
            };
            assert!(!error.is_empty(), "{name}");
        }
        let error =
            resolve(Resolver::new(Zone::Public), "localhost").await.expect_err("loopback").to_string();
        assert!(error.contains("this host itself") && error.contains("allow_private_addresses"), "{error}");
        assert!(resolve(Resolver::new(Zone::Loopback), "localhost").await.is_ok());
    }

    #[tokio::test]
    async fn of_several_addresses_only_those_within_are_left() {
        let mixed = |zone| {
            let answer =
                ["10.0.0.7", "8.8.8.8", "169.254.169.254"].map(|text| text.parse().expect("an address"));
            Resolver::answering(zone, move |_| answer.to_vec())
        };
        assert_eq!(resolve(mixed(Zone::Public), "x").await.expect("one").len(), 1);
        assert_eq!(resolve(mixed(Zone::Private), "x").await.expect("two").len(), 2);
        assert!(resolve(mixed(Zone::Loopback), "x").await.is_err());
    }
}
