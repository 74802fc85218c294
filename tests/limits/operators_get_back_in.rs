//! The lock-out drill: an operator blocks the address that it comes from, is locked out, and gets back in: by
//! the local command, by the block's own end, and by the daemon's, however that ends.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};

use airlock_tests::airlock::{run, until};
use airlock_tests::http::Request;
use airlock_tests::net::{self, Net};
use airlock_tests::{Airlock, Setup, skip};
use rustix::process::Signal;
use serde_json::Value;

use super::offenders_are_blocked;
use super::offenders_packets_are_dropped::{connect, guess};

pub(super) const ME: &str = "10.98.0.2";
pub(super) const OTHER: &str = "10.98.0.3";

/// A door in a network of its own, whose operator is told where its socket is.
pub(super) struct Drill {
    pub(super) net: Net,
    airlock: Airlock,
    _folder: tempfile::TempDir,
    socket: String,
    pub(super) door: SocketAddr,
}

impl Drill {
    /// A door with an operator's socket; `xdp` are the interfaces of the early drop.
    fn begin(xdp: &str, io: &str) -> Option<Self> {
        Self::with(xdp, io, |setup| setup)
    }

    /// The same with more of a setup.
    pub(super) fn with(xdp: &str, io: &str, more: impl Fn(Setup) -> Setup) -> Option<Self> {
        let net = match net::create() {
            Ok(net) => net,
            Err(reason) => {
                skip(&format!("no network namespaces here: {reason}"));
                return None;
            }
        };
        let folder = tempfile::tempdir().expect("a folder");
        let socket = folder.path().join("admin.sock").display().to_string();
        let setup = Setup { io: io.to_owned(), ..offenders_are_blocked::setup("failed_auth: 1000/min") };
        let interfaces: Vec<&str> = xdp.split_whitespace().collect();
        let setup = more(setup).early_drop(&interfaces).observability("admin_listen", &socket);
        let airlock = net.inside(0, || setup.start());
        if !xdp.is_empty() && !airlock.log().contains("early drop attached") {
            skip("this host does not load XDP programs");
            return None;
        }
        let door = SocketAddr::from(([10, 98, 0, 1], airlock.address().port()));
        Some(Self { net, airlock, _folder: folder, socket, door })
    }

    /// `airlock block`: whether it was done, and what it says.
    pub(super) fn block(&self, args: &[&str]) -> (bool, String) {
        let args = [&["block"], args, &["--socket", &self.socket]].concat();
        let (done, said, errors) = run(&args);
        (done, said + &errors)
    }

    fn list(&self) -> Vec<Value> {
        let (_, said) = self.block(&["list", "--json"]);
        let listed: Value = serde_json::from_str(&said).expect("JSON");
        listed["blocks"].as_array().cloned().expect("a list")
    }

    fn guess(&self, from: &str) -> std::io::Result<String> {
        self.net.inside(1, || guess(from, self.door))
    }

    fn connect(&self, from: &str) -> TcpStream {
        self.net.inside(1, || connect(from, self.door)).expect("a connection")
    }

    /// Blocks [`ME`].
    pub(super) fn add(&self, lasting: &str) {
        let (done, said) = self.block(&["add", ME, "--for", lasting, "--reason", "a drill"]);
        assert!(done, "{said}\n{}", self.airlock.log());
    }
}

/// The next packets of this connection go nowhere, and it says so.
fn assert_ended(mut stream: &TcpStream) {
    match stream.read(&mut [0]) {
        Ok(0) => {}
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
        other => panic!("it is still open: {other:?}"),
    }
}

fn assert_open(mut stream: &TcpStream, door: SocketAddr) {
    stream.write_all(&Request::post("/mcp", "{}").bearer("rubbish").bytes(door)).expect("it is open");
    let mut start = [0; 12];
    stream.read_exact(&mut start).expect("an answer");
    assert_eq!(&start, b"HTTP/1.1 401");
}

