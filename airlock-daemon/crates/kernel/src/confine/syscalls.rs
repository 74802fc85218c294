//! The system calls that no server is given, as data: each group with the reason why.
//!
//! It is a list of what is refused and not of what is allowed, because servers are programs of strangers on
//! every runtime there is, and what such a program does for itself has to work on the day its C library takes
//! to a new system call. A group stands here when it leads out of the cage, reaches other processes, or opens
//! a part of the kernel that a server has no use for. All of it fails with `EPERM`, so that a program may go
//! on without.

use libc::{
    AF_INET, AF_INET6, AF_UNIX, CLONE_NEWCGROUP, CLONE_NEWIPC, CLONE_NEWNET, CLONE_NEWNS, CLONE_NEWPID,
    CLONE_NEWUSER, CLONE_NEWUTS, F_SETOWN, S_IFBLK, S_IFCHR, S_IFMT, TIOCLINUX, TIOCSTI, c_long,
};

/// A system call, and when it is refused: always where `when` is empty, otherwise where all conditions of one
/// row hold.
pub(crate) struct Call {
    /// Its number on this architecture.
    pub(crate) number: c_long,
    /// The rows.
    pub(crate) when: &'static [&'static [When]],
}

/// The value of the lower 32 bits of an argument, counted from zero, for which a call is refused. The upper
/// ones are not looked at: the kernel itself takes these arguments as 32-bit numbers.
#[derive(Clone, Copy)]
pub(crate) enum When {
    /// Another value.
    IsNot(u8, u32),
    /// These bits under the mask.
    Has(u8, u32, u32),
}

/// Calls that are refused for one reason.
pub(super) struct Group {
    /// The reason.
    pub(crate) why: &'static str,
    /// Which.
    pub(crate) calls: &'static [Call],
}

const fn always(number: c_long) -> Call {
    Call { number, when: &[] }
}

/// Flags and types are given as signed numbers and mean bits.
const fn bits(number: i32) -> u32 {
    number.cast_unsigned()
}

const NOT_UNIX: &[&[When]] = &[&[When::IsNot(0, bits(AF_UNIX))]];

const NOT_UNIX_OR_IP: &[&[When]] =
    &[&[When::IsNot(0, bits(AF_UNIX)), When::IsNot(0, bits(AF_INET)), When::IsNot(0, bits(AF_INET6))]];

const NEW_NAMESPACE: &[&[When]] = &[
    &[has(CLONE_NEWNS)],
    &[has(CLONE_NEWCGROUP)],
    &[has(CLONE_NEWUTS)],
    &[has(CLONE_NEWIPC)],
    &[has(CLONE_NEWUSER)],
    &[has(CLONE_NEWPID)],
    &[has(CLONE_NEWNET)],
];

/// Another process than the caller is named.
const OTHERS: &[&[When]] = &[&[When::IsNot(0, 0)]];

/// `PRIO_USER`: all processes of a user.
const PRIO_USER: u32 = 2;
/// `IOPRIO_WHO_USER`: the same.
const IOPRIO_USER: u32 = 3;
/// Whom a file's signals go to, as `fcntl` and `ioctl` spell it; the last two are for sockets.
const F_SETOWN_EX: u32 = 15;
const FIOSETOWN: u32 = 0x8901;
const SIOCSPGRP: u32 = 0x8902;
/// -1: all processes that may be sent a signal.
const EVERYBODY: u32 = u32::MAX;

const fn is(argument: u8, value: u32) -> When {
    When::Has(argument, u32::MAX, value)
}

const fn has(flag: i32) -> When {
    When::Has(0, bits(flag), bits(flag))
}

/// Sockets of other families. A kernel that has the cage's programs refuses most of them anyway; this one
/// also those that `cgroup/sock_create` does not see: netlink, packet, vsock, the crypto interface and what a
/// later kernel brings.
pub(super) const FAMILIES: Group = Group {
    why: "sockets of other families than unix",
    calls: &[
        Call { number: libc::SYS_socket, when: NOT_UNIX },
        Call { number: libc::SYS_socketpair, when: NOT_UNIX },
    ],
};

