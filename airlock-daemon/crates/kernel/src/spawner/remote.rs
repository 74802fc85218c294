//! A server that the spawner has started.

use super::super::cgroup::Leaf;
use super::channel;
use super::message::{Answer, Request};
use rustix::process::{Signal, pidfd_send_signal};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;
use std::time::Duration;

/// A server that was started by that process.
#[derive(Debug)]
pub(crate) struct Remote {
    pub(super) channel: OwnedFd,
    /// A descriptor of its first process, which is nobody else's as long as this is open.
    pub(super) pidfd: OwnedFd,
    pub(super) pid: u32,
    pub(super) is_over: bool,
    pub(super) status: Option<ExitStatus>,
}

impl Remote {
    /// The number of the server among the host's processes.
    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// A descriptor of its first process.
    pub(crate) fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// True where it has ended, by itself or not.
    pub(crate) fn has_ended(&self) -> bool {
        self.is_over || channel::is_readable(&self.pidfd)
    }

    /// True where it was ended here.
    pub(crate) fn is_over(&self) -> bool {
        self.is_over
    }

    /// How it ended, where it is over and that was told.
    pub(crate) fn status(&self) -> Option<ExitStatus> {
        self.status
    }

    /// Ends it, and all that is in its cgroup, which is removed.
    pub(crate) fn end(&mut self, mut leaf: Option<&mut Leaf>) {
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
                        channel::wait_readable(&self.pidfd, END_TIMEOUT);
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

/// How long a killed server whose parent is gone may take to end; killed processes leave in milliseconds.
pub(super) const END_TIMEOUT: Duration = Duration::from_secs(2);
