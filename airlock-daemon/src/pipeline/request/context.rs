//! The facts that are known of one request from its first byte on.

use std::cell::Cell;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use http::Uri;

/// The other end of a connection, as far as this host can vouch for it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Peer {
    /// The client's address; none on a unix socket.
    pub address: Option<IpAddr>,
    /// The trusted proxy that named this address. Without one, it is the address that packets come from, and
    /// only then may the kernel drop them.
    pub proxy: Option<IpAddr>,
    /// The subject of the client's verified certificate.
    pub certificate: Option<Arc<str>>,
    /// SHA-256 of that certificate: tokens may be bound to it (RFC 8705).
    pub certificate_digest: Option<[u8; 32]>,
    /// The user id of the process at the other end of a unix socket.
    pub uid: Option<u32>,
}

/// One request: where it came from, when, and the id under which the audit log knows it.
#[derive(Debug, Clone)]
pub struct Context {
    /// Finds the records of this request; given to the client in errors and in `X-Correlation-Id`.
    pub correlation_id: Arc<str>,
    /// The sender, as the policy and the limits see it.
    pub peer: Peer,
    /// The same in a word, for logs and records: the address without the port, or `unix:uid`.
    pub client: Arc<str>,
    /// The URI that it asked for: the endpoint's path is in it. It is `/` where no request was read.
    pub uri: Uri,
    /// When the request's head had been read.
    pub started: Instant,
}

impl Peer {
    /// A peer of a TCP connection.
    pub fn tcp(address: SocketAddr) -> Self {
        Self { address: Some(address.ip().to_canonical()), ..Self::default() }
    }

    /// A peer of a connection to the unix socket.
    pub fn unix(uid: u32) -> Self {
        Self { uid: Some(uid), ..Self::default() }
    }

    /// The client at `address`, of which this peer, a trusted proxy, has told.
    #[must_use]
    pub fn behind(self, address: IpAddr) -> Self {
        Self { proxy: self.address, address: Some(address.to_canonical()), ..self }
    }

    /// The name that logs and records call it by.
    fn name(&self) -> String {
        match (self.address, self.uid) {
            (Some(address), _) => address.to_string(),
            (None, Some(uid)) => format!("unix:{uid}"),
            (None, None) => "unknown".to_owned(),
        }
    }
}

impl Context {
    /// A context for a request that has just come from `peer`.
    pub fn new(peer: Peer) -> Self {
        Self {
            correlation_id: correlation_id().into(),
            client: peer.name().into(),
            peer,
            uri: Uri::default(),
            started: Instant::now(),
        }
    }

    /// The same, for a request to this address.
    #[must_use]
    pub fn to(mut self, uri: &Uri) -> Self {
        self.uri = uri.clone();
        self
    }

    /// The context of another message of the same request, which has an id of its own in the audit log.
    #[must_use]
    pub fn sibling(&self) -> Self {
        Self { correlation_id: correlation_id().into(), ..self.clone() }
    }

    /// Time since the request's head had been read.
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }
}

/// 24 hexadecimal digits: a random prefix of this worker's, and a counter. Unique, not secret.
fn correlation_id() -> String {
    thread_local! {
        static PREFIX: u64 = random();
        static COUNT: Cell<u32> = const { Cell::new(0) };
    }
    let count = COUNT.with(|count| {
        count.set(count.get().wrapping_add(1));
        count.get()
    });
    PREFIX.with(|prefix| format!("{prefix:016x}{count:08x}"))
}

/// Random bits; where the kernel has none to give, the clock and the address of a local serve, since ids need
/// not be secret.
fn random() -> u64 {
    getrandom::u64().unwrap_or_else(|_| {
        use std::hash::{BuildHasher as _, RandomState};
        RandomState::new().hash_one(Instant::now())
    })
}

/// Seconds since the Unix epoch.
pub(in crate::pipeline) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_differ() {
        let peer = SocketAddr::from(([127, 0, 0, 1], 1));
        let ids: std::collections::HashSet<_> =
            (0..1000).map(|_| Context::new(Peer::tcp(peer)).correlation_id).collect();
        assert_eq!(ids.len(), 1000);
        assert!(ids.iter().all(|id| id.len() == 24));
    }

    #[test]
    fn a_mapped_address_is_written_as_ipv4() {
        let peer: SocketAddr = "[::ffff:192.0.2.1]:80".parse().expect("an address");
        assert_eq!(&*Context::new(Peer::tcp(peer)).client, "192.0.2.1");
    }
}
