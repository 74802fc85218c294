//! The process at the other end of a unix socket, held so that its number cannot become another's unnoticed.
#![allow(unsafe_code)]

use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd as _, FromRawFd as _, OwnedFd, RawFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

/// The kernel gives times of processes in hundredths of a second, whatever its own clock (`USER_HZ`).
pub(super) const TICKS: u64 = 100;

/// The process that connected.
#[derive(Debug)]
pub struct Peer {
    pid: Pid,
    uid: u32,
    handle: OwnedFd,
}

impl Peer {
    /// Takes hold of the process that connected.
    ///
    /// # Errors
    /// When it is gone, or not of our namespace.
    pub fn of(stream: impl AsFd) -> io::Result<Self> {
        let socket = stream.as_fd().as_raw_fd();
        let mut credentials = libc::ucred { pid: 0, uid: 0, gid: 0 };
        // SAFETY: the option's value is such a structure, of plain numbers.
        unsafe { option(socket, libc::SO_PEERCRED, &mut credentials) }?;
        // Zero is a process outside of our namespace.
        let pid = Some(credentials.pid).filter(|pid| *pid > 0).and_then(Pid::from_raw);
        let pid = pid.ok_or_else(|| io::Error::from_raw_os_error(libc::ESRCH))?;
        let handle = match handle_of_peer(socket) {
            // Before Linux 6.5. Whoever held the number when it connected may have passed it on since; a
            // process of the same user would have to bring that about.
            Err(error) if error.raw_os_error() == Some(libc::ENOPROTOOPT) => {
                pidfd_open(pid, PidfdFlags::empty())?
            }
            handle => handle?,
        };
        Ok(Self { pid, uid: credentials.uid, handle })
    }

    /// Its number, as in `/proc`.
    pub(crate) fn number(&self) -> String {
        self.pid.as_raw_nonzero().to_string()
    }

    /// The number of its user when it connected.
    pub fn uid(&self) -> u32 {
        self.uid
    }

    /// In a few words, for log and audit.
    pub fn describe(&self) -> String {
        let name = fs::read_to_string(format!("/proc/{}/comm", self.number())).unwrap_or_default();
        let name = if self.lives() { name.trim_end() } else { "ended" };
        format!("pid {} ({name}), uid {}", self.number(), self.uid)
    }

    /// True where it still runs: what `/proc` said of its number before was said of it.
    pub(crate) fn lives(&self) -> bool {
        let mut fds = [PollFd::from_borrowed_fd(self.handle.as_fd(), PollFlags::IN)];
        loop {
            match poll(&mut fds, Some(&Timespec::default())) {
                Err(Errno::INTR) => {}
                ready => return ready == Ok(0),
            }
        }
    }

    /// When it was started, in hundredths of a second since the host's start.
    pub(crate) fn started(&self) -> Option<u64> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.number())).ok()?;
        // The name before it may hold spaces and parentheses.
        stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(19)?.parse().ok()
    }
}

/// A handle of the very process that connected (`SO_PEERPIDFD`).
fn handle_of_peer(socket: RawFd) -> io::Result<OwnedFd> {
    let mut handle: RawFd = -1;
    // SAFETY: the option's value is a descriptor.
    unsafe { option(socket, libc::SO_PEERPIDFD, &mut handle) }?;
    // SAFETY: the call succeeded, so this is a new descriptor that nobody else owns, close-on-exec.
    Ok(unsafe { OwnedFd::from_raw_fd(handle) })
}

/// Reads an option of a socket.
///
/// # Safety
/// `T` has the option's layout, and any bytes that the kernel writes are a `T`.
unsafe fn option<T>(socket: RawFd, name: libc::c_int, value: &mut T) -> io::Result<()> {
    let mut length = libc::socklen_t::try_from(size_of::<T>()).map_err(io::Error::other)?;
    // SAFETY: the pointers are to live variables, and `length` is the size of the first.
    let result = unsafe {
        libc::getsockopt(socket, libc::SOL_SOCKET, name, std::ptr::from_mut(value).cast(), &raw mut length)
    };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::{UnixListener, UnixStream};
    use std::process::{Command, Stdio};

    #[test]
    fn a_peer_is_known_as_long_as_it_lives() {
        let (one, _other) = UnixStream::pair().expect("a pair");
        let own = Peer::of(&one).expect("it is us");
        assert!(own.lives() && own.started().is_some_and(|ticks| ticks > 0));
        assert_eq!(own.number(), std::process::id().to_string());
        assert_eq!(own.uid(), rustix::process::getuid().as_raw());

        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("s");
        let listener = UnixListener::bind(&path).expect("a socket");
        let script =
            "import socket, sys; s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); sys.stdin.read()";
        let mut python = Command::new("python3");
        let child = python.args(["-c", script]).arg(&path).stdin(Stdio::piped()).spawn();
        let Ok(mut child) = child else { return };
        let (stream, _) = listener.accept().expect("it connects");
        let peer = Peer::of(&stream).expect("it runs");
        assert!(peer.lives() && peer.describe().starts_with(&format!("pid {} (python3", child.id())));
        drop(child.stdin.take());
        child.wait().expect("it ends");
        assert!(!peer.lives() && peer.describe().contains("(ended)"));
    }
}
