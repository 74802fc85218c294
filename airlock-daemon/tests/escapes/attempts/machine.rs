//! The machine below: kernel memory, modules, clocks, terminals, keys, and what else a kernel offers to few.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};

use super::{absent, number};
use crate::attempt::{Attempt, attempt};
use crate::raw::{Arg, call};

/// A file that is not to be seen, or may only be read.
const HIDDEN: &[i32] = &[libc::ENOENT, libc::EROFS];

pub(super) fn attempts() -> Vec<Attempt> {
    let write = |name: &'static str, tries: &str, file: &'static str, text: &'static [u8]| {
        attempt(name, tries, move |_| OpenOptions::new().write(true).open(file)?.write_all(text))
            .also(HIDDEN)
            .lacks(&[libc::ENOENT])
    };
    // A value that would change the machine is written as it is.
    let rewrite = |name: &'static str, tries: &str, file: &'static str| {
        attempt(name, tries, move |_| {
            let mut open = OpenOptions::new().write(true).open(file)?;
            let now = fs::read(file)?;
            open.write_all(if now.is_empty() { b"\n" } else { &now })
        })
        .also(HIDDEN)
        .lacks(&[libc::ENOENT])
    };
    let read = |name: &'static str, tries: &str, file: &'static str| {
        attempt(name, tries, move |_| File::open(file).map(drop)).also(HIDDEN).lacks(&[libc::ENOENT])
    };
    let mut attempts = vec![
        rewrite(
            "core-pattern",
            "have the kernel execute a program of ours outside",
            "/proc/sys/kernel/core_pattern",
        ),
        rewrite("modprobe-path", "the same by the loader of modules", "/proc/sys/kernel/modprobe"),
        // The key that lists the keys.
        write("sysrq", "press the kernel's emergency keys", "/proc/sysrq-trigger", b"h"),
        write("kmsg", "write to the kernel's log", "/dev/kmsg", b"airlock: an attempt to escape\n"),
        rewrite("sysctl-forward", "have the host forward packets", "/proc/sys/net/ipv4/ip_forward"),
        rewrite(
            "uevent-helper",
            "have the kernel execute a program at an event",
            "/sys/kernel/uevent_helper",
        ),
        read("mem", "read the machine's memory", "/dev/mem"),
        read("kcore", "read the kernel's memory", "/proc/kcore"),
        read("tracefs", "trace the kernel", "/sys/kernel/tracing/trace"),
    ];
    attempts.extend(calls());
    attempts.extend(privileged());
    attempts
}

