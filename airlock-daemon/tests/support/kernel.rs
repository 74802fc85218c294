//! The common parts of the kernel half's tests: cells, a probe process, and skipping with a reason.
#![allow(dead_code, unused_imports, reason = "each test file uses a part of this")]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use airlock::config::schema::{Kernel, KernelMode, Pin, Seal};
use airlock::kernel::{KernelHalf, ServerCommand, ServerProcess};

#[path = "../escapes/raw.rs"]
mod raw;
#[path = "service.rs"]
mod service;
#[path = "../../../tests/src/shown.rs"]
mod shown;
#[path = "../../../tests/src/skip.rs"]
mod skipping;
#[path = "../../../tests/src/slice.rs"]
mod slices;

pub(crate) use service::Service;
pub(crate) use shown::shown_dir;
pub(crate) use skipping::{note, skip};
pub(crate) use slices::{Slice, cgroup_of, mount as cgroup_mount, remove_cgroup};

/// The variable that makes the test binary behave as a probe process.
pub(crate) const MODE: &str = "AIRLOCK_TEST_PROBE";

/// The kernel half as far as this host has it.
pub(crate) fn start(mode: KernelMode) -> Arc<KernelHalf> {
    KernelHalf::start(&Kernel { mode, ..Kernel::default() }).expect("modes other than required always start")
}

/// The refusal of this host, for a reason to skip.
pub(crate) fn refusals(half: &KernelHalf) -> String {
    let refused = half.report().layers.iter().filter(|layer| layer.errno.is_some());
    let details: Vec<&str> = refused.map(|layer| layer.detail.as_str()).collect();
    if details.is_empty() { half.report().to_string() } else { details.join("; ") }
}

/// The kernel half, or `None` and a reason where this host pins nothing.
pub(crate) fn pinning() -> Option<Arc<KernelHalf>> {
    pinning_by(Seal::Auto)
}

/// The same without the programs that seal: they would refuse before others do, and where a kernel has them
/// letting go of them takes seconds in a guest.
pub(crate) fn pinning_unsealed() -> Option<Arc<KernelHalf>> {
    pinning_by(Seal::Off)
}

/// The kernel half without them, whatever else there is.
pub(crate) fn start_unsealed() -> Arc<KernelHalf> {
    start_by(Seal::Off)
}

fn start_by(seal: Seal) -> Arc<KernelHalf> {
    let config = Kernel { mode: KernelMode::Preferred, seal, ..Kernel::default() };
    KernelHalf::start(&config).expect("modes other than required always start")
}

fn pinning_by(seal: Seal) -> Option<Arc<KernelHalf>> {
    let half = start_by(seal);
    if half.report().rung.is_none() {
        skip(&format!("servers cannot be pinned here: {}", refusals(&half)));
        return None;
    }
    Some(half)
}

/// The arguments with which this test binary runs nothing but its test `probe_process`.
pub(crate) const PROBE: [&str; 4] = ["probe_process", "--exact", "--nocapture", "--test-threads=2"];

/// A command that runs this test binary as a probe.
pub(crate) fn probe(mode: &str) -> ServerCommand {
    ServerCommand {
        program: std::env::current_exe().expect("the test binary"),
        args: PROBE.map(str::to_owned).to_vec(),
        env: BTreeMap::from([(MODE.to_owned(), mode.to_owned())]),
        working_dir: PathBuf::from("/"),
        // In mode `required` nobody is root who was not asked to be.
        user: rustix::process::geteuid().is_root().then(|| "root".to_owned()),
        files: None,
    }
}

/// Starts a probe in a cell of its own.
pub(crate) fn spawn(half: &KernelHalf, pin: &Pin, command: &ServerCommand) -> ServerProcess {
    half.cage().cell("probe", pin).expect("a cell").spawn(command).expect("a process")
}

/// Reads a probe's output until it closes it; only the lines that the probe itself wrote.
pub(crate) fn findings(server: &mut ServerProcess) -> BTreeMap<String, String> {
    let mut text = String::new();
    server.take_stdio().expect("its output").read_to_string(&mut text).expect("text");
    found_in(&text)
}

