//! Leaving the namespaces of the cage, or making new ones in which one is root.

use std::fs::File;
use std::io;
use std::net::TcpStream;

use super::{absent, number};
use crate::attempt::{Attempt, attempt};
use crate::raw::{call, clone3, in_child};

/// Name, namespace, its flag.
const NEW: [(&str, &str, i32); 8] = [
    ("unshare-user", "user", libc::CLONE_NEWUSER),
    ("unshare-net", "network", libc::CLONE_NEWNET),
    ("unshare-mount", "mount", libc::CLONE_NEWNS),
    ("unshare-pid", "process id", libc::CLONE_NEWPID),
    ("unshare-ipc", "IPC", libc::CLONE_NEWIPC),
    ("unshare-uts", "host name", libc::CLONE_NEWUTS),
    ("unshare-cgroup", "cgroup", libc::CLONE_NEWCGROUP),
    ("unshare-time", "time", 0x80),
];

/// A filter that cannot look into `clone3` says that it does not exist.
const ALSO: &[i32] = &[libc::ENOSYS];

/// A network namespace begins with a socket of the kernel's, which a sealed cage refuses as well.
const NO_SOCKET: &[i32] = &[libc::ENOMEM];

/// A directory that is not to be seen, or a process that is not.
const HIDDEN: &[i32] = &[libc::ENOENT, libc::ESRCH];

pub(super) fn attempts() -> Vec<Attempt> {
    let mut attempts: Vec<Attempt> = NEW
        .into_iter()
        .map(|(name, what, flag)| {
            attempt(name, format!("`unshare`: a new {what} namespace"), move |_| unshare(flag))
                // The kernel is built without it, or bounds their number to none.
                .lacks(&[libc::EINVAL, libc::ENOSPC])
                .also(NO_SOCKET)
        })
        .collect();
    attempts.extend([
        attempt("userns-then-net", "be root of new user and network namespaces", |_| {
            unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWNET)
        })
        .also(NO_SOCKET)
        .lacks(&[libc::EINVAL, libc::ENOSPC]),
        attempt("clone-user", "`clone`: a child in a new user namespace", |_| {
            let flags = libc::CLONE_NEWUSER | libc::SIGCHLD;
            match call(libc::SYS_clone, [flags.into(), 0.into(), 0.into(), 0.into(), 0.into()])? {
                0 => std::process::exit(0),
                _ => Ok(()),
            }
        })
        .lacks(&[libc::EINVAL, libc::ENOSPC]),
        attempt("clone3-user", "`clone3`: a child in a new user namespace", |_| {
            clone3(libc::CLONE_NEWUSER, None, || Ok(()))
        })
        .also(ALSO)
        .lacks(&[libc::EINVAL, libc::ENOSPC]),
        attempt("clone3-net", "`clone3`: a child in a new network namespace", |_| {
            clone3(libc::CLONE_NEWNET, None, || Ok(()))
        })
        .also(&[libc::ENOSYS, libc::ENOMEM])
        .lacks(&[libc::EINVAL]),
        attempt("setns-net", "`setns`: the host's network, by its file, then connect", |place| {
            enter(&format!("/proc/{}/ns/net", place.victim), libc::CLONE_NEWNET)?;
            TcpStream::connect(place.tcp[0].ok_or_else(absent)?).map(drop)
        })
        .also(HIDDEN)
        .knocks(),
        attempt("setns-mount", "`setns`: the host's mounts", |place| {
            enter(&format!("/proc/{}/ns/mnt", place.victim), libc::CLONE_NEWNS)
        })
        .also(HIDDEN),
        attempt("setns-pid", "`setns`: the host's process ids", |place| {
            enter(&format!("/proc/{}/ns/pid", place.victim), libc::CLONE_NEWPID)
        })
        .also(HIDDEN),
        attempt("setns-cgroup", "`setns`: the host's view of cgroups", |place| {
            enter(&format!("/proc/{}/ns/cgroup", place.victim), libc::CLONE_NEWCGROUP)
        })
        .also(HIDDEN),
        attempt("setns-pidfd", "`setns`: all of a process's namespaces, by its pidfd", |place| {
            let pid = i64::from(place.victim);
            let pidfd = call(libc::SYS_pidfd_open, [pid.into(), 0.into()])?;
            let all = libc::CLONE_NEWNET | libc::CLONE_NEWNS | libc::CLONE_NEWUTS | libc::CLONE_NEWIPC;
            call(libc::SYS_setns, [pidfd.into(), all.into()]).map(drop)
        })
        .also(HIDDEN),
    ]);
    attempts
}

fn unshare(flags: i32) -> io::Result<()> {
    // In a child, so that nothing of what follows here depends on it.
    in_child(|| call(libc::SYS_unshare, [flags.into()]).map(drop))
}

fn enter(path: &str, kind: i32) -> io::Result<()> {
    let file = File::open(path)?;
    call(libc::SYS_setns, [number(&file).into(), kind.into()]).map(drop)
}
