//! The steps of a server process between its birth and its program.
//!
//! The code in between runs in a copy of a process with many threads, of which only one is left: it may not
//! allocate, lock or unwind. So it is a row of plain system calls on values that were prepared before.
#![allow(unsafe_code)]

pub(super) mod landlock;
mod mount_steps;
pub(super) mod mounts;
pub(super) mod namespaces;
pub(super) mod path_fault;
pub(super) mod program;
pub(super) mod seccomp;
mod syscalls;
pub(super) mod wants;

use std::ffi::CStr;
use std::io;
use std::os::fd::AsRawFd as _;

use self::landlock::Domain;
use self::namespaces::Namespaces;
use self::seccomp::Filters;
use super::process::clone::{Birth, Child, Entrance};
use super::process::step::{StartError, StartStep};
use super::process::users::Ids;
use super::process::wire::tell;

/// Everything the child needs, prepared before it is born. Without any of it the child is confined by the
/// last steps alone.
#[derive(Debug, Default)]
pub(super) struct Confinement {
    /// The way into its leaf.
    pub(super) entrance: Option<Entrance>,
    /// Namespaces of its own.
    pub(super) namespaces: Option<Namespaces>,
    /// The user to become; the daemon's own when absent.
    pub(super) ids: Option<Ids>,
    /// How many descriptors it may have open; as many as the daemon when absent.
    pub(super) open_files: Option<u32>,
    /// How many bytes long a file may be that it writes; as many as the daemon's when absent.
    pub(super) file_size: Option<u64>,
    /// The system calls that it may not make; none for a process that is not to be confined, and for the
    /// canary.
    pub(super) filters: Option<&'static Filters>,
    /// The part of the file system that it has; all where there is none.
    pub(super) domain: Option<Domain>,
}

/// By how much a server is nicer than the daemon, in steps of sched(7): at 5 it has a third of the daemon's
/// share where both want to run.
const NICENESS: libc::c_int = 5;

impl Confinement {
    /// Starts a child for this confinement, which runs `run`, and tells where it was born. It is not confined
    /// before `run` calls [`Self::enter`].
    ///
    /// # Safety
    /// As [`Child::start`].
    pub(super) unsafe fn start(&self, run: impl FnOnce(Birth)) -> Result<(Child, Birth), StartError> {
        let flags = self.namespaces.as_ref().map_or(0, Namespaces::flags);
        // SAFETY: the caller's promise.
        let started = unsafe { Child::start(self.entrance.as_ref(), flags, run) };
        let (child, birth) = started.map_err(|error| match flags {
            0 => StartError::Clone(error),
            _ => StartError::Step(StartStep::Namespaces, error),
        })?;
        if let Some(namespaces) = &self.namespaces {
            // A child that is not admitted waits for what does not come, and ends with its value.
            namespaces
                .admit(child.pid(), self.ids)
                .map_err(|error| StartError::Step(StartStep::Namespaces, error))?;
        }
        Ok((child, birth))
    }

