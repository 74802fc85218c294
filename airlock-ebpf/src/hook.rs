//! The hooks of the kernel by which a cage refuses.

/// The hooks that refuse what a pinned server tries; the discriminant is the index of its counter in
/// [`DENIED`](crate::DENIED).
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
    pub const IP: [Self; 7] = Self::from_on(Self::SockCreate);

    /// The hooks of cgroups that refuse unix sockets; each has a program of its name.
    pub const UNIX: [Self; 2] = Self::from_on(Self::ConnectUnix);

    /// The LSM hooks that seal a cage: as many as a kernel has places for (`CGROUP_LSM_NUM`). Each has two
    /// programs, named [`CGROUP_PREFIX`](crate::CGROUP_PREFIX) and [`HOST_PREFIX`](crate::HOST_PREFIX) and
    /// its name.
    pub const SEALED: [Self; 10] = Self::from_on(Self::SocketCreate);

    /// The number of hooks, and of entries of [`DENIED`](crate::DENIED).
    pub const COUNT: u32 = 22;

    /// As many hooks as there is room for, in the order of [`ALL`](Self::ALL) from the first one on.
    const fn from_on<const N: usize>(first: Self) -> [Self; N] {
        let mut hooks = [first; N];
        let mut at = 0;
        while at < N {
            hooks[at] = Self::ALL[first as usize + at];
            at += 1;
        }
        hooks
    }

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

    /// The hook of a number, as it stands in an [`Event`](crate::Event).
    pub fn from_number(number: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|hook| *hook as u32 == number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cage::{GUARD, SIGNALS};

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
        assert_eq!(Hook::IP.last(), Some(&Hook::Bind6));
        assert_eq!(Hook::UNIX.last(), Some(&Hook::SendmsgUnix));
        assert_eq!(Hook::SEALED.last(), Some(&Hook::Bpf), "the next ones guard, and are no part of the seal");
    }
}
