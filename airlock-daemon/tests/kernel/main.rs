//! The kernel half for real: processes in cells, and in `packets` the early drop judged by the kernel itself.
//!
//! As root on Linux; elsewhere a test prints `SKIPPED: reason` and returns.

mod packets;
#[path = "../support/kernel.rs"]
mod support;

use std::io::{BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;

use airlock::config::schema::{Files, Kernel, KernelMode, Pin, PinNetwork, Rung, Seal};
use airlock::kernel::{Hook, KernelError, KernelHalf, SpawnError};

const EPERM: &str = "1";
const EACCES: &str = "13";

/// A file that is not given may not be opened; where this host permits namespaces, it is not there, and the
/// rest is mounted to be read only.
fn is_withheld(errno: &str) -> bool {
    const ENOENT: &str = "2";
    const EROFS: &str = "30";
    [EACCES, ENOENT, EROFS].contains(&errno)
}

/// Not a test: what the test binary does when it was started as a server.
#[test]
fn probe_process() {
    if let Ok(mode) = std::env::var(support::MODE) {
        support::act(&mode);
    }
}

#[test]
fn a_pinned_server_has_no_ip_socket_and_nothing_of_the_daemons() {
    let Some(half) = support::pinning_unsealed() else { return };
    // A socket that a careless daemon forgot to mark: it must not reach the server.
    let leaked = TcpListener::bind("127.0.0.1:0").expect("a listener");
    rustix::io::fcntl_setfd(&leaked, rustix::io::FdFlags::empty()).expect("a leaked socket");
    let mut server = support::spawn(&half, &Pin::default(), &support::probe("look"));
    let found = support::findings(&mut server);
    for name in ["inet.1", "inet.2", "inet.3", "inet6.1", "inet6.2", "inet6.3"] {
        assert_eq!(found[name], EPERM, "{name}: {found:?}");
    }
    assert_eq!(found["unix"], "0", "socket pairs are no way out and stay free");
    assert_eq!(found["NoNewPrivs"], "1");
    assert_eq!(found["CapAmb"].trim_start_matches('0'), "");
    assert_eq!(found["descriptors"], "3", "standard streams only");
    assert_eq!(found["leader"], "true");
    assert_eq!(found["core"], "0");
    assert_eq!(found["dir"], "/");
    assert_eq!(found["env"], format!("{}:look,PATH:/usr/local/bin:/usr/bin:/bin", support::MODE));
    assert_eq!(found["own"], "0", "its own directory is its to fill");
    assert!(found["cgroup"].contains("/servers/probe-"), "{}", found["cgroup"]);
    let mut said = String::new();
    server.take_stderr().expect("its errors").read_to_string(&mut said).expect("text");
    assert!(said.contains("this goes to standard error"), "{said}");
    let denied = half.cage().denied().expect("counters");
    let sockets = denied.iter().find(|(hook, _)| *hook == Hook::SockCreate).expect("a counter").1;
    // Four of the probe, four of the proof at the start. Raw sockets fail before that: no server has a
    // capability.
    assert_eq!(sockets, 8);
}

#[test]
fn a_server_has_of_the_file_system_what_it_is_given() {
    let Some(half) = support::pinning_unsealed() else { return };
    let dir = support::shown_dir("airlock-files-").expect("a directory");
    let root = std::fs::canonicalize(dir.path()).expect("its path");
    let file = |name: &str| {
        let path = root.join(name).join("file");
        std::fs::create_dir(root.join(name)).expect("a directory");
        std::fs::write(&path, "x").expect("a file");
        path.display().to_string()
    };
    let [shown, given, other, secret] = ["shown", "given", "other", "secret"].map(file);
    half.cage().hide([root.join("secret")]);
    let mut command = support::probe("files");
    command.env.insert(support::NAMES.to_owned(), format!("{shown} {given} {other} {secret} /etc/passwd"));
    let look = |command: &airlock::kernel::ServerCommand| {
        let found = support::findings(&mut support::spawn(&half, &Pin::default(), command));
        move |what: &str| found.get(what).cloned().unwrap_or_else(|| panic!("no `{what}` in {found:?}"))
    };
    // Without a word about files: what its user has, without what is hidden.
    let found = look(&command);
    for path in [&shown, &given, &other] {
        assert_eq!([found(&format!("read {path}")), found(&format!("write {path}"))], ["0", "0"], "{path}");
    }
    assert_eq!([found(&format!("read {secret}")), found(&format!("write {secret}"))], [EACCES; 2]);

    // The paths that are named, and the system's programs; nothing else to read or to write, wherever it
    // starts.
    let files = |read: &str, write: &str| {
        Some(Files { read: vec![root.join(read)], write: vec![root.join(write), root.join("secret")] })
    };
    command.files = files("shown", "given");
    let found = look(&command);
    assert_eq!(found(&format!("read {shown}")), "0");
    assert!(is_withheld(&found(&format!("write {shown}"))));
    assert_eq!([found(&format!("read {given}")), found(&format!("write {given}"))], ["0", "0"]);
    assert!(is_withheld(&found(&format!("read {other}"))) && is_withheld(&found(&format!("write {other}"))));
    assert_eq!(found("read /etc/passwd"), "0");
    assert!(is_withheld(&found("write /etc/passwd")));
    // Airlock's own files stay hidden, even from who is given them by mistake.
    assert_eq!([found(&format!("read {secret}")), found(&format!("write {secret}"))], [EACCES; 2]);

    command.files = files("nowhere", "given");
    let error =
        half.cage().cell("probe", &Pin::default()).expect("a cell").spawn(&command).expect_err("not there");
    assert!(error.to_string().contains("nowhere") && error.to_string().contains("`files`"), "{error}");
}

#[test]
fn fifty_servers_that_connect_at_once_are_all_refused() {
    let Some(half) = support::pinning() else { return };
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let address = listener.local_addr().expect("an address");
    let mut servers: Vec<_> =
        (0..50).map(|_| support::spawn(&half, &Pin::default(), &support::probe("connect"))).collect();
    let mut streams: Vec<_> =
        servers.iter_mut().map(|server| BufReader::new(server.take_stdio().expect("its output"))).collect();
    for stream in &mut streams {
        support::wait_for(stream, "ready");
    }
    for stream in &mut streams {
        writeln!(stream.get_mut(), "{address}").expect("a word");
    }
    for stream in &mut streams {
        support::wait_for(stream, "FOUND connect=1");
    }
    listener.set_nonblocking(true).expect("non-blocking");
    let arrived = listener.accept().expect_err("nobody gets through");
    assert_eq!(arrived.kind(), std::io::ErrorKind::WouldBlock);
}

/// A server may be born in its cage, or go there itself before its program is executed. In both it cannot be
/// faster than the cage.
#[test]
fn no_server_is_faster_than_its_cage() {
    const AT_ONCE: usize = 10;
    // An emulated processor needs a tenth of a second for each.
    let servers = if std::env::var_os("AIRLOCK_GUEST").is_some() { 25 } else { 500 };
    let Some(half) = support::pinning() else { return };
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let address = listener.local_addr().expect("an address").to_string();
    let mut racer = support::probe("race");
    racer.env.insert(support::NAMES.to_owned(), address.clone());
    let mut running = std::collections::VecDeque::new();
    for _ in 0..servers {
        if running.len() == AT_ONCE {
            refused_at_once(running.pop_front().expect("one of them"));
        }
        running.push_back(support::spawn(&half, &Pin::default(), &racer));
    }
    running.into_iter().for_each(refused_at_once);
    listener.set_nonblocking(true).expect("non-blocking");
    let arrived = listener.accept().expect_err("nobody gets through");
    assert_eq!(arrived.kind(), std::io::ErrorKind::WouldBlock);

    // The same program without a cage gets through with its first instruction.
    let free = std::process::Command::new(&racer.program).args(&racer.args).envs(&racer.env).output();
    let said = String::from_utf8(free.expect("a process").stdout).expect("text");
    assert_eq!(said, "FOUND race=0\n");
    listener.accept().expect("a connection");
}

fn refused_at_once(mut racer: airlock::kernel::ServerProcess) {
    assert_eq!(support::findings(&mut racer).get("race").map(String::as_str), Some(EPERM));
}

#[test]
fn a_server_with_the_hosts_network_is_not_pinned_and_says_so() {
    let Some(half) = support::pinning_unsealed() else { return };
    let pin = Pin { network: PinNetwork::Host, ..Pin::default() };
    assert!(!half.cage().cell("probe", &pin).expect("a cell").is_pinned());
    assert!(half.cage().cell("probe", &Pin::default()).expect("a cell").is_pinned());
    let found = support::findings(&mut support::spawn(&half, &pin, &support::probe("look")));
    assert_eq!(found["inet.1"], "0", "{found:?}");
    assert!(found["cgroup"].contains("/unpinned/probe-"), "{}", found["cgroup"]);
}

#[test]
fn killing_a_server_ends_all_that_it_started_and_removes_its_cell() {
    let Some(half) = support::pinning_unsealed() else { return };
    let mut server = support::spawn(&half, &Pin::default(), &support::probe("linger"));
    let cell = cell_of(server.pid());
    let mut output = BufReader::new(server.take_stdio().expect("its output"));
    support::wait_for(&mut output, "started");
    assert_eq!(server.exited(), None);
    assert!(cell.is_dir(), "{}", cell.display());
    let status = server.kill().expect("a status");
    assert_eq!(status.signal(), Some(9));
    assert_eq!(server.kill(), Some(status), "twice is once");
    assert_eq!(server.exited(), Some(status));
    assert!(!cell.exists(), "{}", cell.display());
    // The grandchild held the other end of this stream; its end is the end of the stream.
    let mut rest = String::new();
    output.read_to_string(&mut rest).expect("the end");
}

#[test]
fn a_server_that_ends_by_itself_is_noticed_and_nothing_stays_behind() {
    let Some(half) = support::pinning_unsealed() else { return };
    let mut server = support::spawn(&half, &Pin::default(), &support::probe("connect"));
    let mut stream = BufReader::new(server.take_stdio().expect("its output"));
    support::wait_for(&mut stream, "ready");
    // A server that waits for a word has not ended yet, so its cgroup can be read.
    let cell = cell_of(server.pid());
    let servers = cell.parent().expect("servers").to_path_buf();
    writeln!(stream.get_mut(), "127.0.0.1:9").expect("a word");
    support::wait_for(&mut stream, "FOUND connect=1");
    // It has nothing more to do, so it is ending; the status follows without a signal from here.
    let status = loop {
        if let Some(status) = server.exited() {
            break status;
        }
        std::thread::yield_now();
    };
    assert!(status.success(), "{status}");
    assert!(!cell.exists());
    drop(server);
    drop(half);
    assert!(!servers.exists(), "{}", servers.display());
}

#[test]
fn a_server_keeps_the_cage_even_when_the_daemon_lets_go() {
    let Some(half) = support::pinning() else { return };
    let mut server = support::spawn(&half, &Pin::default(), &support::probe("connect"));
    drop(half);
    let mut stream = BufReader::new(server.take_stdio().expect("its output"));
    support::wait_for(&mut stream, "ready");
    writeln!(stream.get_mut(), "127.0.0.1:9").expect("a word");
    support::wait_for(&mut stream, "FOUND connect=1");
}

#[test]
fn a_server_runs_as_its_user() {
    if !rustix::process::geteuid().is_root() {
        return support::skip("only root can start a process as another user");
    }
    let half = support::start_unsealed();
    let mut command = support::probe("");
    command.program = PathBuf::from("sh");
    command.args = vec!["-c".into(), "echo $(id -u) $(id -G); cat /proc/self/status".into()];
    command.user = Some("nobody".into());
    let mut server = support::spawn(&half, &Pin::default(), &command);
    let mut text = String::new();
    server.take_stdio().expect("its output").read_to_string(&mut text).expect("text");
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some("65534 65534"), "{text}");
    let effective = text.lines().find(|line| line.starts_with("CapEff:")).expect("capabilities");
    assert_eq!(effective, "CapEff:\t0000000000000000");
}

