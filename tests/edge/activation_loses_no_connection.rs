//! Airlock takes its listening socket from systemd, so that no connection is lost while it starts.

use std::io::Write as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use airlock_tests::airlock::free_address;
use airlock_tests::http::{Request, connect, read_response};
use airlock_tests::{Setup, skip, tools};
use rustix::process::{Pid, Signal, kill_process};

/// The daemon, to be started by the first connection to one of these addresses. None, and the test is
/// skipped, where systemd's own program for it is missing.
pub(super) fn activate(listen: &[&str], config: &Path) -> Option<Child> {
    const ACTIVATE: &str = "/usr/bin/systemd-socket-activate";
    if !Path::new(ACTIVATE).exists() {
        skip("systemd-socket-activate is not installed (Debian package systemd)");
        return None;
    }
    let mut command = Command::new(ACTIVATE);
    for address in listen {
        command.args(["--listen", address]);
    }
    command.arg(tools::airlock()).args(["serve", "--config"]).arg(config);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    Some(command.spawn().expect("systemd-socket-activate"))
}

#[test]
fn the_connection_that_started_it_is_answered() {
    let address = free_address().expect("a port");
    let dir = Setup::default().write().expect("a directory");
    let Some(mut child) = activate(&[&address.to_string()], &dir.path().join("airlock.yaml")) else { return };
    // It listens as soon as it can; until then nobody does.
    let mut stream = loop {
        match connect(address) {
            Ok(stream) => break stream,
            Err(error) => assert!(child.try_wait().expect("its state").is_none(), "it ended: {error}"),
        }
    };
    stream.write_all(&Request::get("/live").bytes(address)).expect("sent");
    let response = read_response(&mut stream);
    let again = Request::get("/live").send(address);
    let pid = Pid::from_child(&child);
    kill_process(pid, Signal::TERM).expect("told to end");
    let status = child.wait().expect("its end");
    assert_eq!(response.expect("an answer").status, 200);
    assert_eq!(again.expect("an answer").status, 200);
    assert!(status.success(), "{status}");
}
