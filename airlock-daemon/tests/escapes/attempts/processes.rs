//! Getting at other processes, the daemon first of all, and gaining privileges by executing something.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::FileExt as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use super::{absent, path};
use crate::attempt::{Attempt, OutsideFacts, attempt};
use crate::inside::{ATTEMPT, PRIVILEGED};
use crate::raw::{Arg, call, in_child};

/// The secret in the victim's memory.
pub(crate) const SECRET: &[u8; 16] = b"airlock's secret";

/// A process or a file that is not to be seen.
const HIDDEN: &[i32] = &[libc::ENOENT, libc::ESRCH];

/// A signal that everybody ignores who did not ask for it.
const HARMLESS: i32 = libc::SIGURG;

pub(super) fn attempts() -> Vec<Attempt> {
    let mut attempts = Vec::from(memory());
    attempts.extend(signals());
    attempts.extend(tuning());
    attempts.extend([
        attempt("proc-environ", "read the daemon's environment", |place| {
            fs::read(proc(place, "environ")).map(drop)
        })
        .also(HIDDEN),
        attempt("proc-root", "look at the host's files by `/proc/PID/root`", |place| {
            let secret = place.daemon.join("secret");
            let below = secret.strip_prefix("/").unwrap_or(&secret);
            fs::read(proc(place, "root").join(below)).map(drop)
        })
        .also(HIDDEN),
        attempt("proc-descriptors", "list the daemon's descriptors", |place| {
            fs::read_dir(proc(place, "fd")).map(drop)
        })
        .root_may()
        .by_own_processes()
        .also(HIDDEN),
        attempt("proc-oom", "have the daemon killed when memory is short", |place| {
            let file = OpenOptions::new().write(true).open(proc(place, "oom_score_adj"));
            file.map(drop)
        })
        .also(&[libc::ENOENT, libc::EROFS]),
        attempt("exec-setuid", "execute a program that runs as root (as su)", |place| {
            gains(place, "setuid", |uid, _| uid == 0)
        })
        .also(&[libc::ENOENT]),
        attempt("exec-capabilities", "execute a program with file capabilities (as ping)", |place| {
            gains(place, "capable", |_, capabilities| capabilities & (1 << CAP_NET_RAW) != 0)
        })
        .also(&[libc::ENOENT]),
    ]);
    attempts
}

fn memory() -> [Attempt; 5] {
    [
        attempt("ptrace-seize", "attach to the daemon as a debugger", |place| {
            let request = i64::from(libc::PTRACE_SEIZE);
            let pid = i64::from(place.victim);
            call(libc::SYS_ptrace, [request.into(), pid.into(), 0.into(), 0.into()]).map(drop)
        })
        .also(HIDDEN),
        attempt("proc-mem-read", "read the daemon's memory by `/proc/PID/mem`", |place| {
            let mut file = File::open(proc(place, "mem"))?;
            file.seek(SeekFrom::Start(place.victim_secret))?;
            let mut found = [0; SECRET.len()];
            file.read_exact(&mut found)?;
            expect_secret(&found)
        })
        .also(HIDDEN),
        attempt("proc-mem-write", "write to the daemon's memory by `/proc/PID/mem`", |place| {
            let file = OpenOptions::new().write(true).open(proc(place, "mem"))?;
            file.write_all_at(SECRET, place.victim_secret)
        })
        .also(&[libc::ENOENT, libc::ESRCH, libc::EROFS]),
        attempt("vm-readv", "`process_vm_readv`: read the daemon's memory", |place| {
            let mut found = [0_u8; SECRET.len()];
            copy(libc::SYS_process_vm_readv, place, found.as_mut_ptr() as u64)?;
            expect_secret(&found)
        })
        .also(HIDDEN),
        attempt("vm-writev", "`process_vm_writev`: write to the daemon's memory", |place| {
            copy(libc::SYS_process_vm_writev, place, SECRET.as_ptr() as u64)
        })
        .also(HIDDEN),
    ]
}

