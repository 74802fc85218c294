//! What a server process does to itself between fork and exec.
//!
//! The code between fork and exec runs in a copy of a process with many threads, of which only one is left: it may not
//! allocate, lock or unwind. So it is a row of plain system calls on values that were prepared before the fork.
#![allow(unsafe_code)]

use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use super::landlock::Domain;
use super::seccomp::Filters;
use super::users::Ids;

/// A step on the way into the cage; sent as one byte to the parent when it fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Step {
    /// Entering the leaf cgroup.
    Cgroup = 1,
    /// Leaving the daemon's session.
    Session = 2,
    /// Taking the user's groups.
    Groups = 3,
    /// Becoming the user.
    User = 4,
    /// Forbidding core dumps.
    CoreLimit = 5,
    /// Giving up inheritable capabilities.
    Capabilities = 6,
    /// Giving up new privileges.
    NoNewPrivileges = 7,
    /// Marking every inherited descriptor as closed on exec.
    Descriptors = 8,
    /// Taking the filter of system calls.
    Filter = 9,
    /// Entering its part of the file system.
    Domain = 10,
    /// Giving up every capability.
    Powers = 11,
}

impl Step {
    const ALL: [Self; 11] = [
        Self::Cgroup,
        Self::Session,
        Self::Groups,
        Self::User,
        Self::CoreLimit,
        Self::Capabilities,
        Self::NoNewPrivileges,
        Self::Descriptors,
        Self::Filter,
        Self::Domain,
        Self::Powers,
    ];

    pub(super) fn from_byte(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|step| *step as u8 == byte)
    }

    /// What the step does, and what to do when it is refused.
    pub(super) fn explain(self) -> (&'static str, &'static str) {
        match self {
            Self::Cgroup => ("enter its cgroup", "check that nothing else manages airlock's cgroups"),
            Self::Session => ("start a session of its own", "report this: it cannot normally fail"),
            Self::Groups | Self::User => (
                "become its user",
                "start airlock as root or with CAP_SETUID and CAP_SETGID, or remove `user` from the upstream",
            ),
            Self::CoreLimit => ("forbid core dumps", "allow setrlimit"),
            Self::Capabilities => ("give up capabilities", "a kernel of at least 4.3 is needed"),
            Self::NoNewPrivileges => ("give up new privileges", "a kernel of at least 3.5 is needed"),
            Self::Descriptors => ("close inherited descriptors", "a kernel of at least 5.11 is needed"),
            Self::Domain => ("enter its part of the file system", "report this: it cannot normally fail"),
            Self::Powers => ("give up its capabilities", "allow capset"),
            Self::Filter => {
                ("take its filter of system calls", "a kernel with CONFIG_SECCOMP_FILTER is needed")
            }
        }
    }
}

/// Everything the child needs, prepared before the fork.
#[derive(Debug)]
pub(super) struct Confinement {
    /// The leaf's `cgroup.procs`, open for writing.
    pub(super) procs: Option<File>,
    /// Who to become; the daemon's own user when absent.
    pub(super) ids: Option<Ids>,
    /// What system calls it may not make; none for whoever is not to be confined, and for the canary.
    pub(super) filters: Option<&'static Filters>,
    /// What of the file system it has; all where there is none.
    pub(super) domain: Option<Domain>,
}

/// The parent's end of the channel that says which step failed.
#[derive(Debug)]
pub(super) struct StepReader(UnixStream);

impl StepReader {
    /// The step that failed, if one did. Call after the command, which holds the other end, is dropped.
    pub(super) fn failed_step(mut self) -> Option<Step> {
        let mut byte = [0];
        (self.0.read(&mut byte).ok()? == 1).then(|| Step::from_byte(byte[0])).flatten()
    }
}

impl Confinement {
    /// Has the command confine itself before it executes its program.
    pub(super) fn apply_to(self, command: &mut Command) -> io::Result<StepReader> {
        let (reader, writer) = UnixStream::pair()?;
        // SAFETY: the closure makes system calls only, on values it owns, and neither allocates nor unwinds.
        unsafe {
            command.pre_exec(move || {
                self.enter().map_err(|(step, error)| {
                    tell(writer.as_raw_fd(), &[step as u8]);
                    error
                })
            });
        }
        Ok(StepReader(reader))
    }

