//! The cage: what its programs in the kernel and the daemon share, and what the programs decide.
//!
//! The decisions are plain functions of plain values, so that what runs in the kernel is tested on the host.
#![allow(clippy::inline_always, reason = "a program in the kernel has no stack to spare for calls")]

use crate::hook::Hook;

/// The kind of a cage; the discriminant is the index in [`CAGES`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Cage {
    /// Servers that the daemon starts, on their standard streams. They connect to nothing.
    Servers = 0,
    /// Units of a slice, which dial in: they connect to the sockets of [`DOORS`].
    Slice = 1,
    /// Servers that are given the host's network. Only their signals are refused.
    Unpinned = 2,
}

impl Cage {
    /// The number of cages, and of entries of [`CAGES`].
    pub const COUNT: u32 = 3;
}

/// `AF_UNIX`.
pub const AF_UNIX: u32 = 1;

/// True where a pinned server may have sockets of this family: an allow list of one, so that a family that a
/// later kernel brings is refused as well.
#[inline(always)]
pub const fn may_use_family(family: u32) -> bool {
    family == AF_UNIX
}

/// `AF_INET`, `AF_INET6` and `AF_NETLINK`.
const OF_NETWORKS: [u32; 3] = [2, 10, 16];
/// `SOCK_STREAM`.
const STREAM: u32 = 1;

/// True where a socket that the kernel makes for itself, in a process of a slice, may be one of those that
/// each new network has (`PrivateNetwork=` of a unit): control sockets of IP and of netlink. None of those is
/// a stream; streams are what file systems of the network are mounted by, on behalf of whoever may mount.
/// Sockets that rare modules (`rds_tcp`, `tipc`, `kafs`) open for each network are refused, and that network
/// with them.
#[inline(always)]
pub const fn is_of_a_new_network(family: u32, kind: u32) -> bool {
    kind != STREAM && (family == OF_NETWORKS[0] || family == OF_NETWORKS[1] || family == OF_NETWORKS[2])
}

/// The magic number of cgroup v2's file system (`CGROUP2_SUPER_MAGIC`).
pub const CGROUP2_MAGIC: u64 = 0x6367_7270;
/// The magic number of cgroup v1's file systems (`CGROUP_SUPER_MAGIC`).
pub const CGROUP1_MAGIC: u64 = 0x0027_e0eb;
/// The kernel's `FMODE_WRITE`.
pub const FMODE_WRITE: u32 = 2;

/// True where a pinned server may open a file with this mode on a file system of this magic number: cgroups
/// may be read, and nobody in a cage writes there, where the way out of it is.
#[inline(always)]
pub const fn may_open(magic: u64, mode: u32) -> bool {
    (magic != CGROUP2_MAGIC && magic != CGROUP1_MAGIC) || mode & FMODE_WRITE == 0
}

/// `CLONE_INTO_CGROUP` of `clone3(2)`.
pub const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// True where somebody in a cage may have a child with these flags: one that is born where its parent is.
#[inline(always)]
pub const fn may_clone(flags: u64) -> bool {
    flags & CLONE_INTO_CGROUP == 0
}

/// The file whose writer moves processes into its cgroup, with the end of the string.
pub const ENTRANCE: [u8; 13] = *b"cgroup.procs\0";

/// True where a unit of the slice may open a file of cgroup v2 for writing after all, by its name and the
/// cgroup it is in: the way into the cgroup where it is. The manager's child writes there once more, when its
/// parent has moved it already. It leads nobody out, but root may draw others in: which process is moved, no
/// hook sees.
#[inline(always)]
pub fn is_own_entrance(name: &[u8; 13], cgroup: u64, own: u64) -> bool {
    cgroup == own && *name == ENTRANCE
}

/// Map: refusals by [`Hook`]; per-CPU array of `u64`.
pub const DENIED: &str = "DENIED";
/// Map: the cages, which are the cgroups whose processes, however deep below, are pinned; array of cgroups,
/// see [`Cage`].
pub const CAGES: &str = "CAGES";
/// Map: the ids of the same cgroups; array of `u64`, see [`Cage`].
pub const CAGE_IDS: &str = "CAGE_IDS";
/// Map: the unix sockets that the processes of [`Cage::Slice`] may connect to; hash of the listening socket's
/// cookie (`SO_COOKIE`), which no path, link or mount can fake, to one byte.
pub const DOORS: &str = "DOORS";
/// Map: what was refused; ring of [`Event`](crate::Event).
pub const EVENTS: &str = "EVENTS";
/// Map: events by cgroup; LRU hash of `u64` to [`Pace`](crate::Pace).
pub const PACES: &str = "PACES";
/// Map: events that are in no ring, because they were too many; per-CPU array of one `u64`.
pub const LOST: &str = "LOST";