fn signals() -> [Attempt; 6] {
    /// `F_SETOWN_EX` and `FIOSETOWN`.
    const OWNER: [i64; 2] = [15, 0x8901];
    let pid = |place: &OutsideFacts| i64::from(place.victim);
    [
        attempt("kill", "`kill`: a signal to the daemon", move |place| {
            call(libc::SYS_kill, [pid(place).into(), HARMLESS.into()]).map(drop)
        })
        .by_landlock(6)
        .by_own_processes()
        .by_signals()
        .also(HIDDEN),
        attempt("tgkill", "`tgkill`: a signal to a thread of the daemon", move |place| {
            call(libc::SYS_tgkill, [pid(place).into(), pid(place).into(), HARMLESS.into()]).map(drop)
        })
        .by_landlock(6)
        .by_own_processes()
        .by_signals()
        .also(HIDDEN),
        attempt("sigqueue", "`rt_sigqueueinfo`: a signal with data", move |place| {
            // si_signo, si_errno, si_code (SI_QUEUE)
            let mut info = [0; 128];
            info[..4].copy_from_slice(&HARMLESS.to_ne_bytes());
            info[8..12].copy_from_slice(&(-1_i32).to_ne_bytes());
            call(libc::SYS_rt_sigqueueinfo, [pid(place).into(), HARMLESS.into(), (&info).into()]).map(drop)
        })
        .by_landlock(6)
        .by_own_processes()
        .by_signals()
        .also(HIDDEN),
        attempt("pidfd-signal", "`pidfd_send_signal`: a signal by a descriptor", move |place| {
            let pidfd = call(libc::SYS_pidfd_open, [pid(place).into(), 0.into()])?;
            call(libc::SYS_pidfd_send_signal, [pidfd.into(), HARMLESS.into(), 0.into(), 0.into()]).map(drop)
        })
        .by_landlock(6)
        .by_own_processes()
        .by_signals()
        .also(HIDDEN),
        attempt("file-signal", "`fcntl`: have a file signal the daemon when it can be read", move |place| {
            let (ours, _theirs) = std::io::pipe()?;
            // F_OWNER_PID and the number.
            let mut owner = [0; 8];
            owner[..4].copy_from_slice(&1_i32.to_ne_bytes());
            owner[4..].copy_from_slice(&place.victim.to_ne_bytes());
            let file = i64::from(ours.as_raw_fd());
            call(libc::SYS_fcntl, [file.into(), OWNER[0].into(), (&owner).into()])?;
            call(libc::SYS_fcntl, [file.into(), libc::F_SETOWN.into(), pid(place).into()]).map(drop)
        }),
        attempt("socket-signal", "`ioctl`: the same with a socket", move |place| {
            let (ours, _theirs) = UnixStream::pair()?;
            let owner = place.victim.to_ne_bytes();
            let file = i64::from(ours.as_raw_fd());
            call(libc::SYS_ioctl, [file.into(), OWNER[1].into(), (&owner).into()]).map(drop)
        }),
    ]
}

fn tuning() -> [Attempt; 4] {
    let pid = |place: &OutsideFacts| i64::from(place.victim);
    [
        attempt("prlimit", "change the daemon's limits", move |place| {
            let mut old = [0_u8; 16];
            let limit = i64::from(libc::RLIMIT_NOFILE);
            call(libc::SYS_prlimit64, [pid(place).into(), limit.into(), 0.into(), (&mut old[..]).into()])?;
            let same = old;
            call(libc::SYS_prlimit64, [pid(place).into(), limit.into(), (&same).into(), 0.into()]).map(drop)
        })
        .also(HIDDEN),
        attempt("setpriority", "slow the daemon down", move |place| {
            let who = i64::from(libc::PRIO_PROCESS);
            call(libc::SYS_setpriority, [who.into(), pid(place).into(), 1.into()]).map(drop)
        })
        .also(HIDDEN),
        attempt("sched-affinity", "take processors from the daemon", move |place| {
            let mut mask = [0_u8; 128];
            call(libc::SYS_sched_getaffinity, [pid(place).into(), 128.into(), (&mut mask[..]).into()])?;
            let same = mask;
            call(libc::SYS_sched_setaffinity, [pid(place).into(), 128.into(), (&same).into()]).map(drop)
        })
        .also(HIDDEN),
        attempt("kcmp", "compare the daemon's descriptors with one's own", move |place| {
            let own = i64::from(std::process::id());
            call(libc::SYS_kcmp, [own.into(), pid(place).into(), 0.into(), 0.into(), 0.into()]).map(drop)
        })
        .also(HIDDEN),
    ]
}

