//! The early drop on a real interface: a pair of veth devices between two network namespaces that this test
//! creates.

#[path = "../../tests/src/net/netns.rs"]
mod netns;
#[path = "../../tests/src/skip.rs"]
mod support;

use std::io::Read as _;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use airlock::config::schema::{Kernel, KernelMode, Seal, Xdp, XdpMode};
use airlock::kernel::{EarlyDrop, KernelHalf, Reason, Verdict};
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, socket_with};

use netns::{CLIENTS, Net, SERVER};

const OUR_PORT: u16 = 8080;
const OTHER_PORT: u16 = 2222;

/// A server with one address of each family, and two clients of it; none, and the reason why not is said,
/// where there are no namespaces.
fn net() -> Option<Net> {
    let clients = ["10.99.0.2/24", "10.99.0.3/24", "fd99:0:0:2::1/48", "fd99:0:0:3::1/48"];
    Net::create(&["10.99.0.1/24", "fd99::1/48"], &clients)
        .inspect_err(|reason| support::skip(&format!("no network namespaces here: {reason}")))
        .ok()
}

/// Without the programs that seal, of which packets know nothing, and which take a second to load in a guest.
fn unsealed() -> Kernel {
    Kernel { seal: Seal::Off, ..Kernel::default() }
}

/// The kernel half in the server's namespace, with this early drop.
fn start(net: &Net, xdp: Xdp) -> Arc<KernelHalf> {
    let config = Kernel { mode: KernelMode::Preferred, xdp, ..unsealed() };
    net.inside(SERVER, || KernelHalf::start(&config).expect("preferred always starts"))
}

/// A source reaches a listener.
fn reach(net: &Net, from: IpAddr, listener: &TcpListener) {
    let to = listener.local_addr().expect("an address");
    let _client = net.inside(CLIENTS, || start_connecting(from, to));
    assert_eq!(listener.accept().expect("a connection").1.ip(), from);
}

fn address(text: &str) -> IpAddr {
    text.parse().expect(text)
}

/// A listener of the server's. A child that another test starts holds copies of all sockets until its exec,
/// so a port that was just given back may be taken for a moment.
fn listen(net: &Net, at: (IpAddr, u16)) -> TcpListener {
    net.inside(SERVER, || {
        loop {
            match TcpListener::bind(at) {
                Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => std::thread::yield_now(),
                bound => return bound.expect("a listener"),
            }
        }
    })
}

/// Starts a connection from a chosen source and does not wait for it.
fn start_connecting(from: IpAddr, to: SocketAddr) -> rustix::fd::OwnedFd {
    let family = if from.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = socket_with(family, SocketType::STREAM, flags, None).expect("a socket");
    bind(&socket, &SocketAddr::new(from, 0)).expect("its source");
    match connect(&socket, &to) {
        Ok(()) | Err(rustix::io::Errno::INPROGRESS) => socket,
        Err(error) => panic!("{from} to {to}: {error}"),
    }
}

/// The daemon listens on one port of all addresses of both families.
fn protect(net: &Net, early_drop: &EarlyDrop) {
    let sockets = ["0.0.0.0", "::"].map(|all| SocketAddr::new(address(all), OUR_PORT));
    net.inside(SERVER, || early_drop.set_sockets(&sockets)).expect("sockets");
}

/// TCX came with 6.6.
fn kernel_has_tcx() -> bool {
    let uname = rustix::system::uname();
    let release = uname.release().to_string_lossy();
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|number| number.parse().unwrap_or(0));
    (numbers.next(), numbers.next()) >= (Some(6_u32), Some(6_u32))
}

fn count(early_drop: &EarlyDrop, wanted: Verdict) -> u64 {
    let counters = early_drop.counters().expect("counters");
    counters.into_iter().find(|(verdict, _)| *verdict == wanted).expect("a counter").1
}

