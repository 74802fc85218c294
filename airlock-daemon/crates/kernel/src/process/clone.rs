//! A child that is born in its cgroup and its namespaces: clone3(2), and clone(2) where that is refused.
//!
//! Between its birth and its program the child is a copy of one thread of this process. It may not allocate,
//! lock or unwind, and no handler of a signal may run in it: those of the daemon write to descriptors that
//! both have.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;

use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, WaitOptions, kill_process, waitid, waitpid};

use super::end_channel::EndChannel;

/// `CLONE_INTO_CGROUP`; that of libc is made for a type that cannot hold it.
const INTO_CGROUP: u64 = 0x2_0000_0000;

/// The way into a cgroup.
#[derive(Debug)]
pub(crate) struct Entrance {
    /// Its directory, for a child that is born there.
    pub(crate) dir: File,
    /// Its `cgroup.procs`, for one that has to go there itself.
    pub(crate) procs: File,
}

/// Where a child finds itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Birth {
    /// In the cgroup that was asked for: no instruction of its ran anywhere else.
    Inside,
    /// In that of its parent, because the kernel or a filter of system calls refuses clone3, or because no
    /// other was asked for.
    Outside,
}

/// The arguments of clone3, as of Linux 5.7 (`CLONE_ARGS_SIZE_VER2`).
#[repr(C)]
#[derive(Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

const _: () = assert!(size_of::<CloneArgs>() == 88);

/// A child. It ends with this value.
#[derive(Debug)]
pub(crate) struct Child {
    pid: Pid,
    status: Option<ExitStatus>,
    /// The number of the program's process, where that is a child of this one.
    program: Option<Pid>,
    end: Option<EndChannel>,
}

impl Child {
    /// Starts a child, which runs `run` and ends. `namespaces` are `CLONE_NEW…` flags.
    ///
    /// # Errors
    /// Where the kernel has no room for a process, or refuses the namespaces.
    ///
    /// # Safety
    /// `run` may do nothing but system calls on values that were made before: it may not allocate, lock or
    /// unwind.
    pub(crate) unsafe fn start(
        entrance: Option<&Entrance>,
        namespaces: u64,
        run: impl FnOnce(Birth),
    ) -> io::Result<(Self, Birth)> {
        let signals = Blocked::all()?;
        let born = match entrance {
            Some(entrance) => match clone3(entrance, namespaces) {
                // No room is no room, by whichever call.
                Err(error) if !matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::ENOMEM)) => {
                    clone(namespaces).map(|pid| (pid, Birth::Outside))
                }
                born => born.map(|pid| (pid, Birth::Inside)),
            },
            None => clone(namespaces).map(|pid| (pid, Birth::Outside)),
        };
        let (pid, birth) = born?;
        let Some(pid) = Pid::from_raw(pid) else {
            signals.forget_in_child();
            run(birth);
            exit(0)
        };
        Ok((Self { pid, status: None, program: None, end: None }, birth))
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> Pid {
        self.pid
    }

    /// It is the first process of a namespace, which tells of the program that it started.
    pub(crate) fn tells(&mut self, end: EndChannel) {
        self.program = end.pid();
        self.end = Some(end);
    }

    /// Lets it tell how its program ended, where that is ending by itself.
    pub(crate) fn settle(&self) {
        if let (Some(end), None) = (&self.end, self.status) {
            end.settle(self.program(), self.pid);
        }
    }

    /// The process id of the program that it started, or became.
    pub(crate) fn program(&self) -> Pid {
        self.program.unwrap_or(self.pid)
    }

    /// How it ended, if it is reaped.
    pub(crate) fn status(&self) -> Option<ExitStatus> {
        self.status
    }

    /// True where it has ended. It stays unreaped, so that its number is still its own.
    pub(crate) fn has_ended(&self) -> bool {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        self.status.is_some() || matches!(waitid(WaitId::Pid(self.pid), options), Ok(Some(_)))
    }

    /// Waits until it has ended. It stays unreaped.
    pub(crate) fn wait_until_ended(&self) {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        while self.status.is_none() && matches!(waitid(WaitId::Pid(self.pid), options), Err(Errno::INTR)) {}
    }

    /// Ends it, if it has not ended by itself.
    pub(crate) fn kill(&self) -> io::Result<()> {
        match self.status {
            Some(_) => Ok(()),
            None => Ok(kill_process(self.pid, Signal::KILL)?),
        }
    }

    /// Waits for its end, and reaps it.
    pub(crate) fn wait(&mut self) -> io::Result<ExitStatus> {
        if let Some(status) = self.status {
            return Ok(status);
        }
        loop {
            match waitpid(Some(self.pid), WaitOptions::empty()) {
                Ok(Some((_, status))) => {
                    let own = ExitStatus::from_raw(status.as_raw());
                    // That of the program is what is asked for, where it ended before.
                    let status = self.end.as_ref().and_then(EndChannel::status).unwrap_or(own);
                    self.status = Some(status);
                    return Ok(status);
                }
                Ok(None) | Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // Nobody will ask for it any more, and it is nothing to be left behind.
        if self.status.is_none() && self.kill().and_then(|()| self.wait()).is_err() {
            tracing::warn!(pid = self.pid.as_raw_nonzero(), "a child is left behind");
        }
    }
}

fn clone3(entrance: &Entrance, namespaces: u64) -> io::Result<libc::pid_t> {
    let args = CloneArgs {
        flags: INTO_CGROUP | namespaces,
        exit_signal: libc::SIGCHLD.unsigned_abs().into(),
        cgroup: entrance.dir.as_raw_fd().unsigned_abs().into(),
        ..CloneArgs::default()
    };
    // SAFETY: the structure lives for the call and its size is its own. Without a stack and without CLONE_VM
    // the child goes on with a copy of this one, as after fork.
    returned(unsafe { libc::syscall(libc::SYS_clone3, &raw const args, size_of_val(&args)) })
}

fn clone(namespaces: u64) -> io::Result<libc::pid_t> {
    let flags = namespaces | u64::from(libc::SIGCHLD.unsigned_abs());
    // SAFETY: plain numbers; as above, the child goes on with a copy of this stack.
    returned(unsafe { libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0) })
}

