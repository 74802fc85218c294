//! The process that starts servers. It alone may become another user, and no peer of the network ever speaks
//! to it.
//!
//! It is a copy of the daemon from before the daemon had a thread, a key or a socket to listen on. It has the
//! servers of the configuration in a table and is asked for one by its place there ([`message`]), so whoever
//! takes over the daemon starts no other program, as no other user, and in no other place than the cage. The
//! table stays as it is: what the daemon reloads are policies and certificates, and another configuration
//! takes a restart.
//!
//! A server is a child of this process and has a channel of its own, on which the daemon asks for its end and
//! is told how it ended. When the daemon dies, this process dies with it; servers then go the way that they
//! always have, by the end of their input or by systemd.
#![allow(unsafe_code)]

mod channel;
pub mod message;
mod serve;
#[cfg(test)]
mod tests;

use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

use rustix::net::Shutdown;
use rustix::process::{Pid, Signal, WaitOptions, getpid, pidfd_send_signal, waitpid};

use self::message::{Answer, Request};
use super::KernelError;
use super::cgroup::{Cgroups, Leaf};
use super::confine::Step;
use super::namespaces::{Found, Permitted};
use super::server::Streams;
use super::spawn::{ServerCommand, SpawnError};
use crate::config::schema::{KernelMode, Pin};

/// How long a killed server whose parent is gone may take to end; killed processes leave in milliseconds.
const PATIENCE: Duration = Duration::from_secs(2);

/// A server that may be started.
pub struct Startable {
    /// The upstream.
    pub name: String,
    /// Its cage.
    pub pin: Pin,
    /// How to start it, with its secrets as they are at that time.
    pub command: Box<dyn Fn() -> Result<ServerCommand, String> + Send + Sync>,
}

impl fmt::Debug for Startable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Startable").field("name", &self.name).finish_non_exhaustive()
    }
}

/// All that the process that starts servers knows.
#[derive(Debug)]
pub struct Table {
    /// The servers.
    pub servers: Vec<Startable>,
    /// The mode of the kernel half.
    pub mode: KernelMode,
    /// Files and directories that are hidden from every server.
    pub hidden: Vec<PathBuf>,
}

/// The daemon's end. The process ends with this value.
#[derive(Debug)]
pub struct Spawner {
    control: OwnedFd,
    pid: Pid,
    names: Vec<String>,
}

/// Its findings for the daemon.
#[derive(Debug)]
pub(super) struct Facts {
    /// The way of making namespaces.
    pub(super) found: Found,
    /// A server for which no user is named would run as root.
    pub(super) root_by_omission: bool,
}

impl Spawner {
    /// Starts the process. Call before this one has a second thread, or anything that the other is not to
    /// have.
    ///
    /// # Errors
    /// When there is no room for a process.
    pub fn fork(table: Table) -> io::Result<Self> {
        let (control, theirs) = channel::pair()?;
        let names = table.servers.iter().map(|server| server.name.clone()).collect();
        let parent = getpid();
        // SAFETY: the C library's own function, which makes its allocator usable in the child even if there
        // were other threads. The child never returns from `serve`, so nothing of this stack runs twice.
        match unsafe { libc::fork() } {
            0 => serve::serve(&theirs, table, parent),
            pid => match Pid::from_raw(pid.max(0)) {
                Some(pid) => Ok(Self { control, pid, names }),
                None => Err(io::Error::last_os_error()),
            },
        }
    }

    /// Its number.
    pub(super) fn pid(&self) -> Pid {
        self.pid
    }

    /// Has it find out what this host permits. Once.
    pub(super) fn probe(&self) -> Facts {
        let failed = |error| Facts {
            found: Found { permitted: None, refused: Some((Step::Namespaces, error)) },
            root_by_omission: false,
        };
        match channel::ask(&self.control, Request::Probe, &[]) {
            Ok((Answer::Found { way, refused, root_by_omission }, _)) => {
                let refused = refused.and_then(|(step, errno)| {
                    Some((Step::from_byte(step)?, io::Error::from_raw_os_error(errno)))
                });
                let permitted = way.and_then(Permitted::of_number);
                Facts { found: Found { permitted, refused }, root_by_omission }
            }
            Ok(_) => failed(channel::unknown()),
            Err(error) => failed(error),
        }
    }

    /// Shows it where servers are to be. Once, before a socket is open.
    pub(super) fn begin(&self, cgroups: Option<&Cgroups>, pinned: bool) -> Result<(), KernelError> {
        let dirs = cgroups.map(Cgroups::open_parents).transpose()?;
        let dirs: Vec<_> = dirs.iter().flatten().map(AsFd::as_fd).collect();
        match channel::ask(&self.control, Request::Begin { pinned }, &dirs).map_err(KernelError::Spawner)? {
            (Answer::Begun, _) => Ok(()),
            _ => Err(KernelError::Spawner(channel::unknown())),
        }
    }