    /// Confines the calling process, which has to be a child of [`Self::start`]. It goes to `working_dir` on
    /// the way: as its user, among its mounts.
    pub(super) fn enter(
        &self,
        birth: Birth,
        working_dir: Option<&CStr>,
    ) -> Result<(), (StartStep, io::Error)> {
        if let (Some(entrance), Birth::Outside) = (&self.entrance, birth) {
            check(StartStep::Cgroup, tell(entrance.procs.as_raw_fd(), b"0"))?;
        }
        // SAFETY: setsid takes nothing.
        check(StartStep::Session, unsafe { libc::setsid() }.into())?;
        if let Some(namespaces) = &self.namespaces {
            namespaces.enter()?;
        }
        if let Some(Ids { uid, gid }) = self.ids {
            // The system calls themselves: glibc's functions would tell other threads, of which there are
            // none here. SAFETY: the list has one element and lives for the call.
            check(StartStep::Groups, unsafe { libc::syscall(libc::SYS_setgroups, 1, &raw const gid) })?;
            // SAFETY: plain numbers.
            check(StartStep::Groups, unsafe { libc::syscall(libc::SYS_setresgid, gid, gid, gid) })?;
            // SAFETY: plain numbers.
            check(StartStep::User, unsafe { libc::syscall(libc::SYS_setresuid, uid, uid, uid) })?;
        }
        if let Some(dir) = working_dir {
            // SAFETY: a string with its end, which lives for the call.
            check(StartStep::WorkingDir, unsafe { libc::chdir(dir.as_ptr()) }.into())?;
        }
        limit(libc::RLIMIT_CORE, 0)?;
        stand_back()?;
        if let Some(open_files) = self.open_files {
            limit(libc::RLIMIT_NOFILE, open_files.into())?;
        }
        if let Some(file_size) = self.file_size {
            limit(libc::RLIMIT_FSIZE, file_size)?;
        }
        // SAFETY: plain numbers. Without this the server would inherit what systemd gave the daemon as
        // ambient.
        let cleared = unsafe { libc::prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) };
        check(StartStep::Capabilities, cleared.into())?;
        // SAFETY: plain numbers.
        let set = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
        check(StartStep::NoNewPrivileges, set.into())?;
        // A socket that is inherited escapes every cgroup hook, so none may be.
        // SAFETY: plain numbers; the descriptors stay open until exec, so that failures can still be told.
        let marked =
            unsafe { libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC) };
        check(StartStep::Descriptors, marked)?;
        if let Some(domain) = &self.domain {
            domain.enter().map_err(|error| (StartStep::Domain, error))?;
            give_up_capabilities()?;
        }
        match self.filters {
            Some(filters) => filters.install().map_err(|error| (StartStep::Filter, error)),
            None => Ok(()),
        }
    }
}

/// Gives up every capability, for good: with no new privileges, executing a program as uid 0 brings none
/// back. The one power that root in a cage keeps is to own files.
fn give_up_capabilities() -> Result<(), (StartStep, io::Error)> {
    /// `_LINUX_CAPABILITY_VERSION_3`: two words of 32 bits for each set.
    const VERSION: u32 = 0x2008_0522;
    // Version and process (0: this one); then effective, permitted, inheritable, twice.
    let head: [u32; 2] = [VERSION, 0];
    let sets: [u32; 6] = [0; 6];
    // SAFETY: both arrays are laid out as the call wants them, and live for it.
    check(StartStep::Powers, unsafe { libc::syscall(libc::SYS_capset, head.as_ptr(), sets.as_ptr()) })
}

/// Has the process wait where the daemon wants to run: servers that compute, or that flood the daemon, leave
/// it time for the calls of others. A process may take back none of it without `CAP_SYS_NICE`, which no
/// server has.
fn stand_back() -> Result<(), (StartStep, io::Error)> {
    // SAFETY: the location is this thread's own.
    unsafe { *libc::__errno_location() = 0 };
    // SAFETY: a plain number.
    let now = unsafe { libc::nice(NICENESS) };
    match io::Error::last_os_error() {
        // A niceness of -1 is no error.
        error if now == -1 && error.raw_os_error() != Some(0) => Err((StartStep::Weight, error)),
        _ => Ok(()),
    }
}

/// `setrlimit`'s first argument has another type with another C library.
#[cfg(target_env = "gnu")]
type Resource = libc::__rlimit_resource_t;
#[cfg(not(target_env = "gnu"))]
type Resource = libc::c_int;

fn limit(resource: Resource, most: libc::rlim_t) -> Result<(), (StartStep, io::Error)> {
    let most = libc::rlimit { rlim_cur: most, rlim_max: most };
    // SAFETY: the limit lives for the call.
    check(StartStep::Limits, unsafe { libc::setrlimit(resource, &raw const most) }.into())
}

pub(super) fn check(step: StartStep, result: libc::c_long) -> Result<(), (StartStep, io::Error)> {
    if result < 0 { Err((step, io::Error::last_os_error())) } else { Ok(()) }
}
