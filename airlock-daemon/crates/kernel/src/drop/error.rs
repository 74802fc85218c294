//! Reasons why the early drop is not in place.

use super::sockets::SocketsError;
use crate::ebpf::loader::{self, LoadError};
use aya::maps::MapError;
use std::net::IpAddr;

/// Why the early drop cannot do something.
#[derive(Debug, thiserror::Error)]
pub enum DropError {
    /// The program or a map.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The interface refused the program.
    #[error(
        "interface {interface}: XDP does not attach in {mode} mode: {reason}; check the name (ip link), detach another XDP program, or set kernel.xdp.mode: generic"
    )]
    Attach {
        /// Its name.
        interface: String,
        /// The mode that was tried last.
        mode: &'static str,
        /// The kernel's error.
        reason: String,
        /// The number of the system error.
        errno: Option<i32>,
    },
    /// Another XDP program has the interface, and TCX is refused as well.
    #[error(
        "interface {interface}: another XDP program is attached ({holder}), and TCX, the second choice, is refused: {reason}; detach the other program (`bpftool net` and `bpftool link` show whose it is), or take a kernel from 6.6 on"
    )]
    Taken {
        /// Its name.
        interface: String,
        /// Which program it is, as far as the kernel tells.
        holder: String,
        /// The kernel's error on TCX.
        reason: String,
        /// The number of the system error.
        errno: Option<i32>,
    },
    /// `kernel.xdp.allow` holds something else than a network.
    #[error("kernel.xdp.allow: {0}")]
    Allow(String),
    /// This address must not be dropped.
    #[error("{address} is never dropped: {reason}")]
    Protected {
        /// The address.
        address: IpAddr,
        /// Why.
        reason: &'static str,
    },
    /// It is not known which packets go to this daemon.
    #[error(
        "early drop: the sockets of this daemon: {0}; until then packets to some of them pass, and requests are refused instead"
    )]
    Sockets(SocketsError),
    /// A map is full or gone.
    #[error("early drop: {action}: {source}")]
    Map {
        /// The attempt.
        action: &'static str,
        /// The kernel's error.
        source: MapError,
    },
}

impl DropError {
    /// The number of the system error, if there is one.
    pub fn errno(&self) -> Option<i32> {
        match self {
            Self::Load(error) => error.errno(),
            Self::Attach { errno, .. } | Self::Taken { errno, .. } => *errno,
            Self::Map { source, .. } => loader::errno_of(source),
            Self::Sockets(SocketsError::Addresses(error)) => error.raw_os_error(),
            Self::Sockets(SocketsError::Map(error)) => loader::errno_of(error),
            Self::Allow(_) | Self::Protected { .. } => None,
        }
    }
}
