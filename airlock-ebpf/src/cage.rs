//! The cage: what its programs in the kernel and the daemon share, and what the programs decide.
//!
//! The decisions are plain functions of plain values, so that what runs in the kernel is tested on the host.
#![allow(clippy::inline_always, reason = "a program in the kernel has no stack to spare for calls")]

/// The hooks that refuse what a pinned server tries; the discriminant is the index of its counter in
/// [`DENIED`].
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
    /// `connect(2)` on a unix socket.
    ConnectUnix = 7,
    /// An addressed datagram on a unix socket.
    SendmsgUnix = 8,
    /// LSM: a socket of another family than unix.
    SocketCreate = 9,
    /// LSM: connecting to an address of another family than unix.
    SocketConnect = 10,
    /// LSM: giving a socket an address.
    SocketBind = 11,
    /// LSM: sending on a socket of another family than unix, however the process came by it.
    SocketSendmsg = 12,
    /// LSM: connecting to a unix socket other than the one that is Airlock's.
    UnixStreamConnect = 13,
    /// LSM: a datagram to a unix socket.
    UnixMaySend = 14,
    /// LSM: taking a socket that another process hands over.
    FileReceive = 15,
    /// LSM: looking into another process.
    PtraceAccessCheck = 16,
    /// LSM: a new user namespace.
    UsernsCreate = 17,
    /// LSM: `bpf(2)`.
    Bpf = 18,
    /// LSM: opening a file of the cgroup file system for writing.
    FileOpen = 19,
    /// LSM: a child that is born in another cgroup.
    TaskAlloc = 20,
    /// In front of the LSM hook: a signal to a process of another server, or to anybody else.
    TaskKill = 21,
}

impl Hook {
    /// Every hook, in the order of the counters.
    pub const ALL: [Self; 22] = [
        Self::SockCreate,
        Self::Connect4,
        Self::Connect6,
        Self::Sendmsg4,
        Self::Sendmsg6,
        Self::Bind4,
        Self::Bind6,
        Self::ConnectUnix,
        Self::SendmsgUnix,
        Self::SocketCreate,
        Self::SocketConnect,
        Self::SocketBind,
        Self::SocketSendmsg,
        Self::UnixStreamConnect,
        Self::UnixMaySend,
        Self::FileReceive,
        Self::PtraceAccessCheck,
        Self::UsernsCreate,
        Self::Bpf,
        Self::FileOpen,
        Self::TaskAlloc,
        Self::TaskKill,
    ];

    /// The hooks of cgroups that refuse IP; each has a program of its name.
    pub const IP: [Self; 7] = [
        Self::SockCreate,
        Self::Connect4,
        Self::Connect6,
        Self::Sendmsg4,
        Self::Sendmsg6,
        Self::Bind4,
        Self::Bind6,
    ];

    /// The hooks of cgroups that refuse unix sockets; each has a program of its name.
    pub const UNIX: [Self; 2] = [Self::ConnectUnix, Self::SendmsgUnix];

    /// The LSM hooks that seal a cage: as many as a kernel has places for (`CGROUP_LSM_NUM`). Each has two
    /// programs, named [`CGROUP_PREFIX`] and [`HOST_PREFIX`] and its name.
    pub const SEALED: [Self; 10] = [
        Self::SocketCreate,
        Self::SocketConnect,
        Self::SocketBind,
        Self::SocketSendmsg,
        Self::UnixStreamConnect,
        Self::UnixMaySend,
        Self::FileReceive,
        Self::PtraceAccessCheck,
        Self::UsernsCreate,
        Self::Bpf,
    ];

    /// The number of hooks, and of entries of [`DENIED`].
    pub const COUNT: u32 = 22;

    /// The name of the hook, which for LSM hooks is the kernel's.
    pub const fn name(self) -> &'static str {
        match self {
            Self::SockCreate => "sock_create",
            Self::Connect4 => "connect4",
            Self::Connect6 => "connect6",
            Self::Sendmsg4 => "sendmsg4",
            Self::Sendmsg6 => "sendmsg6",
            Self::Bind4 => "bind4",
            Self::Bind6 => "bind6",
            Self::ConnectUnix => "connect_unix",
            Self::SendmsgUnix => "sendmsg_unix",
            Self::SocketCreate => "socket_create",
            Self::SocketConnect => "socket_connect",
            Self::SocketBind => "socket_bind",
            Self::SocketSendmsg => "socket_sendmsg",
            Self::UnixStreamConnect => "unix_stream_connect",
            Self::UnixMaySend => "unix_may_send",
            Self::FileReceive => "file_receive",
            Self::PtraceAccessCheck => "ptrace_access_check",
            Self::UsernsCreate => "userns_create",
            Self::Bpf => "bpf",
            Self::FileOpen => "file_open",
            Self::TaskAlloc => "task_alloc",
            Self::TaskKill => "task_kill",
        }
    }

    /// The hook of a number, as it stands in an [`Event`].
    pub fn from_number(number: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|hook| *hook as u32 == number)
    }
}

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