#[test]
fn a_mistake_in_a_command_is_named_before_anything_starts() {
    let half = support::start(KernelMode::Off);
    let dir = tempfile::tempdir().expect("a directory");
    let script = dir.path().join("script");
    std::fs::write(&script, "#!/no/such/interpreter\n").expect("a script");
    let attempt = |change: &dyn Fn(&mut airlock::kernel::ServerCommand)| {
        let mut command = support::probe("look");
        change(&mut command);
        half.cage().cell("docs", &Pin::default()).expect("a cell").spawn(&command).expect_err("a mistake")
    };
    let cases: [(SpawnError, &[&str]); 6] = [
        (
            attempt(&|command| command.program = "no-such-mcp-server".into()),
            &["no-such-mcp-server", "/usr/local/bin:/usr/bin:/bin", "install"],
        ),
        (attempt(&|command| command.program = "/no/such/program".into()), &["/no/such/program", "/no/such"]),
        (attempt(&|command| command.program = "bin/server".into()), &["bin/server", "absolute"]),
        (attempt(&|command| command.program.clone_from(&script)), &["not an executable file", "chmod"]),
        (attempt(&|command| command.working_dir = "/no/such/dir".into()), &["/no/such/dir", "working_dir"]),
        (attempt(&|command| command.user = Some("no-such-user".into())), &["no-such-user", "useradd"]),
    ];
    for (error, parts) in &cases {
        let text = error.to_string();
        for part in *parts {
            assert!(text.contains(part), "`{part}` in: {text}");
        }
    }
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).expect("permissions");
    let error = attempt(&|command| command.program.clone_from(&script));
    assert!(matches!(error, SpawnError::Exec { .. }), "{error}");
    assert!(error.to_string().contains("interpreter"), "{error}");
}