fn calls() -> [Attempt; 9] {
    [
        attempt("userfaultfd", "`userfaultfd`: hold the kernel in the middle of a copy", |_| {
            call(libc::SYS_userfaultfd, [libc::O_CLOEXEC.into()]).map(drop)
        }),
        attempt("add-key", "`add_key`: keep something in the kernel's key ring", |_| {
            const PROCESS: i64 = -2;
            call(
                libc::SYS_add_key,
                [b"user\0".into(), b"airlock\0".into(), b"x".into(), 1.into(), PROCESS.into()],
            )
            .map(drop)
        }),
        attempt("keyctl", "`keyctl`: the session's key ring", |_| {
            const GET_KEYRING_ID: i32 = 0;
            const SESSION: i64 = -3;
            call(libc::SYS_keyctl, [GET_KEYRING_ID.into(), SESSION.into(), 1.into()]).map(drop)
        }),
        attempt("perf-event", "`perf_event_open`: measure the kernel", |_| {
            // A software event: the processor's clock, of this process.
            let mut attributes = [0_u8; 128];
            attributes[..4].copy_from_slice(&1_u32.to_ne_bytes());
            attributes[4..8].copy_from_slice(&128_u32.to_ne_bytes());
            call(
                libc::SYS_perf_event_open,
                [(&attributes).into(), 0.into(), (-1).into(), (-1).into(), 0.into()],
            )
            .map(drop)
        }),
        attempt("personality", "`personality`: addresses that are not random", |_| {
            call(libc::SYS_personality, [libc::ADDR_NO_RANDOMIZE.into()]).map(drop)
        }),
        attempt("io-uring", "`io_uring_setup`: a second gate to the kernel", |_| {
            let mut parameters = [0; 120];
            call(libc::SYS_io_uring_setup, [2.into(), Arg::Buffer(&mut parameters)]).map(drop)
        }),
        attempt("syslog", "read the kernel's log", |_| {
            const SIZE: i32 = 10;
            call(libc::SYS_syslog, [SIZE.into(), 0.into(), 0.into()]).map(drop)
        }),
        attempt("tiocsti", "type at somebody else's terminal (`TIOCSTI`)", |place| {
            let terminal = place.terminal.as_deref().ok_or_else(absent)?;
            // The first terminal that the leader of a session opens is its own, on which anybody may type.
            let _ = rustix::process::setsid();
            let terminal = OpenOptions::new().read(true).write(true).open(terminal)?;
            let request = i64::try_from(libc::TIOCSTI).map_err(io::Error::other)?;
            call(libc::SYS_ioctl, [number(&terminal).into(), request.into(), b"x".into()]).map(drop)
        })
        .also(HIDDEN)
        // Newer kernels are built without it.
        .lacks(&[libc::EIO]),
        attempt("fanotify", "`fanotify_init`: watch everybody's files", |_| {
            call(libc::SYS_fanotify_init, [0.into(), 0.into()]).map(drop)
        }),
    ]
}

/// An act that is refused to everybody but root by its capabilities, and to root in the cage.
fn privileged() -> [Attempt; 8] {
    /// The call was allowed, and failed for what it was given.
    fn reached(result: io::Result<i64>, by: &[i32]) -> io::Result<()> {
        match result {
            Err(error) if error.raw_os_error().is_some_and(|errno| by.contains(&errno)) => Ok(()),
            result => result.map(drop),
        }
    }
    [
        attempt("module", "`init_module`: code of ours in the kernel", |_| {
            reached(
                call(libc::SYS_init_module, [b"none".into(), 4.into(), b"\0".into()]),
                &[libc::ENOEXEC, libc::EBADMSG, libc::ELIBBAD],
            )
        }),
        attempt("kexec", "`kexec_load`: another kernel", |_| {
            // No segments: takes away what was loaded, of which there is nothing.
            reached(call(libc::SYS_kexec_load, [0.into(), 0.into(), 0.into(), 0.into()]), &[])
        }),
        attempt("iopl", "`iopl`: the machine's ports", |_| call(libc::SYS_iopl, [3.into()]).map(drop)),
        attempt("clock", "set the clock", |_| {
            // Only its speed, to what it is.
            const FREQUENCY: u32 = 2;
            let mut clock = [0_u8; 208];
            call(libc::SYS_adjtimex, [Arg::Buffer(&mut clock)])?;
            clock[..4].copy_from_slice(&FREQUENCY.to_ne_bytes());
            call(libc::SYS_adjtimex, [Arg::Buffer(&mut clock)]).map(drop)
        }),
        attempt("hostname", "rename the host", |_| {
            // A name that is too long for any.
            reached(call(libc::SYS_sethostname, [b"x".into(), 4096.into()]), &[libc::EINVAL])
        }),
        attempt("swapon", "`swapon`: a file of ours as memory", |place| {
            let file = super::path(&place.dir.join("docker.sock"));
            reached(call(libc::SYS_swapon, [file.as_slice().into(), 0.into()]), &[libc::EINVAL, libc::ENXIO])
        })
        .also(HIDDEN),
        attempt("acct", "`acct`: no accounting of processes", |_| call(libc::SYS_acct, [0.into()]).map(drop)),
        attempt("reboot", "`reboot`", |_| {
            // Without the right numbers nobody's machine restarts.
            reached(call(libc::SYS_reboot, [0.into(), 0.into(), 0.into(), 0.into()]), &[libc::EINVAL])
        }),
    ]
}