fn a_listed_source_is_dropped_and_nothing_else(mode: XdpMode, attached_as: &str) {
    let Some(net) = net() else { return };
    let half = start(&net, Xdp { interfaces: vec!["door".into()], mode, ..Xdp::default() });
    let Some(early_drop) = half.early_drop() else {
        return support::skip(&format!("XDP does not attach here: {}", half.report()));
    };
    assert_eq!(early_drop.attached()[0].mode, attached_as);
    protect(&net, early_drop);

    for (server, listed, neighbour) in
        [("10.99.0.1", "10.99.0.2", "10.99.0.3"), ("fd99::1", "fd99:0:0:2::1", "fd99:0:0:3::1")]
    {
        let [server, listed, neighbour] = [server, listed, neighbour].map(address);
        let ours = only_the_listed_is_dropped(&net, early_drop, server, listed, Some(neighbour));
        // The host cannot be talked into dropping itself.
        let error = net
            .inside(SERVER, || early_drop.block(server, Duration::from_secs(1), Reason::Operator))
            .expect_err("its own address");
        assert!(error.to_string().contains("address of this host"), "{error}");

        assert!(early_drop.unblock(listed).expect("an answer"));
        reach(&net, listed, &ours);
    }
}

#[test]
fn natively_a_listed_source_is_dropped_and_nothing_else() {
    a_listed_source_is_dropped_and_nothing_else(XdpMode::Auto, "native");
}

#[test]
fn generically_a_listed_source_is_dropped_and_nothing_else() {
    a_listed_source_is_dropped_and_nothing_else(XdpMode::Generic, "generic");
}

/// A source is blocked at a daemon that listens on one address of several: the same port of another address,
/// where another service listens, stays open to it.
#[test]
fn another_service_on_the_same_port_is_not_closed() {
    let Some(net) = net() else { return };
    let half = start(&net, Xdp { interfaces: vec!["door".into()], ..Xdp::default() });
    let Some(early_drop) = half.early_drop() else {
        return support::skip(&format!("XDP does not attach here: {}", half.report()));
    };
    net.shell(SERVER, "ip address add 10.99.0.9/24 dev door").expect("another address");
    let [ours, theirs, listed] = ["10.99.0.1", "10.99.0.9", "10.99.0.2"].map(address);
    let sockets = [ours, address("127.0.0.1")].map(|address| SocketAddr::new(address, OUR_PORT));
    early_drop.set_sockets(&sockets).expect("sockets");
    only_the_listed_is_dropped(&net, early_drop, ours, listed, None);
    let other = listen(&net, (theirs, OUR_PORT));
    reach(&net, listed, &other);
    drop(other);
    // The same once the daemon has that address alone.
    early_drop.set_sockets(&[SocketAddr::new(theirs, OUR_PORT)]).expect("sockets");
    assert!(early_drop.unblock(listed).expect("a map"));
    only_the_listed_is_dropped(&net, early_drop, theirs, listed, None);
}

#[test]
fn behind_another_xdp_program_a_listed_source_is_dropped_at_tcx() {
    let Some(net) = net() else { return };
    let first = start(&net, Xdp { interfaces: vec!["door".into()], ..Xdp::default() });
    let second = start(&net, Xdp { interfaces: vec!["door".into()], ..Xdp::default() });
    let (Some(_), Some(early_drop)) = (first.early_drop(), second.early_drop()) else {
        return support::skip(&format!("XDP does not attach here: {}", second.report()));
    };
    if !kernel_has_tcx() {
        return support::skip("this kernel has no TCX");
    }
    let attached = early_drop.attached();
    assert_eq!(attached.first().map(|place| place.mode), Some("tcx"), "{}", second.report());
    protect(&net, early_drop);
    for (server, listed) in [("10.99.0.1", "10.99.0.2"), ("fd99::1", "fd99:0:0:2::1")] {
        only_the_listed_is_dropped(&net, early_drop, address(server), address(listed), None);
    }
    let counted = early_drop.find(address("10.99.0.2")).expect("a map").expect("a block");
    assert!(counted.packets > 0);
}