#[test]
fn who_locks_itself_out_gets_back_in_by_the_local_command() {
    let Some(drill) = Drill::begin("door", "auto") else { return };
    let (mine, others) = (drill.connect(ME), drill.connect(OTHER));
    assert!(drill.guess(ME).expect("an answer").contains(" 401 "));
    let (done, said) = drill.block(&["add", ME, "--for", "10m", "--reason", "a drill"]);
    assert!(done && said.contains("dropped on door") && said.contains("a drill"), "{said}");
    assert_ended(&mine);
    assert_open(&others, drill.door);
    drill.guess(ME).expect_err("it is locked out");
    assert!(drill.guess(OTHER).expect("an answer").contains(" 401 "));

    // The owner of the block, the reason, the place, and the count of its packets.
    let listed = until(|| drill.list().into_iter().find(|block| block["packets"].as_u64() > Some(0)));
    let listed = listed.expect("its packets are counted");
    assert_eq!((&listed["address"], &listed["kind"]), (&ME.into(), &"operator".into()), "{listed}");
    assert_eq!((&listed["reason"], &listed["dropped_on"][0]), (&"a drill".into(), &"door".into()));
    assert_eq!(listed["added_by_uid"], rustix::process::getuid().as_raw());
    // It is still so after a reload.
    drill.airlock.signal(Signal::HUP);
    let reloaded = until(|| drill.airlock.log().contains("reload: the policy on disk").then_some(()));
    assert!(reloaded.is_some(), "{}", drill.airlock.log());
    assert_eq!(drill.list().len(), 1);
    drill.guess(ME).expect_err("it is locked out still");

    assert!(drill.block(&["remove", ME]).0);
    assert!(drill.guess(ME).expect("it is in again").contains(" 401 "));
    assert!(drill.list().is_empty());
    let (done, said) = drill.block(&["remove", ME]);
    assert!(!done && said.contains("is not blocked"), "{said}");
    let blocked = drill.airlock.audited(|r| r["event"] == "address.blocked" && r["client"] == ME);
    let uid = rustix::process::getuid().as_raw();
    let reason = blocked["reason"].as_str().unwrap_or_default();
    assert!(reason.contains(&format!("user {uid} ordered it")) && reason.contains("a drill"), "{reason}");
    let unblocked = drill.airlock.audited(|r| r["event"] == "address.unblocked" && r["client"] == ME);
    assert_eq!(unblocked["reason"], format!("user {uid} lifted it"));
}

#[test]
fn who_locks_itself_out_gets_back_in_when_the_time_is_over() {
    let Some(drill) = Drill::begin("door", "auto") else { return };
    drill.add("2s");
    let back = until(|| drill.guess(ME).ok());
    assert!(back.expect("it is in again").contains(" 401 "), "{}", drill.airlock.log());
    let unblocked = drill.airlock.audited(|r| r["event"] == "address.unblocked" && r["client"] == ME);
    assert_eq!(unblocked["reason"], "its time is over");
    assert!(drill.list().is_empty());
}

#[test]
fn who_locks_itself_out_gets_back_in_when_the_daemon_ends() {
    for signal in [Signal::TERM, Signal::KILL] {
        let Some(mut drill) = Drill::begin("door", "auto") else { return };
        drill.add("1h");
        drill.guess(ME).expect_err("it is locked out");
        let pid = drill.airlock.pid();
        drill.airlock.signal(signal);
        drill.airlock.wait();
        sweep_cgroups(pid);
        let door = drill.door;
        let listener =
            drill.net.inside(0, || until(|| TcpListener::bind(door).ok())).expect("the port is free");
        let _mine = drill.connect(ME);
        assert_eq!(listener.accept().expect("its packets arrive").1.ip().to_string(), ME);
    }
}