/// The same of output that was read already.
pub(crate) fn found_in(text: &str) -> BTreeMap<String, String> {
    text.lines()
        .filter_map(|line| line.strip_prefix("FOUND ")?.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

/// Waits for one line of a probe's output.
pub(crate) fn wait_for(output: &mut impl BufRead, line: &str) {
    let mut text = String::new();
    while output.read_line(&mut text).expect("a line") > 0 {
        if text.trim_end() == line {
            return;
        }
        text.clear();
    }
    panic!("the probe ended without `{line}`");
}

/// Runs before everything else in the program: before `main`, before the test harness, and before any code of
/// its own.
#[expect(unsafe_code, reason = "nothing else runs before main")]
mod first_instruction {
    // SAFETY: the loader calls what stands in this section, each a function without a result.
    #[used]
    #[unsafe(link_section = ".init_array")]
    static RACE: extern "C" fn() = race;

    extern "C" fn race() {
        if std::env::var(super::MODE).is_ok_and(|mode| mode == "race") {
            let address = std::env::var(super::NAMES).expect("an address");
            super::found("race", super::errno(std::net::TcpStream::connect(address)));
            std::process::exit(0);
        }
    }
}

/// The work of a probe; never returns.
pub(crate) fn act(mode: &str) -> ! {
    match mode {
        "look" => look(),
        "connect" => connect(),
        "linger" => linger(),
        "doors" => doors(),
        "files" => files(),
        "slice" => in_slice(),
        "cgroups" => read_cgroups(),
        "signals" => signals(),
        other => panic!("no such probe: {other}"),
    }
    std::process::exit(0)
}

fn found(name: &str, value: impl std::fmt::Display) {
    let line = format!("FOUND {name}={value}\n");
    std::io::stdout().write_all(line.as_bytes()).expect("stdout");
}

fn errno(result: std::io::Result<impl Sized>) -> i32 {
    result.err().map_or(0, |error| error.raw_os_error().unwrap_or(-1))
}

/// Asks for its cgroup again and again, by several threads, until it is killed.
fn read_cgroups() -> ! {
    let read = || std::fs::read("/proc/self/cgroup").expect("its cgroup");
    for _ in 0..3 {
        std::thread::spawn(move || {
            loop {
                read();
            }
        });
    }
    read();
    println!("reading");
    loop {
        read();
    }
}

/// Tries every way out, and looks at itself.
fn look() {
    use rustix::net::{AddressFamily, SocketType, socket};
    let kinds = [SocketType::STREAM, SocketType::DGRAM, SocketType::RAW];
    for (name, family) in [("inet", AddressFamily::INET), ("inet6", AddressFamily::INET6)] {
        for kind in kinds {
            // Without a protocol a raw socket is refused by the kernel itself.
            let protocol = (kind == SocketType::RAW).then_some(rustix::net::ipproto::ICMP);
            found(
                &format!("{name}.{}", kind.as_raw()),
                errno(socket(family, kind, protocol).map_err(Into::into)),
            );
        }
    }
    found("unix", errno(std::os::unix::net::UnixStream::pair()));
    let status = std::fs::read_to_string("/proc/self/status").expect("status");
    for name in ["NoNewPrivs", "CapAmb"] {
        let value = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(":\t"));
        found(name, value.unwrap_or("?"));
    }
    let descriptors: Vec<String> = std::fs::read_dir("/proc/self/fd")
        .expect("descriptors")
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .collect();
    // One is the directory that is being read.
    found("descriptors", descriptors.len() - 1);
    let session = rustix::process::getsid(None).expect("a session");
    found("leader", session == rustix::process::getpid());
    found("core", rustix::process::getrlimit(rustix::process::Resource::Core).maximum.unwrap_or(u64::MAX));
    found("dir", std::env::current_dir().expect("a directory").display());
    // A program built for coverage sets a variable of its own as it starts.
    let given = std::env::vars().filter(|(name, _)| !name.starts_with("__LLVM_PROFILE") && name != "TMPDIR");
    let mut names: Vec<String> = given.map(|(name, value)| format!("{name}:{value}")).collect();
    names.sort();
    found("env", names.join(","));
    let own = PathBuf::from(std::env::var_os("TMPDIR").expect("a directory of its own"));
    found("own", errno(std::fs::write(own.join("x"), "x")));
    let cgroup = std::fs::read_to_string("/proc/self/cgroup").expect("cgroup");
    found("cgroup", cgroup.lines().find_map(|line| line.strip_prefix("0::")).unwrap_or("?"));
    eprintln!("this goes to standard error");
}

/// Waits for a word, so that many probes connect at one time, then tries.
fn connect() {
    let mut output = std::io::stdout();
    output.write_all(b"ready\n").expect("stdout");
    let mut line = String::new();
    BufReader::new(std::io::stdin()).read_line(&mut line).expect("a word");
    let address = line.trim().parse::<std::net::SocketAddr>().expect("an address");
    found("connect", errno(std::net::TcpStream::connect(address)));
}

/// The variable with the names or paths that a probe goes for, one a word.
pub(crate) const NAMES: &str = "AIRLOCK_TEST_NAMES";

/// Connects to each unix socket that it was told of.
fn doors() {
    for path in std::env::var(NAMES).expect("paths").split(' ') {
        found(path, errno(std::os::unix::net::UnixStream::connect(path)));
    }
}

/// Enters the cgroup of the first word and tries what may not be done there; the other words are sockets.
fn in_slice() {
    use rustix::net::{AddressFamily, SocketType, socket};
    let names = std::env::var(NAMES).expect("paths");
    let (procs, paths) = names.split_once(' ').expect("a cgroup and sockets");
    std::fs::write(procs, "0").expect("not in a cage yet");
    for path in paths.split(' ') {
        found(path, errno(std::os::unix::net::UnixStream::connect(path)));
        let datagrams = std::os::unix::net::UnixDatagram::unbound().expect("a socket");
        found("datagram", errno(datagrams.send_to(b"no", path)));
        found("datagram connect", errno(datagrams.connect(path)));
    }
    let families = [
        ("inet", AddressFamily::INET, SocketType::STREAM),
        ("inet6", AddressFamily::INET6, SocketType::DGRAM),
        ("netlink", AddressFamily::NETLINK, SocketType::RAW),
    ];
    for (name, family, kind) in families {
        found(name, errno(socket(family, kind, None).map_err(Into::into)));
    }
    let address = std::env::temp_dir().join(format!("airlock-probe-{}", std::process::id()));
    found("bind", errno(std::os::unix::net::UnixListener::bind(&address)));
    let _ = std::fs::remove_file(address);
    let write = |file: PathBuf| errno(std::fs::OpenOptions::new().write(true).open(file));
    found("signal", errno(signal_by("ask", parent())));
    let own = PathBuf::from(procs);
    let dir = own.parent().expect("a cgroup");
    found("leave", write(dir.parent().expect("its parent").join("cgroup.procs")));
    found("limit", write(dir.join("cgroup.max.depth")));
    let parent = std::fs::File::open(dir.parent().expect("its parent")).expect("cgroups are read");
    found("child elsewhere", errno(raw::clone3(0, Some(parent.as_raw_fd()), || Ok(()))));
    let here = std::fs::File::open(dir).expect("cgroups are read");
    found("child", errno(raw::clone3(0, None, || Ok(()))));
    found("child here", errno(raw::clone3(0, Some(here.as_raw_fd()), || Ok(()))));
    // The manager of a unit writes its process there a second time.
    found("stay", errno(std::fs::write(&own, "0")));
    let (one, two) = std::os::unix::net::UnixStream::pair().expect("a pair");
    found("pair", errno((&one).write_all(b"x").and_then(|()| (&two).read_exact(&mut [0]))));
    let (one, two) = std::os::unix::net::UnixDatagram::pair().expect("a pair");
    found("datagram pair", errno(one.send(b"x").and_then(|_| two.recv(&mut [0]))));
}

/// A slice of the test's own; none, and the test is skipped, where there can be none. In a guest there can.
pub(crate) fn slice() -> Option<Slice> {
    Slice::create()
        .inspect_err(|reason| {
            assert!(std::env::var_os("AIRLOCK_GUEST").is_none(), "{reason}");
            skip(&format!("no cgroup can be made here: {reason}"));
        })
        .ok()
}

/// The findings of a process that was in the slice before it tried anything. The test binary has a test
/// `probe_process` for it.
pub(crate) fn probe_slice(slice: &Slice, paths: &[String]) -> BTreeMap<String, String> {
    run_probe("slice", &slice.entrance(), paths)
}

/// The findings of a probe that enters a cgroup and has been told of these names.
pub(crate) fn run_probe(mode: &str, entrance: &Path, names: &[String]) -> BTreeMap<String, String> {
    let procs = entrance.display().to_string();
    let names: Vec<&str> = std::iter::once(procs.as_str()).chain(names.iter().map(String::as_str)).collect();
    let output = std::process::Command::new(std::env::current_exe().expect("this program"))
        .args(PROBE)
        .env(MODE, mode)
        .env(NAMES, names.join(" "))
        .output()
        .expect("a process");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    found_in(&String::from_utf8_lossy(&output.stdout))
}

/// The ways to signal a process; the last ends it.
pub(crate) const SIGNALS: [&str; 6] = ["ask", "kill", "tgkill", "sigqueue", "pidfd", "end"];

/// Signals a process in one of [`SIGNALS`].
fn signal_by(way: &str, pid: u32) -> std::io::Result<()> {
    // Whoever did not ask for it ignores it.
    let (pid, harmless) = (i64::from(pid), libc::SIGURG);
    let made = match way {
        "ask" => raw::call(libc::SYS_kill, [pid.into(), 0.into()]),
        "tgkill" => raw::call(libc::SYS_tgkill, [pid.into(), pid.into(), harmless.into()]),
        "sigqueue" => {
            // si_signo, si_errno, si_code (SI_QUEUE)
            let mut info = [0; 128];
            info[..4].copy_from_slice(&harmless.to_ne_bytes());
            info[8..12].copy_from_slice(&(-1_i32).to_ne_bytes());
            raw::call(libc::SYS_rt_sigqueueinfo, [pid.into(), harmless.into(), (&info).into()])
        }
        "pidfd" => raw::call(libc::SYS_pidfd_open, [pid.into(), 0.into()]).and_then(|pidfd| {
            raw::call(libc::SYS_pidfd_send_signal, [pidfd.into(), harmless.into(), 0.into(), 0.into()])
        }),
        "end" => raw::call(libc::SYS_kill, [pid.into(), libc::SIGKILL.into()]),
        _ => raw::call(libc::SYS_kill, [pid.into(), harmless.into()]),
    };
    made.map(drop)
}

fn parent() -> u32 {
    rustix::process::getppid().map_or(0, |pid| pid.as_raw_nonzero().get().unsigned_abs())
}

/// Signals each process that it was told of, then itself and a child of its own. A path among the words is a
/// cgroup that it enters before.
fn signals() {
    let words = std::env::var(NAMES).expect("processes");
    let (entrances, pids): (Vec<&str>, Vec<&str>) = words.split(' ').partition(|word| word.starts_with('/'));
    for entrance in entrances {
        std::fs::write(entrance, "0").expect("not in a cage yet");
    }
    for pid in pids {
        for way in SIGNALS {
            found(&format!("{way} {pid}"), errno(signal_by(way, pid.parse().expect("a number"))));
        }
    }
    let mut child = sleeper();
    for way in SIGNALS {
        found(&format!("{way} child"), errno(signal_by(way, child.id())));
        if way != "end" {
            found(&format!("{way} itself"), errno(signal_by(way, std::process::id())));
        }
    }
    found("group", errno(signal_by("kill", 0)));
    found("ended", child.wait().is_ok_and(|status| status.code().is_none()));
}

/// A process that does nothing.
pub(crate) fn sleeper() -> std::process::Child {
    let mut command = std::process::Command::new("/bin/sh");
    command.args(["-c", "exec sleep 100000"]).stdin(std::process::Stdio::null()).spawn().expect("a shell")
}

/// Reads and writes each file that it was told of.
fn files() {
    for path in std::env::var(NAMES).expect("names").split(' ') {
        found(&format!("read {path}"), errno(std::fs::read(path)));
        found(&format!("write {path}"), errno(std::fs::OpenOptions::new().append(true).open(path)));
    }
}

/// Starts a process that would outlive it, and waits for ever.
fn linger() {
    let mut child = std::process::Command::new("/bin/sh")
        .args(["-c", "trap '' HUP TERM; echo started; exec sleep 100000"])
        .stdin(std::process::Stdio::null())
        .spawn()
        .expect("a shell");
    found("grandchild", child.id());
    child.wait().expect("a child that does not end by itself");
}