/// The same in a cage whose programs refuse IP: that is left to them, because they tell of it and a filter
/// cannot.
pub(super) const FAMILIES_BUT_IP: Group = Group {
    why: "sockets of other families than unix and IP",
    calls: &[
        Call { number: libc::SYS_socket, when: NOT_UNIX_OR_IP },
        Call { number: libc::SYS_socketpair, when: NOT_UNIX },
    ],
};

/// The calls that a cage is built with, and that a server in it is not given.
pub(super) const BUILDING: &[Group] = &[
    Group {
        why: "namespaces, where a process without privileges gets them",
        calls: &[
            always(libc::SYS_unshare),
            always(libc::SYS_setns),
            Call { number: libc::SYS_clone, when: NEW_NAMESPACE },
        ],
    },
    Group {
        why: "mounts, and another root directory",
        calls: &[
            always(libc::SYS_mount),
            always(libc::SYS_umount2),
            always(libc::SYS_pivot_root),
            always(libc::SYS_chroot),
            always(libc::SYS_open_tree),
            always(libc::SYS_move_mount),
            always(libc::SYS_fsopen),
            always(libc::SYS_fsconfig),
            always(libc::SYS_fsmount),
            always(libc::SYS_fspick),
            always(libc::SYS_mount_setattr),
        ],
    },
];

/// Everything else that a server is not given, besides [`BUILDING`] and [`NOBODY`]; nothing here depends on
/// the configuration. The process that starts servers is not given it either.
pub(crate) const SERVERS: &[Group] = &[
    Group {
        // A ring makes sockets and connects them without a system call that a filter could look at.
        why: "io_uring, which goes past every filter of system calls",
        calls: &[
            always(libc::SYS_io_uring_setup),
            always(libc::SYS_io_uring_enter),
            always(libc::SYS_io_uring_register),
        ],
    },
    Group {
        // Servers of one user are neighbours. A call that names no process is for the caller itself; one that
        // names a user, or everybody, is for all of them. A program may leave its own number out of such a
        // call.
        why: "limits, priority, processors and pages of other processes, and signals to everybody",
        calls: &[
            Call { number: libc::SYS_prlimit64, when: OTHERS },
            Call { number: libc::SYS_sched_setaffinity, when: OTHERS },
            Call { number: libc::SYS_sched_setscheduler, when: OTHERS },
            Call { number: libc::SYS_sched_setparam, when: OTHERS },
            Call { number: libc::SYS_sched_setattr, when: OTHERS },
            Call { number: libc::SYS_migrate_pages, when: OTHERS },
            Call { number: libc::SYS_move_pages, when: OTHERS },
            Call { number: libc::SYS_setpriority, when: &[&[When::IsNot(1, 0)], &[is(0, PRIO_USER)]] },
            Call { number: libc::SYS_ioprio_set, when: &[&[When::IsNot(1, 0)], &[is(0, IOPRIO_USER)]] },
            Call { number: libc::SYS_kill, when: &[&[When::Has(0, u32::MAX, EVERYBODY)]] },
        ],
    },
    Group { why: "programs in the kernel", calls: &[always(libc::SYS_bpf)] },
];

