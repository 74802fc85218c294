//! What the kernel half and the daemon share: the layout of every map, and the decision of the early drop.
//!
//! Nothing here needs the kernel, so the very code that judges packets inside it is also tested on the host.
//!
//! All integers in maps are in host byte order: both sides run on the same machine.
#![cfg_attr(target_arch = "bpf", no_std)]

pub mod decision;
pub mod packet;

pub use decision::{Verdict, World, decide};
pub use packet::{Packet, Source};

/// The hooks that refuse what a pinned server tries; the discriminant is the index of its counter in [`DENIED`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Hook {
    /// `socket(2)` of any family that the hook sees, other than unix.
    SockCreate = 0,
    /// `connect(2)` on an IPv4 socket.
    Connect4 = 1,
    /// `connect(2)` on an IPv6 socket.
    Connect6 = 2,
    /// An unconnected datagram to an IPv4 address.
    Sendmsg4 = 3,
    /// An unconnected datagram to an IPv6 address.
    Sendmsg6 = 4,
    /// `bind(2)` on an IPv4 socket.
    Bind4 = 5,
    /// `bind(2)` on an IPv6 socket.
    Bind6 = 6,
}

impl Hook {
    /// Every hook, in the order of the counters.
    pub const ALL: [Self; 7] = [
        Self::SockCreate,
        Self::Connect4,
        Self::Connect6,
        Self::Sendmsg4,
        Self::Sendmsg6,
        Self::Bind4,
        Self::Bind6,
    ];

    /// The number of hooks, and of entries of [`DENIED`].
    pub const COUNT: u32 = 7;

    /// The name of the hook; also the name of its program in the object.
    pub const fn name(self) -> &'static str {
        match self {
            Self::SockCreate => "sock_create",
            Self::Connect4 => "connect4",
            Self::Connect6 => "connect6",
            Self::Sendmsg4 => "sendmsg4",
            Self::Sendmsg6 => "sendmsg6",
            Self::Bind4 => "bind4",
            Self::Bind6 => "bind6",
        }
    }
}

/// Why a source is dropped, as the daemon gave it; the kernel half only keeps it, for `list`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct Block {
    /// The end of the drop, in nanoseconds of `CLOCK_MONOTONIC`.
    pub until_ns: u64,
    /// A number that the daemon understands.
    pub reason: u64,
}

const _: () = assert!(size_of::<Block>() == 16 && align_of::<Block>() == 8);
const _: () = assert!(size_of::<Source>() == 16 && align_of::<Source>() == 1);

impl Block {
    /// The value as it lies in the map.
    pub const fn to_words(self) -> [u64; 2] {
        [self.until_ns, self.reason]
    }

    /// The value from how it lies in the map.
    pub const fn from_words([until_ns, reason]: [u64; 2]) -> Self {
        Self { until_ns, reason }
    }
}

/// Map: refusals by [`Hook`]; per-CPU array of `u64`.
pub const DENIED: &str = "DENIED";
/// Map: dropped sources; LRU hash of [`Source`] to [`Block`].
pub const BLOCKED: &str = "BLOCKED";
/// Map: sources that are never dropped; longest-prefix trie of [`Source`] bits to one byte.
pub const ALLOWED: &str = "ALLOWED";
/// Map: TCP ports of this daemon, the only ones that are protected; hash of `u16` to one byte.
pub const PORTS: &str = "PORTS";
/// Map: packets by [`Verdict`]; per-CPU array of `u64`.
pub const VERDICTS: &str = "VERDICTS";
/// Program: the early drop.
pub const DROP_PROGRAM: &str = "early_drop";

/// Sources that can be dropped at one time; the longest unused one makes room.
pub const MAX_BLOCKED: u32 = 65_536;
/// Networks that can be exempted from dropping.
pub const MAX_ALLOWED: u32 = 1_024;
/// Ports that can be protected.
pub const MAX_PORTS: u32 = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_have_one_place_for_each_hook() {
        assert_eq!(Hook::ALL.len(), Hook::COUNT as usize);
        for (index, hook) in Hook::ALL.into_iter().enumerate() {
            assert_eq!(hook as usize, index, "{}", hook.name());
        }
    }

    #[test]
    fn a_block_survives_the_map() {
        let block = Block { until_ns: 7, reason: u64::MAX };
        assert_eq!(Block::from_words(block.to_words()), block);
    }
}
