//! Where an interface has the early drop, an offender's packets do not even arrive: two network namespaces and a veth pair.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::fd::AsFd as _;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use airlock_tests::airlock::until;
use airlock_tests::http::Request;
use airlock_tests::skip;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, SocketType};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::blocks;

/// Namespaces of the door and of the clients; both vanish with the value.
pub(super) struct Net([String; 2]);

impl Net {
    pub(super) fn create() -> Result<Self, String> {
        // Tests of one process run at the same time.
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let tag = format!("{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let net = Self(["door", "out"].map(|side| format!("airlock-limits-{side}-{tag}")));
        let [door, out] = &net.0;
        ip(&["netns", "add", door])?;
        ip(&["netns", "add", out])?;
        ip(&["-n", door, "link", "set", "lo", "up"])?;
        ip(&["-n", door, "link", "add", "door", "type", "veth", "peer", "name", "out", "netns", out])?;
        ip(&["-n", door, "address", "add", "10.98.0.1/24", "dev", "door"])?;
        for address in ["10.98.0.2/24", "10.98.0.3/24"] {
            ip(&["-n", out, "address", "add", address, "dev", "out"])?;
        }
        ip(&["-n", door, "link", "set", "door", "up"])?;
        ip(&["-n", out, "link", "set", "out", "up"])?;
        Ok(net)
    }

    /// Runs a function on a thread inside one of them.
    pub(super) fn inside<T: Send>(&self, side: usize, work: impl FnOnce() -> T + Send) -> T {
        let path = format!("/run/netns/{}", self.0[side]);
        std::thread::scope(|scope| {
            let worker = scope.spawn(move || {
                let namespace = File::open(&path).expect("a namespace");
                move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
                    .expect("to enter the namespace");
                work()
            });
            worker.join().expect("no panic inside of the namespace")
        })
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        for name in &self.0 {
            let _ = ip(&["netns", "delete", name]);
        }
    }
}

fn ip(args: &[&str]) -> Result<(), String> {
    let output = Command::new("ip").args(args).output().map_err(|error| format!("ip: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("ip {}: {}", args.join(" "), String::from_utf8_lossy(&output.stderr).trim()))
}

/// One guess from that address; the status line of its answer, or what became of it.
pub(super) fn guess(from: &str, to: SocketAddr) -> io::Result<String> {
    let mut stream = connect(from, to)?;
    stream.write_all(&Request::post("/mcp", "{}").bearer("rubbish").bytes(to))?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer.lines().next().unwrap_or_default().to_owned())
}

/// A connection from that address, or none where its packets do not arrive.
pub(super) fn connect(from: &str, to: SocketAddr) -> io::Result<TcpStream> {
    let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None)?;
    set_socket_timeout(&socket, Timeout::Send, Some(Duration::from_millis(700)))?;
    set_socket_timeout(&socket, Timeout::Recv, Some(Duration::from_secs(5)))?;
    let from: IpAddr = from.parse().map_err(io::Error::other)?;
    rustix::net::bind(&socket, &SocketAddr::new(from, 0))?;
    rustix::net::connect(&socket, &to)?;
    Ok(TcpStream::from(socket))
}

#[test]
fn an_offenders_packets_do_not_arrive_for_a_while() {
    let net = match Net::create() {
        Ok(net) => net,
        Err(reason) => return skip(&format!("no network namespaces here: {reason}")),
    };
    let mut setup = blocks::setup("failed_auth: 1/h, kernel_drop: {after: 2, for: 4s, at_most: 1h}");
    setup.more = format!("  xdp: {{interfaces: [door], mode: generic}}\n{}", setup.more);
    let airlock = net.inside(0, || setup.start());
    if !airlock.log().contains("early drop attached") {
        return skip("this host does not load XDP programs");
    }
    let door = SocketAddr::from(([10, 98, 0, 1], airlock.address().port()));
    net.inside(1, || {
        assert!(guess("10.98.0.2", door).expect("an answer").contains(" 401 "));
        let dropped = until(|| guess("10.98.0.2", door).is_err().then_some(()));
        assert!(dropped.is_some(), "its packets still arrive:\n{}", airlock.log());
        assert!(guess("10.98.0.3", door).expect("another's packets arrive").contains(" 401 "));
    });
    let record = airlock.audited(|r| r["event"] == "address.blocked");
    assert_eq!(record["client"], "10.98.0.2", "{record}");
    let reason = record["reason"].as_str().unwrap_or_default();
    assert!(reason.contains("its packets are dropped by the kernel for 4s"), "{reason}");
    airlock.audited(|r| r["event"] == "address.unblocked" && r["client"] == "10.98.0.2");
    let again = net.inside(1, || guess("10.98.0.2", door)).expect("they arrive again");
    assert!(again.contains(" 429 "), "{again}");
}
