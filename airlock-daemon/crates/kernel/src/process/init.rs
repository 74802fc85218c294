//! The first process of a server's own namespace of processes, number 1 in it. It reaps what the server
//! leaves behind, tells how the server ended, and takes all that is left with it when it ends: the kernel
//! sees to that.
//!
//! It is a copy of the daemon that executes no program, in the same cage as its server, without the daemon's
//! memory ([`super::shed`]) and without any descriptor but the one on which it tells. No signal of the
//! server's reaches it: the kernel passes none to the first process of a namespace, which has no handlers.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd, RawFd};

use rustix::net::sockopt;

use super::clone::{exit, fork};
use super::end_channel::EndChannel;
use super::shed::shed;
use super::wire::{set_closed, socket_pair, tell};

/// The name of the first process among the processes of the host; at most 15 characters.
const NAME: &std::ffi::CStr = c"airlock-init";

/// The exit code of the first process when it can do nothing for its server any more; nobody sees it but who
/// looks for it.
const FAILED: libc::c_int = 127;

/// The first process's end of a pair of sockets, prepared before it is born.
#[derive(Debug)]
pub(crate) struct Init {
    theirs: OwnedFd,
}

impl Init {
    /// Prepares it.
    ///
    /// # Errors
    /// When there is no descriptor left.
    pub(crate) fn prepare() -> io::Result<(Self, EndChannel)> {
        let (ours, theirs) = socket_pair()?;
        ours.set_nonblocking(true)?;
        // So that the kernel says which process speaks, by its number among ours.
        sockopt::set_socket_passcred(&ours, true)?;
        Ok((Self { theirs }, EndChannel(ours)))
    }