#[test]
fn without_tcx_an_interface_that_is_taken_is_named_with_its_holder_and_what_helps() {
    if kernel_has_tcx() {
        return support::skip("this kernel has TCX, the second choice");
    }
    let Some(net) = net() else { return };
    let xdp = || Xdp { interfaces: vec!["door".into()], ..Xdp::default() };
    let first = start(&net, xdp());
    if first.early_drop().is_none_or(|early_drop| early_drop.attached().is_empty()) {
        return support::skip(&format!("XDP does not attach here: {}", first.report()));
    }
    let says_all = |text: &str| {
        for part in ["interface door", "another XDP program", "`early_drop`", "bpftool net", "from 6.6 on"] {
            assert!(text.contains(part), "{part}: {text}");
        }
    };
    let second = start(&net, xdp());
    says_all(&second.report().to_string());
    let attached = second.early_drop().map(EarlyDrop::attached).unwrap_or_default();
    assert!(attached.is_empty(), "{attached:?}");
    let required = Kernel { mode: KernelMode::Required, xdp: xdp(), ..unsealed() };
    let error = net.inside(SERVER, || KernelHalf::start(&required)).expect_err("required means required");
    says_all(&error.to_string());

    // The program that was there first works on; once it is gone, the next look attaches.
    let [server, listed] = ["10.99.0.1", "10.99.0.2"].map(address);
    let early_drop = first.early_drop().expect("it was there");
    protect(&net, early_drop);
    only_the_listed_is_dropped(&net, early_drop, server, listed, None);
    drop(first);
    net.inside(SERVER, || second.early_drop().expect("loaded").refresh_interfaces());
    let attached = second.early_drop().map(EarlyDrop::attached).unwrap_or_default();
    assert_eq!(attached.first().map(|place| place.mode), Some("native"));
}

/// The program for TCX is loaded only then, long after the maps were made.
#[test]
fn behind_another_xdp_program_on_an_interface_that_appears_later_it_is_dropped_at_tcx() {
    let Some(net) = net() else { return };
    let [first, second] = [(); 2].map(|()| {
        let config =
            Xdp { interfaces: vec!["late".into()], allow: vec!["10.97.0.3/32".into()], ..Xdp::default() };
        start(&net, config)
    });
    let (Some(_), Some(early_drop)) = (first.early_drop(), second.early_drop()) else {
        return support::skip(&format!("XDP does not attach here: {}", second.report()));
    };
    net.add_pair(["late", "far"], &["10.97.0.1/24"], &["10.97.0.2/24", "10.97.0.3/24"])
        .expect("a pair of interfaces");
    for half in [&first, &second] {
        net.inside(SERVER, || half.early_drop().expect("loaded").refresh_interfaces());
    }
    if !kernel_has_tcx() {
        return support::skip("this kernel has no TCX");
    }
    let attached = early_drop.attached();
    assert_eq!(attached.first().map(|place| place.mode), Some("tcx"), "{}", second.report());
    protect(&net, early_drop);
    let [server, listed, exempt] = ["10.97.0.1", "10.97.0.2", "10.97.0.3"].map(address);
    net.inside(SERVER, || early_drop.block(exempt, Duration::from_mins(10), Reason::Operator))
        .expect("a block");
    only_the_listed_is_dropped(&net, early_drop, server, listed, Some(exempt));
}

