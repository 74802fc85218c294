//! A caged server against its host, its neighbours and the daemon that started it.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use airlock_tests::airlock::until;
use airlock_tests::mcp::{Session, text};
use airlock_tests::proc::{descendants, niceness, servers as servers_of};
use airlock_tests::{Airlock, Setup, Upstream, skip, tools};
use rustix::process::Signal;
use serde_json::{Value, json};

/// As many that a recursion through them has no room on the stack of a thread.
const DEEP: u64 = 19_000;

/// The server that goes for its host, in that mode of the cage.
pub(super) fn wild(kernel: &str) -> Setup {
    wild_with(kernel, |server| server)
}

/// The same with more keys of its upstream.
fn wild_with(kernel: &str, keys: impl Fn(Upstream) -> Upstream) -> Setup {
    let server = Upstream::stdio("wild", &[&tools::built("wild-server").display().to_string()]);
    Setup { kernel: kernel.to_owned(), ..Setup::default() }.upstreams(&[keys(server)])
}

pub(super) fn session(airlock: &Airlock) -> Session {
    let opened = Session::open(airlock.address(), "/mcp/wild", &airlock.user());
    opened.unwrap_or_else(|error| panic!("{error}\nlog:\n{}", airlock.log()))
}

/// Has the server do something; how far it came.
pub(super) fn act(airlock: &Airlock, session: &mut Session, tool: &str, arguments: &Value) -> Value {
    let said = session.call(tool, arguments);
    let said = said.unwrap_or_else(|error| panic!("{tool}: {error}\nlog:\n{}", airlock.log()));
    serde_json::from_str(text(&said)).unwrap_or_else(|error| panic!("{tool}: {error}: {said}"))
}

/// True where servers have mounts of their own here.
fn has_mounts(airlock: &Airlock) -> bool {
    let log = airlock.log();
    assert!(log.contains("rung"), "{log}");
    let (_, report, _) = airlock_tests::airlock::run(&["kernel", "doctor", "--json"]);
    let report: Value = serde_json::from_str(&report).expect("a report");
    let layers = report["layers"].as_array().map(Vec::as_slice).unwrap_or_default();
    layers.iter().any(|layer| layer["name"] == "namespaces" && layer["active"] == true)
}

/// Ends the session, and waits until its server has ended.
fn end(airlock: &Airlock, session: &Session) {
    let mut end = session.listen(None);
    "DELETE".clone_into(&mut end.method);
    assert_eq!(airlock.send(&end).status, 204);
    let ended = until(|| descendants(airlock.pid()).is_empty().then_some(()));
    assert!(ended.is_some(), "the server does not end; log:\n{}", airlock.log());
}

/// With mounts of its own what it makes is in memory, bounded, and gone with it; without, it is taken apart
/// on disk.
#[test]
fn a_tree_deeper_than_any_stack_ends_nobody() {
    // In memory there is room for 2,048 files or directories.
    let in_8_mib = wild_with("preferred", |server| server.with("pin", json!({"tmp": "8MiB"})));
    for (kernel, setup) in [("off", wild("off")), ("preferred", in_8_mib)] {
        let mut airlock = setup.start();
        let mut first = session(&airlock);
        let in_memory = kernel == "preferred" && has_mounts(&airlock);
        // Landlock looks at every directory on the way up, so in a domain the deep ones take their time.
        let depth = if in_memory || kernel == "off" { DEEP } else { 4_000 };
        let made = act(&airlock, &mut first, "nest", &json!({"depth": depth}));
        if in_memory {
            assert!(made["made"].as_u64() < Some(2_048) && made["errno"] == 28, "{kernel}: {made}");
        } else {
            assert_eq!(made["made"], depth, "{kernel}: {made}");
        }
        end(&airlock, &first);
        // The leftovers are removed by now, or it is being done: in either case others are served.
        let mut second = session(&airlock);
        let looked = act(&airlock, &mut second, "look", &json!({}));
        assert!(looked["tmpdir"].is_string(), "{kernel}: {looked}");
        if kernel == "off" {
            // The whole of it was more than the stack of the thread that it was done on had room for.
            let own = looked["tmpdir"].as_str().unwrap_or_default();
            let (outer, _) = own.rsplit_once('/').unwrap_or_default();
            let (place, _) = outer.rsplit_once('/').unwrap_or_default();
            assert!(outer.contains("/airlock-server-"), "{looked}");
            assert!(Path::new(place).is_dir());
        }
        end(&airlock, &second);
        assert!(airlock.stop().success(), "{kernel}; log:\n{}", airlock.log());
    }
}