    /// In the first process, when it is in its cage: returns in a child, which is to become the server, and
    /// ends with it otherwise. Both have their standard streams, `faults` and the end of the pair, and no
    /// other descriptor. System calls only.
    ///
    /// # Errors
    /// When there is no room for a child.
    pub(crate) fn divide(&self, faults: RawFd) -> io::Result<()> {
        // The last copy of a program's link takes the program off when it is closed. A child that did so
        // while it ends would wait for tasks of which this process is one, and this process for it: before
        // Linux 6.9, for ever.
        keep_only(self.theirs.as_raw_fd(), faults)?;
        // SAFETY: the child goes on with a copy of this stack, as this process did.
        let server = unsafe { fork() }?;
        if server != 0 {
            self.stay(server)
        }
        // SAFETY: it takes nothing. A session of its own: signals to its group are for nobody else.
        unsafe { libc::setsid() };
        match tell(self.theirs.as_raw_fd(), b".") {
            1 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// Waits for the server, and reaps everybody else meanwhile.
    fn stay(&self, server: libc::pid_t) -> ! {
        // SAFETY: a string with its end.
        unsafe { libc::prctl(libc::PR_SET_NAME, NAME.as_ptr(), 0, 0, 0) };
        // SAFETY: plain numbers. The end of the server's streams and of the daemon's channel is to be seen
        // when the server ends.
        let is_bare = unsafe {
            libc::syscall(libc::SYS_dup3, self.theirs.as_raw_fd(), 0, libc::O_CLOEXEC) == 0
                && libc::syscall(libc::SYS_close_range, 1, libc::c_uint::MAX, 0) == 0
        };
        if !is_bare || set_closed(true).is_err() || shed().is_err() {
            exit(FAILED);
        }
        loop {
            let mut status: libc::c_int = 0;
            // The call itself: a function of glibc looks at memory that is gone by now.
            // SAFETY: the status lives for the call, and nobody asks for resources.
            let ended = unsafe {
                libc::syscall(
                    libc::SYS_wait4,
                    -1,
                    &raw mut status,
                    libc::__WALL,
                    std::ptr::null_mut::<libc::rusage>(),
                )
            };
            if ended == libc::c_long::from(server) {
                say(&status.to_ne_bytes());
                exit(0);
            }
            if ended < 0 && io::Error::last_os_error().raw_os_error() != Some(libc::EINTR) {
                exit(FAILED);
            }
        }
    }
}

/// Closes every descriptor of the calling process, which shares them with nobody, but the standard streams
/// and these two.
fn keep_only(one: RawFd, other: RawFd) -> io::Result<()> {
    let (low, high) = (one.min(other).unsigned_abs(), one.max(other).unsigned_abs());
    for (first, last) in
        [(3, low.saturating_sub(1)), (low + 1, high.saturating_sub(1)), (high + 1, libc::c_uint::MAX)]
    {
        // SAFETY: plain numbers; no value that has one of them is dropped here.
        if first <= last && unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) } != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// Writes to the daemon, which may be gone.
fn say(bytes: &[u8]) {
    // SAFETY: the bytes live for the call.
    unsafe { libc::syscall(libc::SYS_write, 0, bytes.as_ptr(), bytes.len()) };
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fs::{self, File};
    use std::path::PathBuf;

    use rustix::event::{PollFd, PollFlags, poll};
    use rustix::process::Pid;
    use std::os::fd::AsFd as _;

    use super::super::clone::Child;
    use super::*;
    use crate::process::wire::hear;

    /// The open descriptors of a process, with what they lead to.
    fn descriptors(pid: Pid) -> io::Result<BTreeMap<RawFd, PathBuf>> {
        let mut open = BTreeMap::new();
        for entry in fs::read_dir(format!("/proc/{}/fd", pid.as_raw_nonzero()))? {
            let entry = entry?;
            // One that is closed meanwhile is none.
            if let (Ok(number), Ok(place)) =
                (entry.file_name().to_string_lossy().parse(), fs::read_link(entry.path()))
            {
                open.insert(number, place);
            }
        }
        Ok(open)
    }

    #[test]
    fn neither_the_first_process_nor_the_server_to_be_has_a_descriptor_of_the_daemons() {
        // Descriptors below, between and above those that stay.
        let null = || File::open("/dev/null").expect("a device");
        let below = null();
        let (init, end) = Init::prepare().expect("a pair");
        let between = null();
        let (waits, faults) = socket_pair().expect("a pair");
        let above = null();
        // SAFETY: system calls only. The process that is to be the server waits for a byte.
        let (mut first, _) = unsafe {
            Child::start(None, 0, |_| {
                if init.divide(faults.as_raw_fd()).is_ok() {
                    let _ = hear(faults.as_raw_fd());
                }
                exit(3)
            })
        }
        .expect("a child");
        poll(&mut [PollFd::from_borrowed_fd(end.0.as_fd(), PollFlags::IN)], None).expect("a word");
        first.tells(end);
        let server = first.program();
        assert_ne!(server, first.pid(), "there is no second process");
        let wanted = [0, 1, 2, init.theirs.as_raw_fd(), faults.as_raw_fd()];
        let of_server = descriptors(server).expect("a copy of ours");
        assert!(of_server.keys().all(|fd| wanted.contains(fd)), "{of_server:?}");
        for fd in [&init.theirs, &faults] {
            let ours = fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd())).expect("open");
            assert_eq!(of_server.get(&fd.as_raw_fd()), Some(&ours));
        }
        // The one that reaps has closed them before there was a second process, and then the others but one.
        loop {
            match descriptors(first.pid()) {
                Ok(open) if open.keys().eq(&[0]) => break,
                Ok(open) => assert!(open.keys().all(|fd| wanted.contains(fd)), "{open:?}"),
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                    println!("SKIPPED: who is not root sees no descriptors of a closed process");
                    break;
                }
                Err(error) => panic!("{error}"),
            }
            std::thread::yield_now();
        }
        assert_eq!(tell(waits.as_raw_fd(), b"."), 1);
        drop((below, between, above));
        assert_eq!(first.wait().expect("an end").code(), Some(3));
    }
}
