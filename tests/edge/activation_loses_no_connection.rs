//! Airlock takes its listening socket from systemd, so that no connection is lost while it starts.

use std::process::{Command, Stdio};

use airlock_tests::airlock::free_address;
use airlock_tests::http::{Request, connect, read_response};
use airlock_tests::{Setup, skip, tools};
use rustix::process::{Pid, Signal, kill_process};
use std::io::Write as _;

#[test]
fn the_connection_that_started_it_is_answered() {
    const ACTIVATE: &str = "/usr/bin/systemd-socket-activate";
    if !std::path::Path::new(ACTIVATE).exists() {
        return skip("systemd-socket-activate is not installed (Debian package systemd)");
    }
    let address = free_address().expect("a port");
    let dir = Setup::default().write().expect("a directory");
    let mut child = Command::new(ACTIVATE)
        .args(["--listen", &address.to_string()])
        .arg(tools::airlock())
        .args(["serve", "--config"])
        .arg(dir.path().join("airlock.yaml"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("systemd-socket-activate");
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