/// Neither a server nor the daemon is given these: the daemon has no use for them once it has started, and
/// the processes that it starts inherit the refusal.
pub(super) const NOBODY: &[Group] = &[
    Group {
        // The last one also takes descriptors, sockets among them, out of a process.
        why: "the memory, registers and descriptors of other processes",
        calls: &[
            always(libc::SYS_ptrace),
            always(libc::SYS_process_vm_readv),
            always(libc::SYS_process_vm_writev),
            always(libc::SYS_process_madvise),
            always(libc::SYS_kcmp),
            always(libc::SYS_pidfd_getfd),
        ],
    },
    Group {
        why: "watching the kernel",
        calls: &[always(libc::SYS_perf_event_open), always(libc::SYS_syslog)],
    },
    Group {
        // Both stop the kernel in the middle of a copy, which is what many exploits of races need.
        why: "page faults in the hands of a program",
        calls: &[always(libc::SYS_userfaultfd)],
    },
    Group {
        // Keys belong to users and sessions, not to cages.
        why: "the kernel's keys",
        calls: &[always(libc::SYS_add_key), always(libc::SYS_request_key), always(libc::SYS_keyctl)],
    },
    Group {
        // By a handle a file is opened past every directory on its way.
        why: "files past their paths, and watching those of others",
        calls: &[
            always(libc::SYS_open_by_handle_at),
            always(libc::SYS_fanotify_init),
            always(libc::SYS_quotactl),
            always(libc::SYS_acct),
        ],
    },
    Group {
        why: "devices",
        calls: &[
            Call {
                number: libc::SYS_mknodat,
                when: &[&[When::Has(2, S_IFMT, S_IFCHR)], &[When::Has(2, S_IFMT, S_IFBLK)]],
            },
            #[cfg(target_arch = "x86_64")]
            Call {
                number: libc::SYS_mknod,
                when: &[&[When::Has(1, S_IFMT, S_IFCHR)], &[When::Has(1, S_IFMT, S_IFBLK)]],
            },
            #[cfg(target_arch = "x86_64")]
            always(libc::SYS_iopl),
            #[cfg(target_arch = "x86_64")]
            always(libc::SYS_ioperm),
        ],
    },
    Group {
        // Characters pushed back to a terminal are read by whoever has it next. A file sends any signal to
        // any process of the user, and no hook of the kernel's can tell who asked for it. To take the owner
        // away (0) is free.
        why: "writing into terminals, and having a file signal somebody",
        calls: &[
            Call {
                number: libc::SYS_ioctl,
                when: &[
                    #[expect(clippy::cast_possible_truncation, reason = "the kernel takes it as 32 bits")]
                    &[is(1, TIOCSTI as u32)],
                    #[expect(clippy::cast_possible_truncation, reason = "the kernel takes it as 32 bits")]
                    &[is(1, TIOCLINUX as u32)],
                    &[is(1, FIOSETOWN)],
                    &[is(1, SIOCSPGRP)],
                ],
            },
            Call {
                number: libc::SYS_fcntl,
                when: &[&[is(1, bits(F_SETOWN)), When::IsNot(2, 0)], &[is(1, F_SETOWN_EX)]],
            },
        ],
    },
    Group {
        why: "the kernel itself: modules, another kernel, restart, swap",
        calls: &[
            always(libc::SYS_init_module),
            always(libc::SYS_finit_module),
            always(libc::SYS_delete_module),
            always(libc::SYS_kexec_load),
            always(libc::SYS_kexec_file_load),
            always(libc::SYS_reboot),
            always(libc::SYS_swapon),
            always(libc::SYS_swapoff),
        ],
    },
    Group {
        why: "the host's clock and name",
        calls: &[
            always(libc::SYS_settimeofday),
            always(libc::SYS_clock_settime),
            always(libc::SYS_clock_adjtime),
            always(libc::SYS_adjtimex),
            always(libc::SYS_sethostname),
            always(libc::SYS_setdomainname),
        ],
    },
    Group {
        // Another personality makes some of the kernel's protections void. Asking for the one in force (all
        // bits) is free.
        why: "the habits of other systems",
        calls: &[
            Call { number: libc::SYS_personality, when: &[&[When::IsNot(0, 0), When::IsNot(0, u32::MAX)]] },
            #[cfg(target_arch = "x86_64")]
            always(libc::SYS_modify_ldt),
            always(libc::SYS_vhangup),
        ],
    },
];