/// The prefix of programs for `lsm_cgroup`.
pub const CGROUP_PREFIX: &str = "cage_";
/// The prefix of programs for the whole host.
pub const HOST_PREFIX: &str = "host_";
/// The programs of the guard of cgroups, for the whole host: the two ways by which a process comes into
/// another one.
pub const GUARD: [(Hook, &str); 2] =
    [(Hook::FileOpen, "host_file_open"), (Hook::TaskAlloc, "host_task_alloc")];
/// The program that keeps signals within a server or unit, for the whole host.
pub const SIGNALS: [(Hook, &str); 1] = [(Hook::TaskKill, "host_task_kill")];
/// Programs that refuse all packets of sockets that were born in a cage.
pub const PACKETS: [&str; 2] = ["packets_out", "packets_in"];

/// Doors there can be.
pub const MAX_DOORS: u32 = 1_024;
/// Cgroups whose pace is known.
pub const MAX_PACES: u32 = 1_024;
/// Bytes of the ring of events.
pub const EVENTS_BYTES: u32 = 256 * 1_024;

/// Where programs find what they look at, as offsets in bytes that the daemon reads from the kernel's own
/// type information. Globals of these names; 0 means unknown. The guard needs the first four, and the program
/// of [`SIGNALS`] those of [`OF_CGROUPS`]. Without one of the others a slice has less: nobody writes to the
/// entrance of its own cgroup, and datagrams do not pass between the ends of one `socketpair(2)` either.
pub const OFFSETS: [&str; 15] = [
    "FILE_MODE",
    "FILE_INODE",
    "INODE_SUPER",
    "SUPER_MAGIC",
    "FILE_DENTRY",
    "DENTRY_PARENT",
    "DENTRY_INODE",
    "DENTRY_NAME",
    "INODE_NUMBER",
    "UNIX_PEER",
    "TASK_CGROUPS",
    "SET_CGROUP",
    "CGROUP_NODE",
    "NODE_PARENT",
    "NODE_ID",
];
/// Which of them lead from a task to its cgroup, and up from there.
pub const OF_CGROUPS: core::ops::Range<usize> = 10..15;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_family_but_unix_is_allowed() {
        let allowed: Vec<u32> = (0..=u32::from(u16::MAX)).filter(|family| may_use_family(*family)).collect();
        assert_eq!(allowed, [1]);
        assert!(!may_use_family(u32::MAX));
    }

    #[test]
    fn the_kernel_makes_no_streams_and_no_families_but_those_of_a_new_network() {
        let (stream, datagram, raw) = (1, 2, 3);
        for family in OF_NETWORKS {
            assert!(is_of_a_new_network(family, datagram) && is_of_a_new_network(family, raw), "{family}");
            assert!(!is_of_a_new_network(family, stream), "{family}");
        }
        let others = (0..=u32::from(u16::MAX)).filter(|family| !OF_NETWORKS.contains(family));
        assert!(others.into_iter().all(|family| !is_of_a_new_network(family, raw)));
    }

    #[test]
    fn cgroups_are_read_and_never_written() {
        let (read, write, both) = (1, 2, 3);
        for magic in [CGROUP1_MAGIC, CGROUP2_MAGIC] {
            assert!(may_open(magic, read));
            assert!(!may_open(magic, write) && !may_open(magic, both) && !may_open(magic, u32::MAX));
        }
        assert!(may_open(0xef53, both), "any other file system is not this guard's business");
    }

    #[test]
    fn a_unit_writes_to_the_entrance_of_its_own_cgroup_and_no_other() {
        assert!(is_own_entrance(b"cgroup.procs\0", 7, 7));
        assert!(!is_own_entrance(b"cgroup.procs\0", 8, 7));
        for other in [b"cgroup.thread", b"memory.max\0ro", b"cgroup.procsx", b"Cgroup.procs\0"] {
            assert!(!is_own_entrance(other, 7, 7), "{other:?}");
        }
    }

    #[test]
    fn a_child_is_born_where_its_parent_is() {
        assert!(
            may_clone(0x0100_0011) && may_clone(0x7c02_0011),
            "threads, and namespaces, which others refuse"
        );
        assert!(!may_clone(CLONE_INTO_CGROUP) && !may_clone(u64::MAX));
    }
}