/// A refusal: the operation, and the process that asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct Event {
    /// The id of the process's cgroup.
    pub cgroup: u64,
    /// The process (thread group).
    pub tgid: u32,
    /// Its user.
    pub uid: u32,
    /// [`Hook`] as a number.
    pub hook: u32,
    /// The address family; 0 where the hook knows none.
    pub family: u32,
    /// The name of the task, padded with zero bytes.
    pub comm: [u8; 16],
}

/// How many events a cgroup has had in a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(C)]
pub struct Pace {
    /// When the second began, in nanoseconds of `CLOCK_MONOTONIC`.
    pub since: u64,
    /// Events since then.
    pub count: u64,
}

/// Events that a cgroup may have in a second; what comes on top is counted in [`LOST`].
pub const EVENTS_A_SECOND: u64 = 20;

impl Pace {
    /// The pace after one more event, and whether that event is within it.
    #[inline(always)]
    pub const fn step(self, now: u64) -> (Self, bool) {
        if now.wrapping_sub(self.since) >= 1_000_000_000 {
            return (Self { since: now, count: 1 }, true);
        }
        if self.count >= EVENTS_A_SECOND {
            return (self, false);
        }
        (Self { since: self.since, count: self.count + 1 }, true)
    }
}

const _: () = assert!(size_of::<Event>() == 40 && align_of::<Event>() == 8);
const _: () = assert!(size_of::<Pace>() == 16 && align_of::<Pace>() == 8);

impl Event {
    /// Reads an event as it lies in the ring; none when it has another size.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; 40] = bytes.try_into().ok()?;
        let word = |at: usize| u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let mut cgroup = [0; 8];
        cgroup.copy_from_slice(&bytes[..8]);
        let mut comm = [0; 16];
        comm.copy_from_slice(&bytes[24..]);
        Some(Self {
            cgroup: u64::from_ne_bytes(cgroup),
            tgid: word(8),
            uid: word(12),
            hook: word(16),
            family: word(20),
            comm,
        })
    }
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
/// Map: what was refused; ring of [`Event`].
pub const EVENTS: &str = "EVENTS";
/// Map: events by cgroup; LRU hash of `u64` to [`Pace`].
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
    fn counters_have_one_place_for_each_hook() {
        assert_eq!(Hook::ALL.len(), Hook::COUNT as usize);
        for (index, hook) in Hook::ALL.into_iter().enumerate() {
            assert_eq!(hook as usize, index, "{}", hook.name());
            assert_eq!(Hook::from_number(hook as u32), Some(hook));
        }
        assert_eq!(Hook::from_number(Hook::COUNT), None);
        let known = Hook::IP.len() + Hook::UNIX.len() + Hook::SEALED.len();
        let alone = GUARD.len() + SIGNALS.len();
        assert_eq!(known + alone, Hook::ALL.len(), "all others are in one of the three sets");
    }

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

    #[test]
    fn a_second_has_so_many_events() {
        let mut pace = Pace::default();
        let start = 5_000_000_000;
        for n in 0..100 {
            let (next, within) = pace.step(start + n);
            pace = next;
            assert_eq!(within, n < EVENTS_A_SECOND, "{n}");
        }
        assert!(!pace.step(start + 999_999_999).1);
        let (next, within) = pace.step(start + 1_000_000_000);
        assert!(within);
        assert_eq!(next, Pace { since: start + 1_000_000_000, count: 1 });
        // A clock that another CPU read a moment earlier begins a new second instead of a wait without end.
        assert!(next.step(start).1);
    }

    #[test]
    fn an_event_is_read_as_it_was_written() {
        let event = Event {
            cgroup: 1 << 40,
            tgid: 7,
            uid: 65_534,
            hook: 9,
            family: 2,
            comm: *b"node\0\0\0\0\0\0\0\0\0\0\0\0",
        };
        let mut bytes = event.cgroup.to_ne_bytes().to_vec();
        for word in [event.tgid, event.uid, event.hook, event.family] {
            bytes.extend(word.to_ne_bytes());
        }
        bytes.extend(event.comm);
        assert_eq!(Event::from_bytes(&bytes), Some(event));
        assert_eq!(Event::from_bytes(&bytes[1..]), None);
    }
}
