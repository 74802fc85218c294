//! The early drop: what its program in the kernel and the daemon share.

use crate::packet::{Destination, Source};

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
const _: () = assert!(size_of::<Destination>() == 18 && align_of::<Destination>() == 1);

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

/// Map: dropped sources; hash of [`Source`] to [`Block`]. Not LRU: the daemon bounds what it puts in, so
/// nothing is ever evicted, and an attacker with many addresses frees nobody.
pub const BLOCKED: &str = "BLOCKED";
/// Map: packets dropped of each source in [`BLOCKED`]; per-CPU hash of [`Source`] to `u64`. The daemon makes
/// the entries; the program looks only when it drops, so that an honest packet pays nothing.
pub const DROPS: &str = "DROPS";
/// Map: sources that are never dropped; longest-prefix trie of [`Source`] bits to one byte.
pub const ALLOWED: &str = "ALLOWED";
/// Map: addresses and TCP ports for which this daemon has a socket, the only ones that are protected; hash of
/// [`Destination`] to one byte. The daemon writes a socket for all addresses as one entry for each address of
/// the host.
pub const SOCKETS: &str = "SOCKETS";
/// Map: packets by [`Verdict`](crate::Verdict); per-CPU array of `u64`.
pub const VERDICTS: &str = "VERDICTS";
/// Program: the early drop.
pub const DROP_PROGRAM: &str = "early_drop";
/// Program: the same at TCX ingress, for an interface that has another XDP program.
pub const DROP_TCX_PROGRAM: &str = "early_drop_tcx";

/// Sources that can be dropped at one time.
pub const MAX_BLOCKED: u32 = 65_536;
/// Networks that can be exempted from dropping.
pub const MAX_ALLOWED: u32 = 1_024;
/// Addresses with a port that can be protected.
pub const MAX_SOCKETS: u32 = 4_096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_survives_the_map() {
        let block = Block { until_ns: 7, reason: u64::MAX };
        assert_eq!(Block::from_words(block.to_words()), block);
    }
}
