//! An attempt, and the fate that it must have.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use airlock::config::schema::Rung;
use serde::{Deserialize, Serialize};

/// The work of an attempt.
type Act = Box<dyn Fn(&OutsideFacts) -> io::Result<()> + Send + Sync>;

/// One attempt to get out.
pub(crate) struct Attempt {
    pub(crate) name: &'static str,
    /// The attempt in words, for the table.
    pub(crate) tries: String,
    /// The attempt itself; runs in the cage, in a process of its own with one thread.
    pub(crate) act: Act,
    /// The help of somebody outside.
    pub(crate) help: Help,
    /// The rung from which on it is refused, to root as to nobody; below it is open.
    pub(crate) from: Rung,
    /// True where root may do it in the cage, on every rung: it is the owner, and nothing here takes that
    /// away.
    pub(crate) root_may: bool,
    /// The version of Landlock from which on it is refused to root; 0 where something else refuses it.
    pub(crate) landlock: i32,
    /// True where namespaces refuse it on every rung, to root as to nobody, on a host that permits them.
    pub(crate) namespaces: bool,
    /// Process ids of its own refuse it on every rung, where a server has them.
    pub(crate) own_processes: bool,
    /// The program that keeps signals within a server refuses it, to root as to nobody, where it is attached.
    pub(crate) signal: bool,
    /// The errors that count as refused, besides `EPERM` and `EACCES`.
    pub(crate) also: &'static [i32],
    /// The errors, outside of a cage, of a kernel that does not have what it needs, besides the usual ones.
    pub(crate) lacks: &'static [i32],
    /// True where somebody outside must have noticed it when it succeeds.
    pub(crate) knocks: bool,
}

/// The work of an accomplice outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Help {
    Nothing,
    /// Sends a connected TCP socket over the attempt's standard input.
    SendTcp,
    /// Sends a connected unix socket the same way.
    SendUnix,
    /// Connects to wherever the attempt says that it is listening.
    Dial,
}

/// An attempt that is refused on every rung.
pub(crate) fn attempt(
    name: &'static str,
    tries: impl Into<String>,
    act: impl Fn(&OutsideFacts) -> io::Result<()> + Send + Sync + 'static,
) -> Attempt {
    Attempt {
        name,
        tries: tries.into(),
        act: Box::new(act),
        help: Help::Nothing,
        from: Rung::NoIp,
        root_may: false,
        landlock: 0,
        namespaces: false,
        own_processes: false,
        signal: false,
        also: &[],
        lacks: &[],
        knocks: false,
    }
}

impl Attempt {
    /// Below this rung it is open.
    pub(crate) fn from(self, rung: Rung) -> Self {
        Self { from: rung, ..self }
    }

    /// Root may do it in the cage as well: what is root's stays root's.
    pub(crate) fn root_may(self) -> Self {
        Self { root_may: true, ..self }
    }

    /// Landlock of at least this version refuses it to root.
    pub(crate) fn by_landlock(self, landlock: i32) -> Self {
        Self { landlock, ..self }
    }

    /// Namespaces refuse it on every rung.
    pub(crate) fn by_namespaces(self) -> Self {
        Self { namespaces: true, ..self }
    }

    /// Process ids of its own refuse it on every rung.
    pub(crate) fn by_own_processes(self) -> Self {
        Self { own_processes: true, ..self }
    }

    /// The program that keeps signals within a server refuses it.
    pub(crate) fn by_signals(self) -> Self {
        Self { signal: true, ..self }
    }

    pub(crate) fn helped(self, help: Help) -> Self {
        Self { help, ..self }
    }

    /// More errors that count as refused.
    pub(crate) fn also(self, also: &'static [i32]) -> Self {
        Self { also, ..self }
    }

    /// More errors of a kernel without what it needs.
    pub(crate) fn lacks(self, lacks: &'static [i32]) -> Self {
        Self { lacks, ..self }
    }

    /// Somebody outside would notice.
    pub(crate) fn knocks(self) -> Self {
        Self { knocks: true, ..self }
    }
}

/// The facts that an attempt knows of the world outside: more than a server would have to be told.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct OutsideFacts {
    /// A directory that everybody may write to.
    pub(crate) dir: PathBuf,
    /// A directory with the daemon's files: configuration, policies, audit log, state, sockets.
    pub(crate) daemon: PathBuf,
    /// TCP and UDP listeners, IPv4 and IPv6.
    pub(crate) tcp: [Option<SocketAddr>; 2],
    pub(crate) udp: [Option<SocketAddr>; 2],
    /// Abstract names, without the leading zero: a stream listener, a datagram socket, a packet listener.
    pub(crate) names: [String; 3],
    /// A process outside that runs as root.
    pub(crate) victim: u32,
    /// A TCP socket of the victim, connected to a listener outside.
    pub(crate) victim_socket: i32,
    /// Where the victim keeps a secret in its memory.
    pub(crate) victim_secret: u64,
    /// Sockets that the daemon forgot to mark as closed on exec: a TCP listener and an unconnected UDP
    /// socket.
    pub(crate) forgotten: [i32; 2],
    /// cgroup2's mount point, the daemon's cgroup and another one beside it.
    pub(crate) cgroups: [PathBuf; 3],
    /// A map pinned in bpffs.
    pub(crate) pinned: Option<PathBuf>,
    /// A terminal that somebody else is using.
    pub(crate) terminal: Option<PathBuf>,
}
