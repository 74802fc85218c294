//! Servers are started by a process that faces no network, and what faces the network may become no other
//! user.

use std::path::Path;

use airlock_tests::airlock::{docs_upstream, until};
use airlock_tests::mcp::{Session, modern_call, text};
use airlock_tests::{Airlock, Setup, proc, skip, tools};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

/// `CAP_SETGID` and `CAP_SETUID`, by their bits.
const OTHER_USERS: u64 = 1 << 6 | 1 << 7;
/// `CAP_SYS_ADMIN`, `CAP_SYS_PTRACE` and `CAP_SYS_MODULE`, which nothing of the daemon's needs.
const ADMIN: u64 = 1 << 21 | 1 << 19 | 1 << 16;

/// A field of the status of a process or thread.
fn field(entry: &Path, name: &str) -> Option<String> {
    let status = std::fs::read_to_string(entry.join("status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix(name)).map(|value| value.trim().to_owned())
}

fn set(entry: &Path, name: &str) -> Option<u64> {
    u64::from_str_radix(&field(entry, name)?, 16).ok()
}

fn search(airlock: &Airlock) -> u16 {
    let call = modern_call("/mcp/docs", 1, "search_docs", &json!({"query": "review"}));
    airlock.send(&call.bearer(&airlock.user())).status
}

#[test]
fn no_thread_of_the_daemon_may_become_another_user() {
    for mode in ["off", "preferred"] {
        let airlock = Setup { kernel: mode.to_owned(), ..Setup::default() }.start();
        assert_eq!(search(&airlock), 200, "{}", airlock.log());
        let mut threads = 0;
        for task in std::fs::read_dir(format!("/proc/{}/task", airlock.pid())).expect("a running daemon") {
            let task = task.expect("an entry").path();
            for name in ["CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:"] {
                // A thread may end between the listing and the reading.
                let Some(has) = set(&task, name) else { continue };
                // A daemon that is not root has no way to a smaller bound, and no program that would use it.
                if name != "CapBnd:" || tools::is_root() {
                    assert_eq!(
                        has & (OTHER_USERS | ADMIN),
                        0,
                        "{name} {has:x} of {:?}",
                        field(&task, "Name:")
                    );
                }
            }
            threads += 1;
        }
        assert!(threads > 1, "a worker at least besides the first thread");
    }
}

#[test]
fn who_starts_servers_keeps_what_that_takes_and_has_no_socket_of_the_daemons() {
    if !tools::is_root() {
        return skip("only root has capabilities to keep");
    }
    let airlock = Setup { kernel: "preferred".to_owned(), ..Setup::default() }.start();
    assert_eq!(search(&airlock), 200, "{}", airlock.log());
    let spawner = proc::spawner(airlock.pid()).expect("there is one");
    let entry = Path::new("/proc").join(spawner.to_string());
    let has = set(&entry, "CapEff:").expect("there");
    assert_eq!(has & OTHER_USERS, OTHER_USERS, "{has:x}");
    // CAP_NET_ADMIN, CAP_BPF, CAP_SYS_MODULE and CAP_SYS_PTRACE are for nobody who starts servers.
    assert_eq!(has & (1 << 12 | 1 << 39 | 1 << 16 | 1 << 19), 0, "{has:x}");
    let confined = (field(&entry, "NoNewPrivs:"), field(&entry, "Seccomp:"));
    assert_eq!(confined, (Some("1".to_owned()), Some("2".to_owned())));
    // Standard streams, the daemon, and for the one server a channel, its first process and what holds its
    // directory.
    let open = proc::open_file_targets(spawner);
    let sockets = open.iter().filter(|target| target.starts_with("socket:")).count();
    assert!(sockets <= 3 && open.len() <= 7, "{open:?}");
}

#[test]
fn a_killed_spawner_is_told_of_and_calls_go_on() {
    let mut airlock = Setup { upstreams: docs_upstream(), ..Setup::default() }.start();
    let open = || Session::open(airlock.address(), "/mcp/docs", &airlock.user());
    let mut running = open().unwrap_or_else(|error| panic!("{error}\nlog:\n{}", airlock.log()));
    let query = json!({"query": "review"});
    running.call("search_docs", &query).expect("it serves");
    let spawner = proc::spawner(airlock.pid()).expect("there is one");
    let pid = Pid::from_raw(spawner.cast_signed()).expect("a number");
    kill_process(pid, Signal::KILL).expect("ours");
    assert!(airlock.logs("not ready: servers: the process that starts servers"), "{}", airlock.log());
    let said =
        running.call("search_docs", &query).unwrap_or_else(|error| panic!("{error}\n{}", airlock.log()));
    assert!(!text(&said).is_empty());
    // Nobody new gets a server, and the log says why and what to do.
    let other = Session::open(airlock.address(), "/mcp/docs", &airlock.token("bob", "acme", &["mcp.users"]));
    assert!(other.and_then(|mut other| other.call("search_docs", &query)).is_err(), "{}", airlock.log());
    let told = until(|| airlock.log().contains("restart airlock: systemctl restart airlock").then_some(()));
    assert!(told.is_some(), "{}", airlock.log());
    let ready = airlock.send(&airlock_tests::http::Request::get("/ready"));
    assert_eq!(ready.status, 503);
    assert!(airlock.stop().success(), "{}", airlock.log());
}
