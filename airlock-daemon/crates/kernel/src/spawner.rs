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

pub(super) mod channel;
pub mod message;
pub(super) mod remote;
#[cfg(test)]
mod tests;

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::net::Shutdown;
use rustix::process::{Pid, WaitOptions, waitpid};

use self::message::{Answer, Request};
use self::remote::Remote;
use super::KernelError;
use super::cgroup::{Cgroups, Leaf};
use super::command::SpawnError;
use super::confine::namespaces::Permitted;
use super::probe::permitted::Found;
use super::process::step::StartStep;
use super::process::streams::Streams;

/// The daemon's end. The process ends with this value.
#[derive(Debug)]
pub struct Spawner {
    pub(crate) control: OwnedFd,
    pub(crate) pid: Pid,
    pub(crate) names: Vec<String>,
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
    /// Its number.
    pub(super) fn pid(&self) -> Pid {
        self.pid
    }

    /// Has it find out what this host permits. Once.
    pub(super) fn probe(&self) -> Facts {
        let failed = |error| Facts {
            found: Found { permitted: None, refused: Some((StartStep::Namespaces, error)) },
            root_by_omission: false,
        };
        match channel::ask(&self.control, Request::Probe, &[]) {
            Ok((Answer::Found { way, refused, root_by_omission }, _)) => {
                let refused = refused.and_then(|(step, errno)| {
                    Some((StartStep::from_byte(step)?, io::Error::from_raw_os_error(errno)))
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