#[test]
fn what_a_server_keeps_for_a_while_has_bounds_and_is_seen_by_nobody() {
    const KIB: u64 = 1_024;
    let airlock = wild_with("preferred", |server| server.with("pin", json!({"tmp": "1MiB"}))).start();
    if !has_mounts(&airlock) {
        return skip("this host permits no mounts of a server's own");
    }
    let mut first = session(&airlock);
    let looked = act(&airlock, &mut first, "look", &json!({}));
    for place in ["tmp", "var_tmp", "shm"] {
        assert_eq!(looked[place], json!([]), "what others keep there is not to be seen: {looked}");
    }
    assert_eq!(looked["tmpdir"], "/tmp");
    // One bound for all three places.
    let mut written = 0;
    for dir in ["/tmp", "/var/tmp", "/dev/shm"] {
        let filled = act(&airlock, &mut first, "fill", &json!({"dir": dir, "kib": 2 * KIB}));
        assert_eq!(filled["errno"], 28, "no space is left: {filled}");
        written += filled["kib"].as_u64().unwrap_or(u64::MAX);
    }
    assert!((KIB / 2..=KIB).contains(&written), "{written} KiB");
    let made = act(&airlock, &mut first, "nest", &json!({"depth": DEEP}));
    assert!(made["made"].as_u64() < Some(KIB) && made["errno"] == 28, "{made}");
    for path in ["/tmp/filled", "/var/tmp/filled", "/dev/shm/filled"] {
        assert!(!Path::new(path).exists(), "{path} is on the host");
    }
    // Nor by its neighbour of another session.
    let mut second = session(&airlock);
    let looked = act(&airlock, &mut second, "look", &json!({}));
    assert_eq!([&looked["tmp"], &looked["shm"]], [&json!([]), &json!([])], "{looked}");
    let filled = act(&airlock, &mut second, "fill", &json!({"kib": KIB / 2}));
    assert_eq!(filled["errno"], 0, "it has room of its own: {filled}");
}

#[test]
fn no_file_is_longer_than_it_may_be() {
    let dir = airlock_tests::shown_dir("airlock-filled-").expect("a directory");
    // Whoever the server runs as.
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o777)).expect("ours");
    let airlock = wild_with("preferred", |server| server.with("pin", json!({"file_size": "64KiB"}))).start();
    let mut session = session(&airlock);
    let looked = act(&airlock, &mut session, "look", &json!({}));
    assert_eq!(looked["file_size"], 64 << 10, "{looked}");
    // The server is ended by a signal that it did not expect.
    let said = session.call("fill", &json!({"dir": dir.path(), "kib": 256}));
    assert!(said.is_err(), "{said:?}");
    let length = std::fs::metadata(dir.path().join("filled")).map(|found| found.len());
    assert_eq!(length.expect("it was begun"), 64 << 10);
}

#[test]
fn nobody_is_root_who_was_not_asked_to_be() {
    if !tools::is_root() {
        return skip("only root can start servers as root");
    }
    if Command::new("id").arg("airlock-mcp").output().is_ok_and(|output| output.status.success()) {
        return skip("this host has a user for servers");
    }
    let failed = Setup { asks_for_root: false, ..wild("required") }.try_start();
    let log =
        failed.map(|airlock| airlock.log()).map_err(|failed| failed.log).expect_err("nobody asked for root");
    // Where the programs of the cage are missing that is said first.
    if !log.contains("this host pins servers on rung") {
        for part in ["upstream wild", "as root", "airlock-mcp", "`user: root`"] {
            assert!(log.contains(part), "`{part}` in: {log}");
        }
    }
    // In the other modes it is the operator's to see; whoever asks for it has it.
    let airlock = wild_with("preferred", |server| server.with("user", "root")).start();
    let looked = act(&airlock, &mut session(&airlock), "look", &json!({}));
    assert_eq!(looked["uid"], "0", "{looked}");
}

/// The directories of servers that this process's user has at that place.
fn directories(of: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(of).into_iter().flatten().flatten();
    let is_ours = |path: &PathBuf| path.to_string_lossy().contains("/airlock-server-");
    entries.map(|entry| entry.path()).filter(is_ours).collect()
}

