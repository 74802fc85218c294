//! A caged server against the processes of another principal that run as the same user, and against the one
//! that reaps for it.

use std::fs;
use std::path::Path;

use airlock_tests::mcp::{Session, text};
use airlock_tests::proc::{descendants, is_first, servers};
use airlock_tests::{Airlock, skip};
use serde_json::{Value, json};

use super::caged_servers_stay_inside::{act, session, wild};

/// Tries everything that names a process on the numbers that it is given, and on all that it may guess; says
/// what came of it, by the number of the error, and 0 for what succeeded.
const ATTACK: &str = r#"
import ctypes, json, os, platform, signal, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
NUMBERS = {"x86_64": {"tgkill": 234, "tkill": 200, "rt_sigqueueinfo": 129, "ptrace": 101, "process_vm_readv": 310},
           "aarch64": {"tgkill": 131, "tkill": 130, "rt_sigqueueinfo": 138, "ptrace": 117, "process_vm_readv": 270}}
NUMBERS = NUMBERS[platform.machine()] | {"pidfd_open": 434, "pidfd_send_signal": 424, "pidfd_getfd": 438}
def call(name, *arguments):
    ctypes.set_errno(0)
    result = libc.syscall(NUMBERS[name], *arguments)
    return result, ctypes.get_errno()
def tried(act, *arguments):
    try:
        act(*arguments)
        return 0
    except OSError as error:
        return error.errno
def by_handle(pid, number):
    handle, errno = call("pidfd_open", pid, 0)
    if handle < 0:
        return errno
    result, errno = call("pidfd_send_signal", handle, number, None, 0)
    os.close(handle)
    return 0 if result == 0 else errno
def read(pid, name):
    def act():
        path = f"/proc/{pid}/{name}"
        if name in ("fd", "task", "map_files"):
            for entry in os.listdir(path):
                os.stat(f"{path}/{entry}")
        elif name in ("root", "cwd", "exe"):
            os.readlink(path)
        else:
            with open(path, "rb") as file:
                file.read(64)
    return tried(act)
def on(pid):
    space = ctypes.create_string_buffer(struct.pack("iii", 15, 0, -1), 128)
    word = ctypes.c_long
    def errno(name, *arguments):
        result, number = call(name, *arguments)
        return 0 if result >= 0 else number
    return {
        "kill": tried(os.kill, pid, signal.SIGTERM),
        "kill group": tried(os.kill, -pid, signal.SIGTERM),
        "probe": tried(os.kill, pid, 0),
        "tgkill": errno("tgkill", pid, pid, 15),
        "tkill": errno("tkill", pid, 15),
        "rt_sigqueueinfo": errno("rt_sigqueueinfo", pid, 15, space),
        "pidfd": by_handle(pid, 15),
        "ptrace": errno("ptrace", word(16), word(pid), None, None),
        "process_vm_readv": errno("process_vm_readv", pid, space, word(1), space, word(1), word(0)),
    } | {name: read(pid, name) for name in
         ("cmdline", "status", "environ", "maps", "mem", "fd", "task", "root", "cwd", "exe", "stat")}
own = {os.getpid(), os.getppid()}
seen = [int(name) for name in os.listdir("/proc") if name.isdigit()]
print(json.dumps({
    "victims": {pid: on(int(pid)) for pid in sys.argv[1:]},
    "seen": len(seen),
    "own": os.getpid(),
    "first": {name: errno for name, errno in on(1).items() if name in ("environ", "maps", "mem", "fd", "root", "ptrace")},
    "signals to the first": [tried(os.kill, 1, number) for number in (1, 2, 9, 15, 19)],
    "orphans": [os.spawnlp(os.P_WAIT, "sh", "sh", "-c", "true & true &") for _ in range(3)],
}))
"#;

/// Two answers of `airlock kernel doctor`: servers have process ids of their own here, and `/proc` shows them
/// no others.
fn has_processes() -> (bool, bool) {
    let (_, report, _) = airlock_tests::airlock::run(&["kernel", "doctor", "--json"]);
    (report.contains("processes of its own"), !report.contains("beside the host's /proc"))
}

/// Two principals with a server each; the second one, its server, and the processes of each.
fn neighbours(airlock: &Airlock) -> (Session, Session, Vec<u32>) {
    let mut mine = session(airlock);
    act(airlock, &mut mine, "look", &json!({}));
    let before = descendants(airlock.pid());
    let bob = airlock.token("bob", "other", &["mcp.users"]);
    let mut other = Session::open(airlock.address(), "/mcp/wild", &bob).expect("a session");
    act(airlock, &mut other, "look", &json!({}));
    let theirs = descendants(airlock.pid()).into_iter().filter(|pid| !before.contains(pid)).collect();
    (mine, other, theirs)
}

fn attack(airlock: &Airlock, attacker: &mut Session, victims: &[u32]) -> Value {
    let victims = victims.iter().map(ToString::to_string);
    let words: Vec<String> =
        ["python3", "-c", ATTACK].into_iter().map(str::to_owned).chain(victims).collect();
    let ran = act(airlock, attacker, "run", &json!({"words": words}));
    let out = ran["out"].as_str().unwrap_or_default();
    serde_json::from_str(out).unwrap_or_else(|error| panic!("{error}: {ran}"))
}

