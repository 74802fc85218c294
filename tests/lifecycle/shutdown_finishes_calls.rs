//! SIGTERM ends the daemon, and only after the calls in flight have had their answers.

use std::fs::Permissions;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;

use airlock_tests::airlock::until;
use airlock_tests::mcp::{modern_call, text};
use airlock_tests::proc::{descendants, open_file_targets};
use airlock_tests::{Setup, start_on};
use rustix::process::Signal;
use serde_json::json;

fn a_call_in_flight(io: &str) {
    let Some(mut airlock) = start_on(io, &Setup::default()) else { return };
    let token = airlock.user();
    let dir = airlock_tests::shown_dir("airlock-wait-").expect("a directory");
    let held = dir.path().join("held");
    std::fs::write(&held, "").expect("a file");
    // The server may run as a user of its own.
    std::fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).expect("ours");
    let shown = held.display().to_string();
    let call = modern_call("/mcp/docs", 1, "wait", &json!({"while_exists": shown})).bearer(&token);
    let address = airlock.address();
    let caller = std::thread::spawn(move || call.send(address));

    // The server holds the file open while it waits: then the call has reached it.
    let has_it = |pid: u32| open_file_targets(pid).contains(&shown);
    let reached = until(|| descendants(airlock.pid()).into_iter().any(has_it).then_some(()));
    assert!(reached.is_some(), "the call never reached the server; log:\n{}", airlock.log());

    airlock.signal(Signal::TERM);
    // The listener goes first.
    let closed = until(|| TcpStream::connect(address).is_err().then_some(()));
    assert!(closed.is_some(), "it still accepts; log:\n{}", airlock.log());
    assert!(!caller.is_finished(), "the call was broken off");
    std::fs::remove_file(&held).expect("ours");

    let response =
        caller.join().expect("no panic").unwrap_or_else(|e| panic!("{e}; log:\n{}", airlock.log()));
    assert_eq!(response.status, 200, "{}", response.text());
    assert_eq!(text(&response.answer()["result"]), "waited");
    assert!(airlock.wait().success(), "{}", airlock.log());
}

#[test]
fn finishes_the_call_in_flight_on_epoll() {
    a_call_in_flight("epoll");
}

#[test]
fn finishes_the_call_in_flight_on_io_uring() {
    a_call_in_flight("io_uring");
}

#[test]
fn takes_the_servers_with_it() {
    let mut airlock = Setup::default().start();
    let token = airlock.user();
    let call = modern_call("/mcp/docs", 1, "search_docs", &json!({"query": "review"})).bearer(&token);
    assert_eq!(airlock.send(&call).status, 200);
    let servers = descendants(airlock.pid());
    assert!(!servers.is_empty(), "a stdio server runs below the daemon");
    assert!(airlock.stop().success(), "{}", airlock.log());
    let alive = |pid: &u32| std::fs::read_link(format!("/proc/{pid}/exe")).is_ok();
    let gone = until(|| (!servers.iter().any(alive)).then_some(()));
    assert!(gone.is_some(), "servers are left behind: {servers:?}");
}