#[test]
fn what_a_killed_daemon_left_is_gone_with_the_next_start_and_what_a_living_one_has_stays() {
    let mut killed = wild("off").start();
    let mut living = wild("off").start();
    let (mut one, mut two) = (session(&killed), session(&living));
    let outer = |airlock: &Airlock, session: &mut Session| {
        let looked = act(airlock, session, "look", &json!({}));
        let own = PathBuf::from(looked["tmpdir"].as_str().unwrap_or_default());
        own.parent().map(Path::to_path_buf).expect("a directory of the daemon's")
    };
    let (left, kept) = (outer(&killed, &mut one), outer(&living, &mut two));
    act(&killed, &mut one, "nest", &json!({"depth": 2_000}));
    let place = left.parent().expect("a directory").to_path_buf();
    assert!(directories(&place).contains(&left) && directories(&place).contains(&kept));
    let servers = servers_of(killed.pid());
    killed.signal(Signal::KILL);
    killed.wait();
    // Where nothing else does, its servers end by the end of their input.
    assert!(
        until(|| servers.iter().all(|pid| !Path::new(&format!("/proc/{pid}/exe")).exists()).then_some(()))
            .is_some()
    );
    assert!(left.exists(), "nobody was there to remove it");
    // A name that looks like one, and leads elsewhere.
    let link = place.join(format!("airlock-server-{:032x}", u128::from(std::process::id())));
    std::os::unix::fs::symlink(&kept, &link).expect("a link");

    let mut next = wild("off").start();
    let gone = until(|| (!left.exists()).then_some(()));
    let (is_link, still) = (link.symlink_metadata().is_ok(), kept.exists());
    std::fs::remove_file(&link).expect("ours");
    assert!(gone.is_some(), "{} is still there; log:\n{}", left.display(), next.log());
    assert!(is_link && still, "what is not a dead daemon's stays");
    let looked = act(&living, &mut two, "look", &json!({}));
    assert!(looked["tmpdir"].is_string(), "{looked}");
    assert!(next.stop().success() && living.stop().success());
}

#[test]
fn the_cgroups_of_a_killed_daemon_are_gone_with_the_next_start() {
    if !tools::is_root() {
        return skip("cgroups need root");
    }
    let mut killed = wild("preferred").start();
    let mut lost = session(&killed);
    act(&killed, &mut lost, "look", &json!({}));
    let server = *servers_of(killed.pid()).first().expect("a server");
    let leaf = match airlock_tests::slice::cgroup_of(&server.to_string()) {
        Ok(leaf) if leaf.to_string_lossy().contains("-claimed/servers/") => leaf,
        other => return skip(&format!("its servers have no cgroups that it made itself: {other:?}")),
    };
    let mut living = wild("preferred").start();
    let mut kept = session(&living);
    act(&living, &mut kept, "look", &json!({}));
    killed.signal(Signal::KILL);
    killed.wait();
    let base = leaf.ancestors().nth(2).expect("what the daemon made");
    assert!(base.exists());
    let mut next = wild("preferred").start();
    assert!(until(|| (!base.exists()).then_some(())).is_some(), "{}; log:\n{}", base.display(), next.log());
    let looked = act(&living, &mut kept, "look", &json!({}));
    assert!(looked["tmpdir"].is_string(), "a living one keeps its servers: {looked}");
    assert!(next.stop().success() && living.stop().success());
}

/// As a service is: not root, so a server's mounts come with a user namespace, which the daemon has to give
/// its user to.
#[test]
fn the_memory_of_the_daemon_is_closed_to_others_of_its_user() {
    const USER: u32 = 65_534;
    if !tools::is_root() {
        return skip("only root can start the daemon as another user");
    }
    let airlock = Setup { user: Some(USER), ..wild("preferred") }.start();
    let entry = PathBuf::from(format!("/proc/{}", airlock.pid()));
    let limits = std::fs::read_to_string(entry.join("limits")).expect("there");
    let core = limits.lines().find_map(|line| line.strip_prefix("Max core file size")).expect("a limit");
    assert_eq!(core.split_whitespace().take(2).collect::<Vec<_>>(), ["0", "0"]);
    assert_eq!(std::fs::metadata(entry.join("mem")).expect("there").uid(), 0, "its user's no more");
    for file in ["environ", "maps", "mem"] {
        let read = Command::new("dd")
            .arg(format!("if={}", entry.join(file).display()))
            .args(["of=/dev/null", "count=1"])
            .uid(USER)
            .gid(USER)
            .output()
            .expect("a process");
        assert!(!read.status.success(), "another process of its user reads {file}");
        assert!(String::from_utf8_lossy(&read.stderr).contains("ermission denied"), "{read:?}");
    }
    // Its servers have all the same what a server has.
    let mut session = session(&airlock);
    let looked = act(&airlock, &mut session, "look", &json!({}));
    assert_eq!([&looked["core"], &looked["uid"]], [&json!(0), &json!(USER.to_string())], "{looked}");
    let unshared = Command::new("unshare").args(["--user", "--mount", "true"]).uid(USER).gid(USER).output();
    if unshared.is_ok_and(|output| output.status.success()) {
        assert_eq!(looked["tmpdir"], "/tmp", "{looked}\nlog:\n{}", airlock.log());
    }
}