#[test]
fn without_the_early_drop_a_block_acts_at_admission() {
    for io in ["auto", "epoll"] {
        let Some(drill) = Drill::begin("", io) else { return };
        let (mine, others) = (drill.connect(ME), drill.connect(OTHER));
        let (done, said) = drill.block(&["add", ME, "--reason", "a drill"]);
        assert!(done && said.contains("requests are refused"), "{said}");
        assert_ended(&mine);
        assert_open(&others, drill.door);
        assert!(drill.guess(ME).expect("an answer").contains(" 429 "));
        assert!(drill.guess(OTHER).expect("an answer").contains(" 401 "));
        assert!(drill.block(&["remove", ME]).0);
        assert!(drill.guess(ME).expect("an answer").contains(" 401 "));
    }
}

#[test]
fn what_must_not_be_blocked_is_refused_with_the_reason() {
    let Some(drill) = Drill::begin("door", "auto") else { return };
    for (address, why) in [
        ("127.0.0.1", "loopback"),
        ("10.98.0.1", "an address of this host"),
        ("fe80::1", "link-local"),
        ("224.0.0.1", "no address of a host"),
        ("10.98.0.0/24", "a firewall's"),
        ("nonsense", "cannot be blocked"),
    ] {
        let (done, said) = drill.block(&["add", address]);
        assert!(!done && said.contains(why), "{address}: {said}");
    }
    let (done, said) = drill.block(&["add", ME, "--for", "31d"]);
    assert!(!done && said.contains("a block lasts between"), "{said}");
    assert!(drill.list().is_empty());
}

#[test]
fn behind_a_trusted_proxy_only_the_client_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let socket = folder.path().join("admin.sock").display().to_string();
    let airlock = offenders_are_blocked::setup("failed_auth: 1000/min")
        .server("trusted_proxies", ["127.0.0.0/8", "198.51.100.0/24"])
        .observability("admin_listen", &socket)
        .start();
    let to = SocketAddr::from(([127, 0, 0, 1], airlock.address().port()));
    let (done, said, errors) = run(&["block", "add", "203.0.113.7", "--socket", &socket]);
    assert!(done && said.contains("requests are refused"), "{said}{errors}");
    let (done, _, errors) = run(&["block", "add", "198.51.100.9", "--socket", &socket]);
    assert!(!done && errors.contains("trusted proxy"), "{errors}");
    // One connection carries both clients, and stays.
    let mut proxy = TcpStream::connect(to).expect("a connection");
    for (client, status) in [("203.0.113.7", "429"), ("203.0.113.8", "401"), ("203.0.113.7", "429")] {
        let head = format!(
            "POST /mcp HTTP/1.1\r\nhost: {to}\r\nx-forwarded-for: {client}\r\ncontent-type: application/json\r\n\
             accept: application/json, text/event-stream\r\nauthorization: Bearer rubbish\r\ncontent-length: 2\r\n\r\n{{}}"
        );
        proxy.write_all(head.as_bytes()).expect("it is open");
        assert_eq!(answer(&mut proxy), status, "{client}");
    }
}

/// A daemon that was killed leaves its cgroup, which under systemd goes with the unit.
fn sweep_cgroups(pid: u32) {
    for root in ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"] {
        for entry in std::fs::read_dir(root).into_iter().flatten().flatten() {
            if entry.file_name().to_string_lossy().starts_with(&format!("airlock-{pid}-")) {
                let below = std::fs::read_dir(entry.path()).into_iter().flatten().flatten();
                for child in below.filter(|child| child.file_type().is_ok_and(|kind| kind.is_dir())) {
                    let _ = std::fs::remove_dir(child.path());
                }
                let _ = std::fs::remove_dir(entry.path());
            }
        }
    }
}

/// Reads one whole answer; its status.
fn answer(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).expect("an answer");
        head.extend(byte);
    }
    let head = String::from_utf8(head).expect("text").to_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).expect("a length");
    let mut body = vec![0; length.parse().expect("a number")];
    stream.read_exact(&mut body).expect("a body");
    head.split(' ').nth(1).unwrap_or_default().to_owned()
}
