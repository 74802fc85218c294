//! The seal: LSM programs, where the kernel takes them. In a guest with Debian's kernel it has to hold; on another host the
//! tests skip themselves with the reason.

#[path = "support/kernel.rs"]
mod support;

use std::os::unix::net::UnixListener;
use std::sync::Arc;

use airlock::config::schema::{Kernel, KernelMode, Pin, Rung, Seal};
use airlock::kernel::{Hook, KernelHalf};

/// Not a test: what the test binary does when it was started as a server.
#[test]
fn probe_process() {
    if let Ok(mode) = std::env::var(support::MODE) {
        support::act(&mode);
    }
}

/// A kernel half that is sealed in this way; none, and a reason, where this host has no such kernel.
fn sealed(seal: Seal) -> Option<Arc<KernelHalf>> {
    let config = Kernel { mode: KernelMode::Preferred, seal, ..Kernel::default() };
    let half = KernelHalf::start(&config).expect("preferred always starts");
    if half.report().rung == Some(Rung::Sealed) {
        return Some(half);
    }
    assert!(std::env::var_os("AIRLOCK_GUEST").is_none(), "Debian's kernels can be sealed: {}", half.report());
    support::skip(&format!("this kernel takes no LSM programs: {}", support::refusals(&half)));
    None
}

fn listener(path: &str) -> UnixListener {
    UnixListener::bind(path).expect("a listener")
}

fn denied(half: &KernelHalf, hook: Hook) -> u64 {
    let counts = half.denied().expect("counters");
    counts.into_iter().find(|(counted, _)| *counted == hook).expect("a counter").1
}

/// A probe in the cage connects to a socket that is its door, and to one that is not.
fn only_the_door_opens(seal: Seal, layer: &str) {
    let Some(half) = sealed(seal) else { return };
    assert!(half.report().is_active(layer), "{}", half.report());
    assert!(half.report().is_active("cgroup guard"), "{}", half.report());
    // By paths: an abstract name is not to be found from another network namespace.
    let dir = tempfile::tempdir().expect("a directory");
    let name = |which: &str| dir.path().join(which).display().to_string();
    let (ours, other) = (listener(&name("ours")), listener(&name("other")));
    let mut command = support::probe("doors");
    command.env.insert(support::NAMES.to_owned(), format!("{} {}", name("ours"), name("other")));

    let before = denied(&half, Hook::UnixStreamConnect);
    let cell = half.cell("probe", &Pin::default()).expect("a cell");
    let door = half.open_door(&cell, &ours).expect("a door").expect("a cell with a cgroup");
    let mut server = cell.spawn(&command).expect("a process");
    let found = support::findings(&mut server);
    assert_eq!(found[&name("other")], "1", "{found:?}");
    // Where the hooks of unix sockets are there as well (6.7), they refuse before a door is looked at.
    let by_hooks = half.report().is_active("unix hooks");
    assert_eq!(found[&name("ours")], if by_hooks { "1" } else { "0" }, "{found:?}");
    if !by_hooks {
        assert_eq!(denied(&half, Hook::UnixStreamConnect), before + 1);
        ours.accept().expect("the one that was let through");
    }
    other.set_nonblocking(true).expect("non-blocking");
    assert!(other.accept().is_err(), "somebody came through");

    drop(door);
    let mut server = support::spawn(&half, &Pin::default(), &command);
    let found = support::findings(&mut server);
    assert_eq!((found[&name("ours")].as_str(), found[&name("other")].as_str()), ("1", "1"));
}

#[test]
fn sealed_by_cgroup_only_the_door_opens() {
    only_the_door_opens(Seal::Cgroup, "sealed");
}

#[test]
fn sealed_host_wide_only_the_door_opens_and_others_are_free() {
    only_the_door_opens(Seal::Host, "sealed, host-wide");
    // Whoever is in no cage notices nothing, while the programs are there.
    let Some(half) = sealed(Seal::Host) else { return };
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("a socket of this process");
    socket.send_to(b"x", socket.local_addr().expect("an address")).expect("sent");
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("free").display().to_string();
    let _listener = listener(&path);
    std::os::unix::net::UnixStream::connect(&path).expect("free to connect");
    drop(half);
}

#[test]
fn a_demand_for_the_seal_is_met_or_refused() {
    let config = Kernel { mode: KernelMode::Required, minimum_rung: Some(Rung::Sealed), ..Kernel::default() };
    match KernelHalf::start(&config) {
        Ok(half) => assert_eq!(half.report().rung, Some(Rung::Sealed)),
        Err(error) => {
            assert!(std::env::var_os("AIRLOCK_GUEST").is_none(), "{error}");
            assert!(error.to_string().contains("`sealed`"), "{error}");
        }
    }
}
