//! A claim is not made before a process in the cage has tried to break it.

use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener};
use std::sync::atomic::{AtomicU64, Ordering};

use super::cgroup::{CgroupError, Cgroups};
use super::confine::{Attempts, Confinement, Step, attempt};
use crate::config::schema::{Pin, Rung};

/// Why the canary could not sing.
#[derive(Debug, thiserror::Error)]
pub(super) enum CanaryError {
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
    #[error("the probe process could not {}; {}", .0.explain().0, .0.explain().1)]
    Confine(Step),
    #[error(
        "the probe process could not be started: {0}; raise the limit of processes or open files if it says so"
    )]
    Io(#[from] io::Error),
}

impl CanaryError {
    pub(super) fn errno(&self) -> Option<i32> {
        match self {
            Self::Cgroup(error) => error.errno(),
            Self::Confine(_) => None,
            Self::Io(error) => error.raw_os_error(),
        }
    }
}

/// Starts a process in a leaf and has it try to open IP sockets and to reach unix sockets that wait for it.
pub(super) fn sing(cgroups: &Cgroups) -> Result<Attempts, CanaryError> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let name = |kind| format!("airlock-canary-{kind}-{}-{number}", std::process::id()).into_bytes();
    let (stream, datagram) = (name("stream"), name("datagram"));
    let _listener = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&stream)?)?;
    let _receiver = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&datagram)?)?;
    let leaf = cgroups.leaf("canary", &Pin::default())?;
    let confinement = Confinement { procs: Some(leaf.open_procs()?), ids: None };
    attempt(confinement, &stream, &datagram)?.map_err(CanaryError::Confine)
}

impl Attempts {
    /// The rung that these attempts prove. Only the refusal of the programs counts (`EPERM`): anything else, such as a host
    /// without IPv6, proves nothing about them.
    pub(super) fn rung(self) -> Option<Rung> {
        let refused = |errno: u8| i32::from(errno) == libc::EPERM;
        let absent = |errno: u8| i32::from(errno) == libc::EAFNOSUPPORT;
        let [v4_stream, v4_datagram, v6_stream, v6_datagram] = self.ip;
        let no_ip = refused(v4_stream)
            && refused(v4_datagram)
            // Where the kernel has no IPv6 there is no socket to refuse.
            && [v6_stream, v6_datagram].into_iter().all(|errno| refused(errno) || absent(errno));
        let no_unix = refused(self.unix_stream) && refused(self.unix_datagram);
        match (no_ip, no_unix) {
            (true, true) => Some(Rung::NoNetwork),
            (true, false) => Some(Rung::NoIp),
            (false, _) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_refusal_proves_a_rung() {
        let rung = |ip, unix_stream, unix_datagram| Attempts { ip, unix_stream, unix_datagram }.rung();
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
}