/// Starts a child that is a copy of this process, as fork(2); 0 in the child.
///
/// # Safety
/// The child may do what a child of [`Child::start`] may.
pub(crate) unsafe fn fork() -> io::Result<libc::pid_t> {
    clone(0)
}

fn returned(result: libc::c_long) -> io::Result<libc::pid_t> {
    match libc::pid_t::try_from(result) {
        Ok(pid) if pid >= 0 => Ok(pid),
        _ => Err(io::Error::last_os_error()),
    }
}

/// A set of signals as the kernel takes it: a bit for each of 64.
type Signals = u64;

/// Every signal is blocked in this thread until the end of this value.
struct Blocked(Signals);

impl Blocked {
    fn all() -> io::Result<Self> {
        set_mask(Signals::MAX).map(Self)
    }

    /// In a child: no signal has a handler, none is ignored, and none is blocked.
    fn forget_in_child(self) {
        for signal in 1..=64 {
            // SAFETY: the default action is no code of ours. Refused for a few, whose action is fixed or
            // glibc's own.
            unsafe { libc::signal(signal, libc::SIG_DFL) };
        }
        let _ = set_mask(0);
        // The mask that it restores is that of the parent's thread.
        std::mem::forget(self);
    }
}

impl Drop for Blocked {
    fn drop(&mut self) {
        // Cannot fail: it is the same call that succeeded with another mask.
        let _ = set_mask(self.0);
    }
}

/// Sets the mask of this thread, and tells the former one. The call itself: glibc leaves out signals of its
/// own.
fn set_mask(mask: Signals) -> io::Result<Signals> {
    let mut former: Signals = 0;
    // SAFETY: both sets live for the call, and have the size that it is told.
    let result = unsafe {
        libc::syscall(
            libc::SYS_rt_sigprocmask,
            libc::SIG_SETMASK,
            &raw const mask,
            &raw mut former,
            size_of::<Signals>(),
        )
    };
    if result == 0 { Ok(former) } else { Err(io::Error::last_os_error()) }
}

/// Ends this process, a child, at once: nothing of its parent's that is registered for the end runs.
pub(crate) fn exit(code: libc::c_int) -> ! {
    // SAFETY: the call takes a number and does not return.
    unsafe { libc::_exit(code) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mask_of(pid: &str, field: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("a status");
        let line = status.lines().find_map(|line| line.strip_prefix(field)).expect("a field");
        u64::from_str_radix(line.trim(), 16).expect("a mask")
    }

    #[test]
    fn a_child_has_no_handlers_and_the_parent_keeps_its_mask() {
        let before = mask_of("thread-self", "SigBlk:");
        // SAFETY: the child waits for its end, by a system call.
        let (mut child, birth) = unsafe {
            Child::start(None, 0, |_| {
                loop {
                    libc::pause();
                }
            })
        }
        .expect("a child");
        assert_eq!((birth, mask_of("thread-self", "SigBlk:")), (Birth::Outside, before));
        let pid = child.pid().as_raw_nonzero().to_string();
        // It sets its signals itself, so that has to be waited for: until it sleeps.
        while !std::fs::read_to_string(format!("/proc/{pid}/status")).expect("there").contains("State:\tS") {
            std::thread::yield_now();
        }
        // Two signals are glibc's own, and it lets nobody change what they do.
        let ours = |field| mask_of(&pid, field) & !(0b11 << 31);
        assert_eq!([mask_of(&pid, "SigBlk:"), ours("SigCgt:"), ours("SigIgn:")], [0; 3]);
        assert!(!child.has_ended());
        child.kill().expect("ours");
        assert_eq!(child.wait().expect("an end").signal(), Some(libc::SIGKILL));
        assert!(child.has_ended() && child.status().is_some());
    }

    #[test]
    fn what_it_exits_with_is_told() {
        // SAFETY: one system call.
        let (mut child, _) = unsafe { Child::start(None, 0, |_| exit(7)) }.expect("a child");
        assert_eq!(child.wait().expect("an end").code(), Some(7));
    }
}