/// Blocks a source: it does not reach our port any more, given back here, and still the other port. A
/// neighbour reaches ours.
fn only_the_listed_is_dropped(
    net: &Net,
    early_drop: &EarlyDrop,
    server: IpAddr,
    listed: IpAddr,
    neighbour: Option<IpAddr>,
) -> TcpListener {
    let [ours, other] = [OUR_PORT, OTHER_PORT].map(|port| listen(net, (server, port)));
    // Everything is open before.
    reach(net, listed, &ours);

    net.inside(SERVER, || early_drop.block(listed, Duration::from_mins(10), Reason::Operator))
        .expect("a block");
    if let Some(neighbour) = neighbour {
        reach(net, neighbour, &ours);
    }
    reach(net, listed, &other);
    let before = count(early_drop, Verdict::Dropped);
    let to = ours.local_addr().expect("an address");
    let _client = net.inside(CLIENTS, || start_connecting(listed, to));
    // The counter is the event: only now is it certain that the packet came and went no further.
    while count(early_drop, Verdict::Dropped) == before {
        std::thread::yield_now();
    }
    ours.set_nonblocking(true).expect("non-blocking");
    let arrived = ours.accept().expect_err("nobody gets through");
    assert_eq!(arrived.kind(), std::io::ErrorKind::WouldBlock);
    ours.set_nonblocking(false).expect("blocking");
    ours
}

#[test]
fn an_interface_that_appears_later_or_comes_back_is_attached_to() {
    let Some(net) = net() else { return };
    let half = start(&net, Xdp { interfaces: vec!["door".into(), "late".into()], ..Xdp::default() });
    let Some(early_drop) = half.early_drop() else {
        return support::skip(&format!("XDP does not attach here: {}", half.report()));
    };
    let attached = || early_drop.attached().into_iter().map(|place| place.interface).collect::<Vec<_>>();
    assert_eq!(attached(), ["door"], "{}", half.report());
    assert!(half.report().to_string().contains("interface late"), "{}", half.report());
    protect(&net, early_drop);
    let [server, listed] = ["10.97.0.1", "10.97.0.2"].map(address);
    for _ in 0..2 {
        net.add_pair(["late", "far"], &["10.97.0.1/24"], &["10.97.0.2/24"]).expect("a pair of interfaces");
        net.inside(SERVER, || half.early_drop().expect("loaded").refresh_interfaces());
        assert_eq!(attached(), ["door", "late"]);
        only_the_listed_is_dropped(&net, early_drop, server, listed, None);
        assert!(early_drop.unblock(listed).expect("a map"));
        net.remove("late").expect("it is gone");
        net.inside(SERVER, || half.early_drop().expect("loaded").refresh_interfaces());
        assert_eq!(attached(), ["door"]);
    }
}

#[test]
fn the_end_of_the_daemon_lifts_every_drop() {
    let Some(net) = net() else { return };
    let half = start(&net, Xdp { interfaces: vec!["door".into()], ..Xdp::default() });
    let Some(early_drop) = half.early_drop() else {
        return support::skip(&format!("XDP does not attach here: {}", half.report()));
    };
    protect(&net, early_drop);
    let [server, listed] = ["10.99.0.1", "10.99.0.2"].map(address);
    net.inside(SERVER, || early_drop.block(listed, Duration::from_mins(10), Reason::Operator))
        .expect("a block");
    let listener = listen(&net, (server, OUR_PORT));
    drop(half);
    let to = listener.local_addr().expect("an address");
    let client = net.inside(CLIENTS, || start_connecting(listed, to));
    let (mut arrived, from) = listener.accept().expect("a connection");
    assert_eq!(from.ip(), listed);
    drop(client);
    assert_eq!(arrived.read(&mut [0]).expect("the end"), 0);
}

#[test]
fn an_interface_that_does_not_exist_is_named() {
    let config = Kernel {
        mode: KernelMode::Preferred,
        xdp: Xdp { interfaces: vec!["no-such-if0".into()], ..Xdp::default() },
        ..unsealed()
    };
    let half = KernelHalf::start(&config).expect("preferred always starts");
    assert!(half.early_drop().is_none_or(|early_drop| early_drop.attached().is_empty()));
    let report = half.report().to_string();
    if half.report().rung.is_none() {
        return support::skip(&format!("the programs do not load here: {report}"));
    }
    assert!(report.contains("interface no-such-if0"), "{report}");
    assert!(report.contains("ip link"), "{report}");
    let required = Kernel { mode: KernelMode::Required, ..config };
    let error = KernelHalf::start(&required).expect_err("required means required");
    assert!(error.to_string().contains("no-such-if0"), "{error}");
}
