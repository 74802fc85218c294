//! How the first process of a namespace says that its server has ended.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use rustix::process::Pid;
use std::fs;
use std::io::{IoSliceMut, Read as _};
use std::mem::MaybeUninit;
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

/// The daemon's end of the pair, on which it is told how the server ended.
#[derive(Debug)]
pub(crate) struct EndChannel(pub(crate) UnixStream);

impl EndChannel {
    /// The number of the server among the host's processes; `None` where it did not get so far. To be asked
    /// once, when it runs.
    pub(crate) fn pid(&self) -> Option<Pid> {
        let mut byte = [0];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmCredentials(1))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        recvmsg(&self.0, &mut [IoSliceMut::new(&mut byte)], &mut ancillary, RecvFlags::CMSG_CLOEXEC).ok()?;
        ancillary.drain().find_map(|message| match message {
            RecvAncillaryMessage::ScmCredentials(sender) => Some(sender.pid),
            _ => None,
        })
    }

    /// Waits until it has told how the server ended, where that is ending or has ended: the end of the
    /// server's output is seen before the first process learns of it.
    pub(crate) fn settle(&self, server: Pid, first: Pid) {
        if !is_ending(server, first) {
            return;
        }
        let deadline = Instant::now() + END_TIMEOUT;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(timeout) = Timespec::try_from(left) else { return };
            let mut fds = [PollFd::from_borrowed_fd(self.0.as_fd(), PollFlags::IN)];
            if !matches!(poll(&mut fds, Some(&timeout)), Err(rustix::io::Errno::INTR)) {
                return;
            }
        }
    }

    /// How the server ended; `None` where the first process was ended before it. To be asked once, when that
    /// has ended.
    pub(crate) fn status(&self) -> Option<ExitStatus> {
        let mut status = [0; size_of::<libc::c_int>()];
        (&self.0).read_exact(&mut status).ok()?;
        Some(ExitStatus::from_raw(libc::c_int::from_ne_bytes(status)))
    }
}

/// How long it may take to learn of the end of its server, where the host is busy.
pub(crate) const END_TIMEOUT: Duration = Duration::from_secs(2);

/// True where a process, a child of `first`, has begun to end, or has ended. An answer about another one that
/// has its number by now costs a moment at most.
pub(super) fn is_ending(pid: Pid, first: Pid) -> bool {
    /// `PF_EXITING`.
    const EXITING: u64 = 4;
    match (flags(pid), flags(first)) {
        (Some(flags), _) => flags & EXITING != 0,
        // It is reaped, unless nobody of another user is to be seen (`ProtectProc=`).
        (None, first) => first.is_some(),
    }
}

/// The flags of a process, as the kernel has them.
pub(crate) fn flags(pid: Pid) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?;
    // The name before them may hold spaces and parentheses.
    stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(6)?.parse().ok()
}
