//! A door in a sealed slice: a listening socket that the slice's processes may connect to.
//!
//! It is known by the socket's cookie, which the kernel gives out once; no path, link, mount or name is
//! looked at.

use std::io;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::Arc;

use super::cage::Cage;
use super::ebpf::pinning::Programs;
use super::ebpf::sealed;
use super::error::KernelError;
use super::netlink::sock_diag;

/// Where journald listens, and by which unit: for the output of units, for entries of its own format, and for
/// those of syslog(3).
const JOURNAL: [(&str, &str); 3] = [
    ("/run/systemd/journal/stdout", "systemd-journald.socket"),
    ("/run/systemd/journal/socket", "systemd-journald.socket"),
    ("/run/systemd/journal/dev-log", "systemd-journald-dev-log.socket"),
];

/// An open door. It closes with this value; connections that were made through it stay.
#[derive(Debug)]
#[must_use = "the door closes when this is dropped"]
pub struct Door {
    programs: Arc<Programs>,
    cookie: u64,
}

impl Cage {
    /// Lets the units of the slice connect to a listening unix socket, or send datagrams to one. `None` where
    /// the slice is not sealed, and nothing looks at doors: on the rung `no-ip` every unix socket may be
    /// connected to. A socket has one door: the first of two that is dropped closes it.
    ///
    /// # Errors
    /// When 1,024 doors are open, or `listener` is no socket.
    pub fn open_door(&self, listener: impl AsFd) -> Result<Option<Door>, KernelError> {
        self.door(|| rustix::net::sockopt::socket_cookie(listener).map_err(io::Error::from))
            .map_err(KernelError::Door)
    }

    /// The same for the sockets of the journal: systemd connects the output of units, and writes what it has
    /// to say of them, as one of their processes.
    ///
    /// # Errors
    /// When no journald listens there.
    pub fn open_doors_to_journal(&self) -> Result<Vec<Door>, KernelError> {
        let door = |(path, unit)| {
            let opened = self.door(|| sock_diag::cookie_of(Path::new(path)));
            opened.map_err(|error| KernelError::Journal { path, unit, error }).transpose()
        };
        JOURNAL.into_iter().filter_map(door).collect()
    }

    fn door(&self, cookie: impl FnOnce() -> io::Result<u64>) -> io::Result<Option<Door>> {
        let Some(programs) = self.programs.as_ref().filter(|_| self.has_doors()) else {
            return Ok(None);
        };
        let cookie = cookie()?;
        sealed::open_door(&mut programs.lock(), cookie).map_err(io::Error::other)?;
        Ok(Some(Door { programs: Arc::clone(programs), cookie }))
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        if let Err(error) = sealed::close_door(&mut self.programs.lock(), self.cookie) {
            tracing::warn!(%error, "a door of the slice stays open for a socket that is gone");
        }
    }
}