fn proc(place: &OutsideFacts, file: &str) -> std::path::PathBuf {
    Path::new("/proc").join(place.victim.to_string()).join(file)
}

fn expect_secret(found: &[u8]) -> io::Result<()> {
    if found == SECRET { Ok(()) } else { Err(io::Error::other("something else was read")) }
}

/// Copies between our memory and the victim's.
fn copy(number: libc::c_long, place: &OutsideFacts, ours: u64) -> io::Result<()> {
    let vector = |address: u64| {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&address.to_ne_bytes());
        bytes[8..].copy_from_slice(&(SECRET.len() as u64).to_ne_bytes());
        bytes
    };
    let (ours, theirs) = (vector(ours), vector(place.victim_secret));
    let pid = i64::from(place.victim);
    let args: [Arg<'_>; 6] = [pid.into(), (&ours).into(), 1.into(), (&theirs).into(), 1.into(), 0.into()];
    call(number, args).map(drop)
}

const CAP_NET_RAW: u32 = 13;

/// Executes one of the privileged copies as nobody and asks it what it gained.
fn gains(place: &OutsideFacts, program: &str, gained: fn(u32, u64) -> bool) -> io::Result<()> {
    let program = place.dir.join(program);
    in_child(|| {
        if rustix::process::getuid().is_root() {
            // Root gains nothing by it; whoever it was before does.
            call(libc::SYS_setgroups, [0.into(), 0.into()])?;
            call(libc::SYS_setresgid, [65534.into(), 65534.into(), 65534.into()])?;
            call(libc::SYS_setresuid, [65534.into(), 65534.into(), 65534.into()])?;
        }
        let mut command = Command::new(&program);
        let output = command.env(ATTEMPT, PRIVILEGED).stdin(Stdio::null()).output()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let (uid, capabilities) =
            text.trim().split_once(' ').ok_or_else(|| io::Error::other("it said nothing"))?;
        let uid = uid.parse().map_err(io::Error::other)?;
        let capabilities = u64::from_str_radix(capabilities, 16).map_err(io::Error::other)?;
        if gained(uid, capabilities) { Ok(()) } else { Err(io::Error::from_raw_os_error(libc::EPERM)) }
    })
}

/// The work of a privileged copy: it says who it is and what it may do.
pub(crate) fn privileges() -> ExitCode {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let capabilities = status.lines().find_map(|line| line.strip_prefix("CapEff:\t")).unwrap_or("0");
    println!("{} {capabilities}", rustix::process::geteuid().as_raw());
    ExitCode::SUCCESS
}

/// Gives a file the capability of raw sockets.
pub(crate) fn give_capability(file: &Path) -> io::Result<()> {
    // Version 2 of the attribute, effective; permitted and inheritable, low and high.
    let mut value = Vec::new();
    for number in [0x0200_0001_u32, 1 << CAP_NET_RAW, 0, 0, 0] {
        value.extend(number.to_le_bytes());
    }
    let name = b"security.capability\0";
    let length = i64::try_from(value.len()).map_err(|_| absent())?;
    let file = path(file);
    call(
        libc::SYS_setxattr,
        [file.as_slice().into(), name.into(), value.as_slice().into(), length.into(), 0.into()],
    )
    .map(drop)
}