    /// Confines the calling process, which has to be a freshly forked child.
    pub(super) fn enter(&self) -> Result<(), (Step, io::Error)> {
        if let Some(procs) = &self.procs {
            check(Step::Cgroup, tell(procs.as_raw_fd(), b"0"))?;
        }
        // SAFETY: setsid takes nothing.
        check(Step::Session, unsafe { libc::setsid() }.into())?;
        if let Some(Ids { uid, gid }) = self.ids {
            // The system calls themselves: glibc's functions would tell other threads, of which there are none here.
            // SAFETY: the list has one element and lives for the call.
            check(Step::Groups, unsafe { libc::syscall(libc::SYS_setgroups, 1, &raw const gid) })?;
            // SAFETY: plain numbers.
            check(Step::Groups, unsafe { libc::syscall(libc::SYS_setresgid, gid, gid, gid) })?;
            // SAFETY: plain numbers.
            check(Step::User, unsafe { libc::syscall(libc::SYS_setresuid, uid, uid, uid) })?;
        }
        let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: the limit lives for the call.
        check(Step::CoreLimit, unsafe { libc::setrlimit(libc::RLIMIT_CORE, &raw const none) }.into())?;
        // SAFETY: plain numbers. Without this the server would inherit what systemd gave the daemon as ambient.
        let cleared = unsafe { libc::prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) };
        check(Step::Capabilities, cleared.into())?;
        // SAFETY: plain numbers.
        let set = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
        check(Step::NoNewPrivileges, set.into())?;
        // A socket that is inherited escapes every cgroup hook, so none may be.
        // SAFETY: plain numbers; the descriptors stay open until exec, so that failures can still be told.
        let marked =
            unsafe { libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC) };
        check(Step::Descriptors, marked)?;
        if let Some(domain) = &self.domain {
            domain.enter().map_err(|error| (Step::Domain, error))?;
            give_up_capabilities()?;
        }
        match self.filters {
            Some(filters) => filters.install().map_err(|error| (Step::Filter, error)),
            None => Ok(()),
        }
    }
}

/// Gives up every capability, for good: with no new privileges, executing a program as uid 0 brings none back. What is left
/// to root in a cage is to own files.
fn give_up_capabilities() -> Result<(), (Step, io::Error)> {
    /// `_LINUX_CAPABILITY_VERSION_3`: two words of 32 bits for each set.
    const VERSION: u32 = 0x2008_0522;
    // Version and process (0: this one); then effective, permitted, inheritable, twice.
    let head: [u32; 2] = [VERSION, 0];
    let sets: [u32; 6] = [0; 6];
    // SAFETY: both arrays are laid out as the call wants them, and live for it.
    check(Step::Powers, unsafe { libc::syscall(libc::SYS_capset, head.as_ptr(), sets.as_ptr()) })
}

fn check(step: Step, result: libc::c_long) -> Result<(), (Step, io::Error)> {
    if result < 0 { Err((step, io::Error::last_os_error())) } else { Ok(()) }
}

/// Writes a few bytes, without allocating; the result of `write(2)`.
pub(super) fn tell(fd: RawFd, bytes: &[u8]) -> libc::c_long {
    // SAFETY: the bytes live for the call.
    unsafe { libc::write(fd, bytes.as_ptr().cast(), bytes.len()) as libc::c_long }
}

/// Both ends of a connection: ours, and the one that becomes a descriptor of the child.
pub(super) fn socket_pair() -> io::Result<(UnixStream, OwnedFd)> {
    let (ours, theirs) = UnixStream::pair()?;
    Ok((ours, theirs.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::OpenOptions;

    #[test]
    fn a_step_that_fails_is_named_and_the_program_does_not_run() {
        // Every write to this device fails, as one to a removed cgroup does.
        let procs = OpenOptions::new().write(true).open("/dev/full").expect("/dev/full");
        let mut command = Command::new("/bin/true");
        let steps = Confinement { procs: Some(procs), ids: None, filters: None, domain: None }
            .apply_to(&mut command)
            .expect("a channel");
        let error = command.spawn().expect_err("no program");
        drop(command);
        assert_eq!(error.raw_os_error(), Some(libc::ENOSPC));
        assert_eq!(steps.failed_step(), Some(Step::Cgroup));
    }

    #[test]
    fn a_program_that_is_missing_is_no_failed_step() {
        let mut command = Command::new("/no/such/program");
        let steps = Confinement { procs: None, ids: None, filters: None, domain: None }
            .apply_to(&mut command)
            .expect("a channel");
        command.spawn().expect_err("no program");
        drop(command);
        assert_eq!(steps.failed_step(), None);
    }
}
