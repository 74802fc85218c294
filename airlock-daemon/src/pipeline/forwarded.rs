//! The address of a client behind a trusted proxy, which only the proxy knows.
//!
//! A proxy appends the address that it sees to `X-Forwarded-For`; the entries before it may be anybody's
//! invention. So the list is walked from its right end, past proxies that are trusted themselves, to the
//! first address that is not. `Forwarded` (RFC 7239) is not read: of two headers that may contradict each
//! other one decides.

use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, HeaderName, StatusCode};

use crate::config::network::Network;
use crate::config::schema::{ProxyProtocol, Server};

use super::Refusal;
use super::request::context::Peer;
use crate::stage::Stage;

/// `X-Forwarded-For`.
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The proxies that are believed about the address of others, and how they tell it.
#[derive(Debug, Clone, Default)]
pub struct Proxies {
    trusted: Vec<Network>,
    protocol: ProxyProtocol,
}

impl Proxies {
    /// From the configuration, which was validated.
    pub fn new(server: &Server) -> Self {
        let trusted = server.trusted_proxies.iter().filter_map(|network| network.parse().ok()).collect();
        Self { trusted, protocol: server.proxy_protocol }
    }

    /// True where a connection from `address` is a trusted proxy's.
    pub fn trusts(&self, address: IpAddr) -> bool {
        self.trusted.iter().any(|network| network.contains(address))
    }

    /// True where a connection from `address` begins with a PROXY header.
    pub fn speaks_first(&self, address: IpAddr) -> bool {
        self.protocol == ProxyProtocol::Required && self.trusts(address)
    }

    /// True where a connection from `address` names a client in each request.
    pub fn names_clients(&self, address: IpAddr) -> bool {
        self.protocol == ProxyProtocol::Off && self.trusts(address)
    }

    /// The client of one request of a proxy that [names clients](Self::names_clients): the proxy itself where
    /// it names nobody.
    ///
    /// # Errors
    /// 400 when what the proxy says cannot be understood: a request without a known origin is nobody's.
    pub fn client(&self, proxy: &Peer, headers: &HeaderMap) -> Result<Peer, Refusal> {
        let mut client = None;
        'walk: for value in headers.get_all(X_FORWARDED_FOR).iter().rev() {
            let value = value.to_str().map_err(|_| malformed())?;
            for entry in value.rsplit(',') {
                let address = address(entry.trim_matches([' ', '\t'])).ok_or_else(malformed)?;
                client = Some(address);
                if !self.trusts(address) {
                    break 'walk;
                }
            }
        }
        Ok(match client {
            // The certificate of the connection is the proxy's own.
            Some(address) => {
                Peer { certificate: None, certificate_digest: None, ..proxy.clone().behind(address) }
            }
            None => proxy.clone(),
        })
    }
}

/// An address as proxies write it: bare, in brackets, or with a port behind it.
fn address(entry: &str) -> Option<IpAddr> {
    if let Ok(address) = entry.parse::<IpAddr>() {
        return Some(address);
    }
    if let Ok(with_port) = entry.parse::<SocketAddr>() {
        return Some(with_port.ip());
    }
    entry.strip_prefix('[')?.strip_suffix(']')?.parse::<std::net::Ipv6Addr>().ok().map(IpAddr::V6)
}

fn malformed() -> Refusal {
    let reason = "the X-Forwarded-For header of a trusted proxy does not end in an IP address (server.trusted_proxies)";
    Refusal::new(Stage::Forwarded, StatusCode::BAD_REQUEST, reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(values: &[&str]) -> Result<String, StatusCode> {
        let trusted_proxies = vec!["10.0.0.0/8".to_owned(), "2001:db8:1::/48".to_owned()];
        let proxies = Proxies::new(&Server { trusted_proxies, ..Server::default() });
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(X_FORWARDED_FOR, value.parse().expect("a value"));
        }
        let proxy = Peer::tcp(SocketAddr::from(([10, 0, 0, 1], 1)));
        let peer = proxies.client(&proxy, &headers).map_err(|refusal| refusal.status)?;
        assert_eq!(peer.proxy.is_some(), !values.is_empty(), "{values:?}");
        Ok(peer.address.expect("an address").to_string())
    }

    #[test]
    fn the_last_that_is_not_trusted_is_the_client() {
        for (values, expected) in [
            (&["203.0.113.7"][..], "203.0.113.7"),
            (&["198.51.100.1, 203.0.113.7"], "203.0.113.7"),
            (&["198.51.100.1, 203.0.113.7,10.2.3.4 ,\t2001:db8:1::5"], "203.0.113.7"),
            (&["198.51.100.1", "203.0.113.7", "10.2.3.4"], "203.0.113.7"),
            // Entries that the client made up are not even read.
            (&["127.0.0.1, nonsense;,, 203.0.113.7"], "203.0.113.7"),
            (&["\u{1}x".trim_start_matches('\u{1}'), "203.0.113.7"], "203.0.113.7"),
            (&["203.0.113.7:4711"], "203.0.113.7"),
            (&["[2001:db8::7]:4711"], "2001:db8::7"),
            (&["[2001:db8::7]"], "2001:db8::7"),
            (&["2001:db8::7"], "2001:db8::7"),
            (&["::ffff:203.0.113.7"], "203.0.113.7"),
            // All of them are trusted: the first is where it began.
            (&["10.9.9.9, 10.2.3.4"], "10.9.9.9"),
            (&[], "10.0.0.1"),
        ] {
            assert_eq!(client(values).as_deref(), Ok(expected), "{values:?}");
        }
    }

    #[test]
    fn what_the_proxy_says_must_be_an_address() {
        for value in [
            "",
            "unknown",
            "203.0.113.7,",
            "203.0.113.7, ",
            "203.0.113.7 10.0.0.1",
            "\"203.0.113.7\"",
            "203.0.113.07",
            "203.0.113.7:",
            "203.0.113.7:99999",
            "[203.0.113.7]",
            "x, 10.2.3.4",
            "for=203.0.113.7",
            "fe80::1%eth0",
        ] {
            assert_eq!(client(&[value]), Err(StatusCode::BAD_REQUEST), "{value:?}");
        }
    }

    #[test]
    fn nobody_is_trusted_by_default_and_one_way_excludes_the_other() {
        let local: IpAddr = [127, 0, 0, 1].into();
        let none = Proxies::new(&Server::default());
        assert!(!none.trusts(local) && !none.names_clients(local) && !none.speaks_first(local));
        let trusted_proxies = vec!["127.0.0.0/8".to_owned()];
        let by_header =
            Proxies::new(&Server { trusted_proxies: trusted_proxies.clone(), ..Server::default() });
        assert!(by_header.names_clients(local) && !by_header.speaks_first(local));
        let proxy_protocol = ProxyProtocol::Required;
        let first = Proxies::new(&Server { trusted_proxies, proxy_protocol, ..Server::default() });
        assert!(first.speaks_first(local) && !first.names_clients(local));
        assert!(!first.speaks_first([192, 0, 2, 1].into()));
    }
}
