//! A claim is not made before a process in the cage has tried to break it.

use std::ffi::CString;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener};
use std::sync::atomic::{AtomicU64, Ordering};

use super::attempts::{Attempts, Bait, attempt};
use crate::cgroup::Cgroups;
use crate::cgroup::hierarchy::CgroupError;
use crate::confine::Confinement;
use crate::ebpf::events::Names;
use crate::process::clone::Birth;
use crate::process::step::StartStep;
use airlock_config::schema::{Pin, Rung};

/// Why the canary could not sing.
#[derive(Debug, thiserror::Error)]
pub(super) enum CanaryError {
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
    #[error("the probe process could not {}; {}", .0.explain().0, .0.explain().1)]
    Confine(StartStep),
    #[error(
        "the probe process could not be started: {0}; raise the limit of processes or open files if it says so"
    )]
    Io(#[from] io::Error),
}

impl CanaryError {
    pub(crate) fn errno(&self) -> Option<i32> {
        match self {
            Self::Cgroup(error) => error.errno(),
            Self::Confine(_) => None,
            Self::Io(error) => error.raw_os_error(),
        }
    }
}

/// Starts a process in a leaf and has it try to open sockets, to reach unix sockets that wait for it, and the
/// rest of what a cage refuses.
pub(super) fn sing(cgroups: &Cgroups, names: &Names) -> Result<(Attempts, Birth), CanaryError> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let name = |kind| format!("airlock-canary-{kind}-{}-{number}", std::process::id()).into_bytes();
    let (stream, datagram, free) = (name("stream"), name("datagram"), name("free"));
    let _listener = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&stream)?)?;
    let _receiver = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&datagram)?)?;
    let leaf = cgroups.leaf("canary", &Pin::default())?;
    names.ignore(leaf.id()?, leaf.dir().to_path_buf());
    let cgroup = CString::new(leaf.procs_path().into_os_string().into_vec()).map_err(io::Error::other)?;
    // Without a filter and namespaces: what is to be proved is that the programs refuse, not that something
    // does.
    let confinement = Confinement { entrance: Some(leaf.open()?), ..Confinement::default() };
    let bait = Bait { stream: &stream, datagram: &datagram, free: &free, cgroup };
    attempt(&confinement, &bait)?.map_err(CanaryError::Confine)
}

impl Attempts {
    /// The rung that these attempts prove. Only the refusal of the programs counts (`EPERM`): anything else,
    /// such as a host without IPv6, proves nothing about them.
    pub(crate) fn rung(self) -> Option<Rung> {
        let refused = |errno: u8| i32::from(errno) == libc::EPERM;
        let absent = |errno: u8| i32::from(errno) == libc::EAFNOSUPPORT;
        let [v4_stream, v4_datagram, v6_stream, v6_datagram] = self.ip;
        let no_ip = refused(v4_stream)
            && refused(v4_datagram)
            // Where the kernel has no IPv6 there is no socket to refuse.
            && [v6_stream, v6_datagram].into_iter().all(|errno| refused(errno) || absent(errno));
        let no_unix = refused(self.unix_stream) && refused(self.unix_datagram);
        let sealed = [self.netlink, self.unix_bind, self.inherited, self.bpf].into_iter().all(refused)
            // A host that allows no user namespaces at all says ENOSPC.
            && self.userns != 0;
        match (no_ip, no_unix, sealed) {
            (true, true, true) => Some(Rung::Sealed),
            (true, true, false) => Some(Rung::NoNetwork),
            (true, false, _) => Some(Rung::NoIp),
            (false, ..) => None,
        }
    }

    /// True where nobody in the cage writes to its cgroup.
    pub(super) fn is_guarded(self) -> bool {
        i32::from(self.cgroup_write) == libc::EPERM
    }

    /// True where nobody in the cage signals anybody outside of it.
    pub(super) fn keeps_signals(self) -> bool {
        i32::from(self.signal) == libc::EPERM
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Everything was refused with `EPERM`.
    const ALL: Attempts = Attempts {
        ip: [1; 4],
        unix_stream: 1,
        unix_datagram: 1,
        netlink: 1,
        unix_bind: 1,
        inherited: 1,
        bpf: 1,
        userns: 1,
        cgroup_write: 1,
        signal: 1,
    };

    #[test]
    fn only_a_refusal_proves_a_rung() {
        let unsealed = Attempts { netlink: 0, unix_bind: 0, inherited: 0, bpf: 0, userns: 0, ..ALL };
        let rung =
            |ip, unix_stream, unix_datagram| Attempts { ip, unix_stream, unix_datagram, ..unsealed }.rung();
        assert_eq!(rung([1; 4], 1, 1), Some(Rung::NoNetwork));
        assert_eq!(rung([1; 4], 1, 0), Some(Rung::NoIp));
        assert_eq!(rung([1; 4], 0, 1), Some(Rung::NoIp));
        // 97 is EAFNOSUPPORT, 24 is EMFILE.
        assert_eq!(rung([1, 1, 97, 97], 1, 1), Some(Rung::NoNetwork));
        assert_eq!(rung([97, 97, 97, 97], 1, 1), None);
        assert_eq!(rung([1, 1, 1, 0], 1, 1), None);
        assert_eq!(rung([0; 4], 1, 1), None);
        assert_eq!(rung([24; 4], 24, 24), None);
    }

    #[test]
    fn one_hole_is_no_seal() {
        assert_eq!(ALL.rung(), Some(Rung::Sealed));
        for hole in [
            Attempts { netlink: 0, ..ALL },
            Attempts { unix_bind: 0, ..ALL },
            Attempts { inherited: 0, ..ALL },
            Attempts { bpf: 22, ..ALL },
            Attempts { userns: 0, ..ALL },
        ] {
            assert_eq!(hole.rung(), Some(Rung::NoNetwork), "{hole:?}");
        }
        assert_eq!(Attempts { unix_stream: 0, ..ALL }.rung(), Some(Rung::NoIp));
        assert!(ALL.is_guarded() && !Attempts { cgroup_write: 0, ..ALL }.is_guarded());
        assert!(ALL.keeps_signals() && !Attempts { signal: 0, ..ALL }.keeps_signals());
    }
}
