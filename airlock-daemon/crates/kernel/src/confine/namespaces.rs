//! Namespaces of its own for a server: an empty network, the mounts of [`super::mounts`], process ids that
//! name nobody else ([`crate::process::init`]), and queues, semaphores and shared memory that have
//! keys or names instead of files.
//!
//! They are asked for with the process, so nobody has to enter anything. A daemon that may not make them as
//! it is gets them with a user namespace, in which it is mapped to itself and to the server's user; see
//! `user_namespaces(7)`.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::Write as _;
use std::os::fd::AsRawFd as _;
use std::os::unix::net::UnixStream;
use std::time::Duration;
use std::{fs, io};

use rustix::process::Pid;

use super::mounts::Mounts;
use crate::process::step::StartStep;
use crate::process::users::Ids;
use crate::process::wire::{close, hear, set_closed, tell};
use airlock_config::schema::PinNetwork;

/// The namespaces that this host permits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Permitted {
    /// The maker of the namespaces: the daemon as it is, or one in a user namespace.
    pub(crate) maker: Maker,
    /// Which processes a server's are among.
    pub(crate) processes: Processes,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Maker {
    /// With the capabilities that the daemon has.
    AsWeAre,
    /// In a user namespace.
    WithUser,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Processes {
    /// Its own, and its `/proc` tells of no others.
    Own,
    /// Its own, and `/proc` is the host's: who may not see all of that in a user namespace may mount no
    /// other.
    Named,
    /// The host's.
    Hosts,
}

impl Permitted {
    /// All ways, the best first.
    pub(crate) const ALL: [Self; 6] = {
        const fn by(maker: Maker, processes: Processes) -> Permitted {
            Permitted { maker, processes }
        }
        [
            by(Maker::AsWeAre, Processes::Own),
            by(Maker::AsWeAre, Processes::Named),
            by(Maker::WithUser, Processes::Own),
            by(Maker::WithUser, Processes::Named),
            by(Maker::AsWeAre, Processes::Hosts),
            by(Maker::WithUser, Processes::Hosts),
        ]
    };

    /// True where a server has a `/proc` of its own.
    pub(crate) fn has_proc(self) -> bool {
        self.processes == Processes::Own
    }

    /// Its number among all ways.
    pub(crate) fn number(self) -> Option<u8> {
        Self::ALL.iter().position(|way| *way == self).and_then(|place| place.try_into().ok())
    }

    /// The way of this number.
    pub(crate) fn of_number(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }

    fn flags(self, network: PinNetwork) -> u64 {
        let network = match network {
            PinNetwork::None => libc::CLONE_NEWNET,
            PinNetwork::Host => 0,
        };
        let user = match self.maker {
            Maker::AsWeAre => 0,
            Maker::WithUser => libc::CLONE_NEWUSER,
        };
        let processes = match self.processes {
            Processes::Own | Processes::Named => libc::CLONE_NEWPID,
            Processes::Hosts => 0,
        };
        (libc::CLONE_NEWNS | libc::CLONE_NEWIPC | network | user | processes).unsigned_abs().into()
    }
}

/// The namespaces of one process that is about to be started.
#[derive(Debug)]
pub(crate) struct Namespaces {
    flags: u64,
    gate: Option<Gate>,
    mounts: Mounts,
    have_processes: bool,
}

impl Namespaces {
    pub(crate) fn prepare(permitted: Permitted, network: PinNetwork, mounts: Mounts) -> io::Result<Self> {
        let gate = match permitted.maker {
            Maker::AsWeAre => None,
            Maker::WithUser => Some(Gate::new()?),
        };
        let have_processes = permitted.processes != Processes::Hosts;
        Ok(Self { flags: permitted.flags(network), gate, mounts, have_processes })
    }

    /// `CLONE_NEW…`.
    pub(crate) fn flags(&self) -> u64 {
        self.flags
    }

    /// True where the child is the first process of one of them.
    pub(super) fn have_processes(&self) -> bool {
        self.have_processes
    }

    /// In the parent: makes the child's namespace know the users that it needs, and lets it go on.
    pub(crate) fn admit(&self, child: Pid, ids: Option<Ids>) -> io::Result<()> {
        self.gate.as_ref().map_or(Ok(()), |gate| gate.open(child, ids))
    }

    /// In the child: waits for that, and puts the mounts in place. System calls only.
    pub(crate) fn enter(&self) -> Result<(), (StartStep, io::Error)> {
        if let Some(gate) = &self.gate {
            gate.pass().map_err(|error| (StartStep::Namespaces, error))?;
        }
        self.mounts.put_in_place().map_err(|error| (StartStep::Mounts, error))
    }
}

/// Where a child waits until its user namespace has its maps.
#[derive(Debug)]
struct Gate {
    ours: UnixStream,
    childs: UnixStream,
}

impl Gate {
    fn new() -> io::Result<Self> {
        let (ours, childs) = UnixStream::pair()?;
        Ok(Self { ours, childs })
    }

    fn open(&self, child: Pid, ids: Option<Ids>) -> io::Result<()> {
        // Only when the child says so are the files below our own user's.
        self.ours.set_read_timeout(Some(BIRTH_TIMEOUT))?;
        hear(self.ours.as_raw_fd())?;
        let of = |file: &str| format!("/proc/{}/{file}", child.as_raw_nonzero());
        let own = Ids { uid: rustix::process::geteuid().as_raw(), gid: rustix::process::getegid().as_raw() };
        let servers = ids.unwrap_or(own);
        fs::write(of("uid_map"), map([own.uid, servers.uid]))?;
        let groups = map([own.gid, servers.gid]);
        if let Err(refused) = fs::write(of("gid_map"), &groups) {
            if refused.raw_os_error() != Some(libc::EPERM) {
                return Err(refused);
            }
            // Without CAP_SETGID a map is only taken by a namespace that gives up setgroups(2) for it.
            fs::write(of("setgroups"), "deny")?;
            fs::write(of("gid_map"), groups)?;
        }
        (&self.ours).write_all(b".")
    }

    /// In the child.
    fn pass(&self) -> io::Result<()> {
        close(self.ours.as_raw_fd());
        // The files of a process that is closed to others, as the daemon is, are root's, and so are those of
        // its copy.
        set_closed(false)?;
        if tell(self.childs.as_raw_fd(), b".") != 1 {
            return Err(io::Error::last_os_error());
        }
        hear(self.childs.as_raw_fd())?;
        // Until it executes its program it has the daemon's memory.
        set_closed(true)
    }
}

/// Each number as itself.
fn map(numbers: [u32; 2]) -> String {
    let mut lines = String::new();
    for number in BTreeSet::from(numbers) {
        // Writing to a string cannot fail.
        let _ = writeln!(lines, "{number} {number} 1");
    }
    lines
}

/// How long a child that was just born may take to say so.
pub(crate) const BIRTH_TIMEOUT: Duration = Duration::from_secs(30);

/// The first release of Linux on which processes of one's own may end beside eBPF programs. Before it, the
/// end of a namespace of processes and a wait for RCU tasks, which putting a program on or off makes, may
/// each wait for the other for ever: commit 1612160b9127 ("rcu-tasks: Eliminate deadlocks involving
/// `do_exit()` and RCU tasks"). Seen on 6.1.192. No process of a namespace has a program of the daemon's to
/// take off ([`crate::process::init`]), but a server that reads its `/proc/self/cgroup` waits, past
/// any signal, for the lock that is held while LSM programs are put on or off.
pub(super) const OWN_PROCESSES_FROM: (u32, u32) = (6, 9);

/// True where the kernel of this release bears processes of their own ([`OWN_PROCESSES_FROM`]), and where a
/// release is not understood.
pub(crate) fn may_have_processes(release: &str) -> bool {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse::<u32>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => (major, minor) >= OWN_PROCESSES_FROM,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::permitted::probe;
    use crate::probe::permitted::try_out;

    #[test]
    fn who_needs_no_user_namespace_may_have_one_as_well() {
        if let Some(Permitted { maker: Maker::AsWeAre, .. }) = probe().permitted {
            match try_out(Permitted { maker: Maker::WithUser, processes: Processes::Hosts }) {
                Ok(()) => {}
                Err((_, error)) => println!("SKIPPED: this host permits no user namespaces: {error}"),
            }
        }
    }

    #[test]
    fn old_kernels_have_no_processes_of_their_own() {
        for (release, may) in [
            ("6.1.0-57-cloud-amd64", false),
            ("5.15.0", false),
            ("6.8.12", false),
            ("6.9.0-rc1", true),
            ("6.12.117+deb12-cloud-amd64", true),
            ("7.0", true),
            ("nothing", true),
        ] {
            assert_eq!(may_have_processes(release), may, "{release}");
        }
    }

    #[test]
    fn a_map_has_each_number_once() {
        assert_eq!(map([5, 5]), "5 5 1\n");
        assert_eq!(map([7, 5]), "5 5 1\n7 7 1\n");
    }
}
