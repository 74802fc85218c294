//! Steps of a server's start, and the words between the processes that take them.

use std::io;

/// A step on the way into the cage; sent as one byte to the parent when it fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum StartStep {
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
    /// Taking less of the processors than the daemon.
    Weight = 16,
}

impl StartStep {
    const ALL: [Self; 16] = [
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
        Self::Weight,
    ];

    pub(crate) fn from_byte(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|step| *step as u8 == byte)
    }

    /// The name of the step, and the remedy when it is refused.
    pub(crate) fn explain(self) -> (&'static str, &'static str) {
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
            Self::Weight => ("take less of the processors than airlock", "allow setpriority"),
            Self::Filter => {
                ("take its filter of system calls", "a kernel with CONFIG_SECCOMP_FILTER is needed")
            }
        }
    }
}

/// Why no program runs.
#[derive(Debug)]
pub(crate) enum StartError {
    /// There is no child.
    Clone(io::Error),
    /// The child could not do one of its steps.
    Step(StartStep, io::Error),
    /// The kernel did not execute the program.
    Execute(io::Error),
}