#[test]
fn nothing_of_a_server_reaches_a_process_of_another_principal() {
    let airlock = wild("preferred").start();
    let (has_processes, has_proc) = has_processes();
    if !has_processes {
        return skip("this host permits no namespaces");
    }
    let (mut mine, mut other, theirs) = neighbours(&airlock);
    assert!(theirs.iter().any(|pid| is_first(*pid)), "{theirs:?}");
    // The daemon as well, which is the last that a server should reach.
    let victims = [theirs.as_slice(), &[airlock.pid()]].concat();
    let told = attack(&airlock, &mut mine, &victims);
    for (pid, outcomes) in told["victims"].as_object().expect("each") {
        for (what, errno) in outcomes.as_object().expect("each way") {
            // There is no such process (ESRCH, ENOENT), or the call is refused (EPERM).
            let expected: &[i64] = match what.as_str() {
                "ptrace" | "process_vm_readv" => &[1],
                _ if has_proc => &[2, 3],
                _ => &[1, 2, 3, 13],
            };
            let shown_by_host = !has_proc && ["cmdline", "status", "stat", "task"].contains(&what.as_str());
            let errno = errno.as_i64().expect("a number");
            assert!(shown_by_host || expected.contains(&errno), "{what} of {pid}: {errno}; {told}");
        }
    }
    if has_proc {
        assert!(told["seen"].as_u64().is_some_and(|seen| seen <= 4), "its own and no others: {told}");
    }
    // The first process, which reaps for it, is neither read nor ended.
    for (what, errno) in told["first"].as_object().expect("each way") {
        assert_ne!(errno, 0, "{what} of the first: {told}");
    }
    let mut again = act(&airlock, &mut mine, "look", &json!({}));
    assert!(again["tmpdir"].is_string(), "its own first process stays: {again}");
    again =
        serde_json::from_str(text(&other.call("look", &json!({})).expect("it still works"))).expect("JSON");
    assert!(again["tmpdir"].is_string(), "{again}");
    let still = servers(airlock.pid());
    assert!(
        theirs.iter().filter(|pid| !is_first(**pid)).all(|pid| still.contains(pid)),
        "{theirs:?} {still:?}"
    );
}

#[test]
fn what_reaps_for_a_server_keeps_nothing_of_the_daemon() {
    let airlock = wild("preferred").start();
    if !has_processes().0 {
        return skip("this host permits no namespaces");
    }
    let mut session = session(&airlock);
    // Left behind and ended, they are reaped.
    let ran = act(&airlock, &mut session, "run", &json!({"words": ["sh", "-c", "(true &) ; (true &)"]}));
    assert_eq!(ran["code"], 0, "{ran}");
    let all = descendants(airlock.pid());
    let first = *all.iter().find(|pid| is_first(**pid)).expect("what reaps");
    let entry = |name: &str| fs::read_to_string(format!("/proc/{first}/{name}")).expect("it lives");
    let no_zombies = airlock_tests::airlock::until(|| {
        let is_zombie = |pid: &u32| {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            stat.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with('Z'))
        };
        (!descendants(airlock.pid()).iter().any(is_zombie)).then_some(())
    });
    assert!(no_zombies.is_some(), "zombies are left");
    // It sheds its memory while the server begins, so that is waited for.
    let is_bare = airlock_tests::airlock::until(|| {
        let maps = entry("maps");
        let lost = |line: &str| line.contains("[heap]") || line.contains("-s ") || line.contains("rw-s");
        (entry("comm").trim() == "airlock-init" && !maps.lines().any(lost)).then_some(())
    });
    assert!(is_bare.is_some(), "{}", entry("maps"));
    // Memory that is nobody's file is gone but for a piece of the stack on which it runs.
    let size = |line: &str| {
        let mut fields = line.split_whitespace();
        let (range, flags, inode) = (fields.next()?, fields.next()?, fields.nth(2)?);
        let (start, end) = range.split_once('-')?;
        let number = |text| u64::from_str_radix(text, 16).ok();
        (flags.contains('w') && inode == "0").then_some(number(end)? - number(start)?)
    };
    let left: u64 = entry("maps").lines().filter_map(size).sum();
    assert!(left < 512 * 1_024, "{left} bytes; {}", entry("maps"));
    let files = fs::read_dir(format!("/proc/{first}/fd")).expect("root").count();
    assert_eq!(files, 1, "the one on which it tells");
    // It ends with the server, whose end is told as it was.
    let server = *servers(airlock.pid()).first().expect("a server");
    let server = i32::try_from(server).ok().and_then(rustix::process::Pid::from_raw).expect("a number");
    rustix::process::kill_process(server, rustix::process::Signal::ABORT).expect("ours");
    let gone =
        airlock_tests::airlock::until(|| (!Path::new(&format!("/proc/{first}")).exists()).then_some(()));
    assert!(gone.is_some(), "what reaps is left");
    let lost = session.call("look", &json!({})).expect_err("its server has ended");
    assert!(lost.contains("has ended"), "{lost}");
    assert!(airlock.logs("SIGABRT"), "{}", airlock.log());
}