    /// Starts a server, in the cgroup that was made for it; true where it has the daemon's own user.
    pub(super) fn start(
        &self,
        upstream: &str,
        leaf: Option<&Leaf>,
        streams: &Streams,
    ) -> Result<(Remote, bool), SpawnError> {
        let gone = |source| SpawnError::NoSpawner { source };
        let place = self.names.iter().position(|name| name == upstream);
        let place = place.and_then(|place| u32::try_from(place).ok()).ok_or_else(|| SpawnError::Refused {
            why: "it is not in the configuration that airlock was started with; restart airlock".to_owned(),
        })?;
        let request = Request::Start { place, leaf: leaf.map(Leaf::number) };
        let (ours, theirs) = channel::pair().map_err(|source| SpawnError::Prepare {
            upstream: upstream.to_owned(),
            action: "make a socket pair",
            source,
        })?;
        let fds = [streams.stdio.as_fd(), streams.stderr.as_fd(), theirs.as_fd()];
        channel::send(&self.control, &request.encode(), &fds).map_err(gone)?;
        // With the last copy of its end, in the other process, the end of that process is seen.
        drop(theirs);
        let (answer, mut fds) = channel::answer(&ours).map_err(gone)?;
        match (answer, fds.pop()) {
            (Answer::Started { pid, is_own_user }, Some(pidfd)) => {
                let remote = Remote { channel: ours, pidfd, pid, is_over: false, status: None };
                Ok((remote, is_own_user))
            }
            (Answer::Refused(why), _) => Err(SpawnError::Refused { why }),
            _ => Err(gone(channel::unknown())),
        }
    }

    /// Why no server can be started any more, if that is so.
    pub(super) fn trouble(&self) -> Option<String> {
        (!self.names.is_empty() && channel::is_closed(&self.control)).then(|| {
            let pid = self.pid.as_raw_nonzero();
            format!(
                "the process that starts servers ({pid}) is gone: servers that run go on, and none is started; \
                 restart airlock: systemctl restart airlock"
            )
        })
    }
}

impl Drop for Spawner {
    fn drop(&mut self) {
        // Refused where it is gone already.
        let _ = rustix::net::shutdown(&self.control, Shutdown::Both);
        let _ = waitpid(Some(self.pid), WaitOptions::empty());
    }
}

/// A server that was started by that process.
#[derive(Debug)]
pub(super) struct Remote {
    channel: OwnedFd,
    /// A descriptor of its first process, which is nobody else's as long as this is open.
    pidfd: OwnedFd,
    pid: u32,
    is_over: bool,
    status: Option<ExitStatus>,
}

impl Remote {
    /// The number of the server among the host's processes.
    pub(super) fn pid(&self) -> u32 {
        self.pid
    }

    /// A descriptor of its first process.
    pub(super) fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// True where it has ended, by itself or not.
    pub(super) fn has_ended(&self) -> bool {
        self.is_over || channel::is_readable(&self.pidfd)
    }

    /// True where it was ended here.
    pub(super) fn is_over(&self) -> bool {
        self.is_over
    }

    /// How it ended, where it is over and that was told.
    pub(super) fn status(&self) -> Option<ExitStatus> {
        self.status
    }

    /// Ends it, and all that is in its cgroup, which is removed.
    pub(super) fn end(&mut self, mut leaf: Option<&mut Leaf>) {
        if self.is_over {
            return;
        }
        self.is_over = true;
        match channel::ask(&self.channel, Request::End, &[]) {
            Ok((Answer::Ended { status }, _)) => self.status = status.map(ExitStatus::from_raw),
            other => {
                let error = other.err().unwrap_or_else(channel::unknown);
                // Nobody is there to wait for it. How it ended will not be known.
                let by_cgroup = leaf.as_mut().is_some_and(|leaf| leaf.kill());
                match pidfd_send_signal(&self.pidfd, Signal::KILL) {
                    Err(refused) if !by_cgroup && !channel::is_readable(&self.pidfd) => {
                        tracing::warn!(pid = self.pid, %error, %refused, "a server is left behind; end it by hand");
                    }
                    _ => {
                        channel::wait_readable(&self.pidfd, PATIENCE);
                        tracing::debug!(pid = self.pid, %error, "a server was ended without its parent");
                    }
                }
            }
        }
        if let Some(leaf) = leaf {
            leaf.remove();
        }
    }
}