/// A server that computes leaves the daemon time for the calls of others, and takes back none of it.
#[test]
fn a_server_has_less_of_the_processors_than_the_daemon() {
    for kernel in ["off", "preferred"] {
        let airlock = wild(kernel).start();
        let mut mine = session(&airlock);
        act(&airlock, &mut mine, "look", &json!({}));
        let daemon = niceness(airlock.pid()).expect("a running daemon");
        let servers = servers_of(airlock.pid());
        assert!(!servers.is_empty(), "{}", airlock.log());
        for server in servers {
            assert_eq!(niceness(server).expect("a running server"), (daemon + 5).min(19), "{kernel}");
        }
        let words = ["nice", "-n", "-1", "sh", "-c", "cut -d' ' -f19 /proc/self/stat"];
        let ran = act(&airlock, &mut mine, "run", &json!({"words": words}));
        if kernel != "off" {
            assert_eq!(ran["out"], format!("{}\n", (daemon + 5).min(19)), "{ran}");
        }
    }
}

/// Two principals have a server of one user each.
#[test]
fn a_neighbour_of_the_same_user_is_left_alone() {
    let airlock = wild("preferred").start();
    // A server is there with the first call.
    let mut mine = session(&airlock);
    act(&airlock, &mut mine, "look", &json!({}));
    let servers = servers_of(airlock.pid());
    let bob = airlock.token("bob", "other", &["mcp.users"]);
    let mut other = Session::open(airlock.address(), "/mcp/wild", &bob).expect("a session");
    act(&airlock, &mut other, "look", &json!({}));
    let neighbours: Vec<u32> =
        servers_of(airlock.pid()).into_iter().filter(|pid| !servers.contains(pid)).collect();
    let [neighbour] = neighbours.as_slice() else { panic!("one more server: {neighbours:?}") };
    let pid = neighbour.to_string();
    let attacks: [&[&str]; 6] = [
        &["prlimit", "--pid", &pid, "--nofile=4:4"],
        &["taskset", "-p", "1", &pid],
        &["renice", "-n", "19", "-p", &pid],
        &["ionice", "-c", "3", "-p", &pid],
        &["chrt", "-i", "-p", "0", &pid],
        &["kill", "-URG", "--", "-1"],
    ];
    for words in attacks {
        let ran = act(&airlock, &mut mine, "run", &json!({"words": words}));
        if ran["error"].is_string() {
            airlock_tests::skip::note(&format!("{} is not installed", words[0]));
            continue;
        }
        assert!(ran["code"].as_i64().is_some_and(|code| code != 0), "{words:?}: {ran}");
        // It is refused, or there is nobody of that number.
        let refused = |err: &str| err.contains("not permitted") || err.contains("No such process");
        assert!(ran["err"].as_str().is_some_and(refused), "{words:?}: {ran}");
    }
    // An act against itself is its own business.
    let own = act(&airlock, &mut mine, "run", &json!({"words": ["nice", "-n", "5", "true"]}));
    assert_eq!(own["code"], 0, "{own}");
    // The neighbour still opens files, and sees no queue of the other's.
    if has_mounts(&airlock) {
        let made = act(&airlock, &mut mine, "run", &json!({"words": ["ipcmk", "-Q"]}));
        assert_eq!(made["code"], 0, "{made}");
        let seen = |ran: &Value| ran["out"].as_str().unwrap_or_default().matches("0x").count();
        let listed = act(&airlock, &mut mine, "run", &json!({"words": ["ipcs", "-q"]}));
        assert_eq!(seen(&listed), 1, "{listed}");
        let listed = other.call("run", &json!({"words": ["ipcs", "-q"]})).expect("a result");
        assert!(!text(&listed).contains("0x"), "{listed}");
    }
    let looked = other.call("look", &json!({})).expect("it still works");
    assert!(text(&looked).contains("tmpdir"), "{looked}");
}