#[test]
fn a_process_that_cannot_confine_itself_does_not_start() {
    let Some(half) = support::pinning_unsealed() else { return };
    let cell = half.cage().cell("probe", &Pin::default()).expect("a cell");
    let parent = half.cage().cell("probe", &Pin::default()).expect("a cell");
    // A removed leaf cannot be entered.
    let servers = support::findings(&mut parent.spawn(&support::probe("look")).expect("a process"));
    let path = servers["cgroup"].rsplit_once('-').map(|(path, _)| format!("{path}-1")).expect("a leaf");
    let removed = support::cgroup_mount().expect("a mount").join(path.trim_start_matches('/'));
    std::fs::remove_dir(&removed).expect("the first leaf");
    let error = cell.spawn(&support::probe("look")).expect_err("no leaf");
    assert!(matches!(error, SpawnError::Cgroup { .. } | SpawnError::Confine { .. }), "{error}");
}

#[test]
fn a_demand_that_this_host_cannot_meet_is_an_error_with_remedies() {
    let config = Kernel { mode: KernelMode::Required, minimum_rung: Some(Rung::Sealed), ..Kernel::default() };
    let config = Kernel { seal: Seal::Off, ..config };
    let error = KernelHalf::start(&config).expect_err("nothing is sealed without the programs");
    assert!(matches!(error, KernelError::BelowMinimum { minimum: Rung::Sealed, .. }), "{error}");
    let text = error.to_string();
    for part in ["`sealed`", "kernel.seal", "kernel.mode: preferred", "airlock kernel doctor"] {
        assert!(text.contains(part), "`{part}` in: {text}");
    }
}

#[test]
fn switched_off_it_does_nothing_and_says_so() {
    let half = support::start(KernelMode::Off);
    assert_eq!(half.report().rung, None);
    assert!(half.early_drop().is_none());
    assert!(half.cage().denied().expect("counters").is_empty());
    let cell = half.cage().cell("probe", &Pin::default()).expect("a cell");
    assert!(!cell.is_pinned());
    let mut server = cell.spawn(&support::probe("look")).expect("a process");
    let found = support::findings(&mut server);
    assert_eq!((found["NoNewPrivs"].as_str(), found["descriptors"].as_str()), ("1", "3"));
    assert!(server.kill().is_some());
}

#[test]
fn the_report_is_json_and_text() {
    let half = support::start(KernelMode::Preferred);
    let json = serde_json::to_value(half.report()).expect("JSON");
    assert!(json["layers"].as_array().is_some_and(|layers| layers.len() > 3), "{json}");
    let text = half.report().to_string();
    assert!(text.contains("rung") && text.contains("seccomp"), "{text}");
}

/// The directory of the cgroup of a process.
fn cell_of(pid: u32) -> PathBuf {
    support::cgroup_of(&pid.to_string()).expect("a cgroup")
}
