//! The steps of a server process between its birth and its program.
//!
//! The code in between runs in a copy of a process with many threads, of which only one is left: it may not
//! allocate, lock or unwind. So it is a row of plain system calls on values that were prepared before.
#![allow(unsafe_code)]

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;

use super::clone::{Birth, Child, Entrance};
use super::landlock::Domain;
use super::namespaces::Namespaces;
use super::program::StartError;
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
    /// Taking its limits, and forbidding core dumps.
    Limits = 5,
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
    /// Waiting for its namespaces to be made.
    Namespaces = 12,
    /// Putting its mounts in place.
    Mounts = 13,
    /// Going to its working directory.
    WorkingDir = 14,
    /// Starting the program as the second process of its namespace.
    Init = 15,
}

impl Step {
    const ALL: [Self; 15] = [
        Self::Cgroup,
        Self::Session,
        Self::Groups,
        Self::User,
        Self::Limits,
        Self::Capabilities,
        Self::NoNewPrivileges,
        Self::Descriptors,
        Self::Filter,
        Self::Domain,
        Self::Powers,
        Self::Namespaces,
        Self::Mounts,
        Self::WorkingDir,
        Self::Init,
    ];

    pub(super) fn from_byte(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|step| *step as u8 == byte)
    }

    /// The name of the step, and the remedy when it is refused.
    pub(super) fn explain(self) -> (&'static str, &'static str) {
        match self {
            Self::Cgroup => ("enter its cgroup", "check that nothing else manages airlock's cgroups"),
            Self::Session => ("start a session of its own", "report this: it cannot normally fail"),
            Self::Groups | Self::User => (
                "become its user",
                "start airlock as root or with CAP_SETUID and CAP_SETGID, or remove `user` from the upstream",
            ),
            Self::Limits => (
                "take its limits",
                "lower `pin.open_files` or `pin.file_size`, or raise LimitNOFILE= or LimitFSIZE= of airlock.service",
            ),
            Self::Capabilities => ("give up capabilities", "a kernel of at least 4.3 is needed"),
            Self::NoNewPrivileges => ("give up new privileges", "a kernel of at least 3.5 is needed"),
            Self::Descriptors => ("close inherited descriptors", "a kernel of at least 5.11 is needed"),
            Self::Domain => ("enter its part of the file system", "report this: it cannot normally fail"),
            Self::Powers => ("give up its capabilities", "allow capset"),
            Self::Namespaces => (
                "have namespaces of its own",
                "allow user namespaces (sysctl user.max_user_namespaces, RestrictNamespaces= of airlock.service), or start airlock as root",
            ),
            Self::Mounts => (
                "put its mounts in place",
                "see that airlock itself can reach what `files` names, and that a filter of system calls lets mounts pass",
            ),
            Self::WorkingDir => ("go to its working directory", "let the server's user enter `working_dir`"),
            Self::Init => {
                ("start its program beside a process that reaps", "raise TasksMax= of airlock.service")
            }
            Self::Filter => {
                ("take its filter of system calls", "a kernel with CONFIG_SECCOMP_FILTER is needed")
            }
        }
    }
}

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
            _ => StartError::Step(Step::Namespaces, error),
        })?;
        if let Some(namespaces) = &self.namespaces {
            // A child that is not admitted waits for what does not come, and ends with its value.
            namespaces
                .admit(child.pid(), self.ids)
                .map_err(|error| StartError::Step(Step::Namespaces, error))?;
        }
        Ok((child, birth))
    }

    /// Confines the calling process, which has to be a child of [`Self::start`]. It goes to `working_dir` on
    /// the way: as its user, among its mounts.
    pub(super) fn enter(&self, birth: Birth, working_dir: Option<&CStr>) -> Result<(), (Step, io::Error)> {
        if let (Some(entrance), Birth::Outside) = (&self.entrance, birth) {
            check(Step::Cgroup, tell(entrance.procs.as_raw_fd(), b"0"))?;
        }
        // SAFETY: setsid takes nothing.
        check(Step::Session, unsafe { libc::setsid() }.into())?;
        if let Some(namespaces) = &self.namespaces {
            namespaces.enter()?;
        }
        if let Some(Ids { uid, gid }) = self.ids {
            // The system calls themselves: glibc's functions would tell other threads, of which there are
            // none here. SAFETY: the list has one element and lives for the call.
            check(Step::Groups, unsafe { libc::syscall(libc::SYS_setgroups, 1, &raw const gid) })?;
            // SAFETY: plain numbers.
            check(Step::Groups, unsafe { libc::syscall(libc::SYS_setresgid, gid, gid, gid) })?;
            // SAFETY: plain numbers.
            check(Step::User, unsafe { libc::syscall(libc::SYS_setresuid, uid, uid, uid) })?;
        }
        if let Some(dir) = working_dir {
            // SAFETY: a string with its end, which lives for the call.
            check(Step::WorkingDir, unsafe { libc::chdir(dir.as_ptr()) }.into())?;
        }
        limit(libc::RLIMIT_CORE, 0)?;
        if let Some(open_files) = self.open_files {
            limit(libc::RLIMIT_NOFILE, open_files.into())?;
        }
        if let Some(file_size) = self.file_size {
            limit(libc::RLIMIT_FSIZE, file_size)?;
        }
        // SAFETY: plain numbers. Without this the server would inherit what systemd gave the daemon as
        // ambient.
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

/// Gives up every capability, for good: with no new privileges, executing a program as uid 0 brings none
/// back. The one power that root in a cage keeps is to own files.
fn give_up_capabilities() -> Result<(), (Step, io::Error)> {
    /// `_LINUX_CAPABILITY_VERSION_3`: two words of 32 bits for each set.
    const VERSION: u32 = 0x2008_0522;
    // Version and process (0: this one); then effective, permitted, inheritable, twice.
    let head: [u32; 2] = [VERSION, 0];
    let sets: [u32; 6] = [0; 6];
    // SAFETY: both arrays are laid out as the call wants them, and live for it.
    check(Step::Powers, unsafe { libc::syscall(libc::SYS_capset, head.as_ptr(), sets.as_ptr()) })
}

/// `setrlimit`'s first argument has another type with another C library.
#[cfg(target_env = "gnu")]
type Resource = libc::__rlimit_resource_t;
#[cfg(not(target_env = "gnu"))]
type Resource = libc::c_int;

fn limit(resource: Resource, most: libc::rlim_t) -> Result<(), (Step, io::Error)> {
    let most = libc::rlimit { rlim_cur: most, rlim_max: most };
    // SAFETY: the limit lives for the call.
    check(Step::Limits, unsafe { libc::setrlimit(resource, &raw const most) }.into())
}

fn check(step: Step, result: libc::c_long) -> Result<(), (Step, io::Error)> {
    if result < 0 { Err((step, io::Error::last_os_error())) } else { Ok(()) }
}

/// Writes a few bytes, without allocating; the result of `write(2)`.
pub(super) fn tell(fd: RawFd, bytes: &[u8]) -> libc::c_long {
    // SAFETY: the bytes live for the call.
    unsafe { libc::write(fd, bytes.as_ptr().cast(), bytes.len()) as libc::c_long }
}

/// Reads a byte, without allocating, and fails at the end of the stream.
pub(super) fn hear(fd: RawFd) -> io::Result<()> {
    let mut byte = 0_u8;
    // SAFETY: one byte, which lives for the call.
    match unsafe { libc::read(fd, (&raw mut byte).cast(), 1) } {
        1 => Ok(()),
        0 => Err(io::Error::from_raw_os_error(libc::EPIPE)),
        _ => Err(io::Error::last_os_error()),
    }
}

/// True where the calling process, a child, is closed to others of its user until it executes a program. One
/// system call.
pub(super) fn set_closed(closed: bool) -> io::Result<()> {
    let dumpable = libc::c_ulong::from(!closed);
    // SAFETY: plain numbers.
    match unsafe { libc::prctl(libc::PR_SET_DUMPABLE, dumpable, 0, 0, 0) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Closes a descriptor in a child, whose copies of values are never dropped.
pub(super) fn close(fd: RawFd) {
    // SAFETY: a number; nobody uses it in the child afterwards, and the parent's own stays.
    unsafe { libc::close(fd) };
}

/// Both ends of a connection: ours, and the one that becomes a descriptor of the child.
pub(super) fn socket_pair() -> io::Result<(UnixStream, OwnedFd)> {
    let (ours, theirs) = UnixStream::pair()?;
    Ok((ours, theirs.into()))
}
