//! The sockets that the early drop protects: only packets to these are ever dropped.
//!
//! A socket for all addresses stands in the map once for each address of this host, so that packets to a host
//! behind this one pass. Addresses come and go: the control thread compares from time to time.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, SocketAddr};

use airlock_ebpf::Destination;
use aya::maps::{HashMap, MapData, MapError};

use super::network;
use crate::ebpf::loader;

/// The map, and what is in it.
pub(crate) struct Sockets {
    map: HashMap<MapData, [u8; 18], u8>,
    listening: Vec<SocketAddr>,
    written: BTreeSet<[u8; 18]>,
    /// The failure of the last time.
    said: Option<String>,
}

/// Why the map does not hold what it should.
#[derive(Debug, thiserror::Error)]
pub enum SocketsError {
    /// The addresses of this host are not known.
    #[error("the kernel does not tell the addresses of this host: {0}")]
    Addresses(io::Error),
    /// The map is full or gone.
    #[error("{0}")]
    Map(#[from] MapError),
}

impl Sockets {
    /// Nothing is protected yet.
    pub(crate) fn new(map: HashMap<MapData, [u8; 18], u8>) -> Self {
        Self { map, listening: Vec::new(), written: BTreeSet::new(), said: None }
    }

    /// These are protected from now on, and no others.
    pub(crate) fn set(&mut self, listening: &[SocketAddr]) -> Result<(), SocketsError> {
        self.listening = listening.to_vec();
        self.refresh()
    }

    /// The same as [`refresh`](Self::refresh); gives what does not work and was not said before.
    pub(super) fn news(&mut self) -> Option<SocketsError> {
        let error = self.refresh().err();
        let said = error.as_ref().map(ToString::to_string);
        let is_new = said != self.said;
        self.said = said;
        error.filter(|_| is_new)
    }

    /// Takes over what has changed of the addresses of the calling thread's network namespace.
    pub(crate) fn refresh(&mut self) -> Result<(), SocketsError> {
        let is_for_all = |socket: &SocketAddr| socket.ip().is_unspecified();
        let own = if self.listening.iter().any(is_for_all) {
            network::addresses().map_err(SocketsError::Addresses)?
        } else {
            Vec::new()
        };
        let wanted = wanted(&self.listening, &own);
        for gone in self.written.difference(&wanted) {
            match self.map.remove(gone) {
                Err(error) if loader::errno_of(&error) != Some(libc::ENOENT) => return Err(error.into()),
                _ => {}
            }
        }
        self.written.retain(|destination| wanted.contains(destination));
        for new in wanted {
            if !self.written.contains(&new) {
                self.map.insert(new, 1, 0)?;
                self.written.insert(new);
            }
        }
        Ok(())
    }
}

/// The entries of these sockets on a host with these addresses.
fn wanted(listening: &[SocketAddr], own: &[IpAddr]) -> BTreeSet<[u8; 18]> {
    let entry = |address: IpAddr, port| match address.to_canonical() {
        IpAddr::V4(address) => Destination::from_v4(address.octets(), port).0,
        IpAddr::V6(address) => Destination::from_v6(address.octets(), port).0,
    };
    let of_one = |socket: &SocketAddr| {
        let (address, port) = (socket.ip(), socket.port());
        if !address.is_unspecified() {
            return vec![entry(address, port)];
        }
        let same = own.iter().filter(|one| one.is_ipv4() == address.is_ipv4());
        same.map(|one| entry(*one, port)).collect()
    };
    listening.iter().flat_map(of_one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_for_all_is_one_for_each_address_of_its_family() {
        let own = ["192.0.2.1", "10.0.0.1", "2001:db8::1"].map(|text| text.parse().expect(text));
        let entries = |sockets: &[&str]| {
            let sockets: Vec<_> = sockets.iter().map(|text| text.parse().expect(text)).collect();
            wanted(&sockets, &own)
        };
        let v4 = |last, port| Destination::from_v4(last, port).0;
        let v6 =
            |port| Destination::from_v6([0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1], port).0;
        assert_eq!(entries(&["127.0.0.1:80"]), [v4([127, 0, 0, 1], 80)].into());
        assert_eq!(entries(&["[::ffff:10.0.0.1]:80"]), [v4([10, 0, 0, 1], 80)].into());
        assert_eq!(entries(&["0.0.0.0:80"]), [v4([192, 0, 2, 1], 80), v4([10, 0, 0, 1], 80)].into());
        assert_eq!(entries(&["[::]:80", "10.0.0.1:443"]), [v6(80), v4([10, 0, 0, 1], 443)].into());
        assert!(entries(&[]).is_empty());
    }
}
