//! The unix socket: who may connect, who it was, and that nothing stays behind.

use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use airlock_tests::airlock::{free_address, until};
use airlock_tests::curl::{curl, shown};
use airlock_tests::http::Request;
use airlock_tests::mcp::modern_call;
use airlock_tests::{Airlock, Setup, start_on};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use super::activation_loses_no_connection::activate;

/// curl through the socket; the host that it names is that of the raw client's address.
fn ask(airlock: &Airlock, socket: &Path, request: &Request) -> u16 {
    curl(airlock.address(), "http", request, &["--unix-socket", &shown(socket)]).status
}

fn call(token: &str) -> Request {
    modern_call("/mcp/docs", 1, "search_docs", &json!({"query": "roll back"})).bearer(token)
}

#[test]
fn the_policy_sees_the_user_at_the_other_end() {
    let dir = tempfile::Builder::new().prefix("airlock-unix-").tempdir().expect("a directory");
    let socket = dir.path().join("airlock.sock");
    let own = rustix::process::geteuid().as_raw();
    for io in ["epoll", "io_uring"] {
        for (uid, status) in [(own, 200), (own + 1, 403)] {
            let policy = format!(
                "package airlock.authz\n\nimport rego.v1\n\ndefault allow := false\n\n\
                 allow if {{\n    input.client.uid == {uid}\n    input.client.address == null\n}}\n"
            );
            let server = format!("  unix_socket: {}\n  unix_socket_mode: 0600\n", socket.display());
            // Left behind by one that was killed.
            drop(UnixListener::bind(&socket).expect("free"));
            let Some(mut airlock) = start_on(io, &Setup { server, policy, ..Setup::default() }) else {
                std::fs::remove_file(&socket).expect("ours");
                continue;
            };
            assert_eq!(std::fs::metadata(&socket).expect("made").permissions().mode() & 0o777, 0o600);
            let token = airlock.user();
            assert_eq!(ask(&airlock, &socket, &Request::get("/live")), 200);
            assert_eq!(ask(&airlock, &socket, &call(&token)), status, "{io} {uid}");
            assert_eq!(ask(&airlock, &socket, &call("rubbish")), 401, "a user is no token");
            // The same through TCP: no user.
            assert_eq!(airlock.send(&call(&token)).status, 403);
            let record =
                airlock.audited(|record| record["event"] == "refusal" || record["event"] == "call.intent");
            assert_eq!(record["client"], json!(format!("unix:{own}")), "{record}");
            assert!(airlock.stop().success());
            assert!(!socket.exists(), "the socket stays behind");
        }
    }
}

#[test]
fn what_is_in_the_way_is_not_taken_away() {
    let dir = tempfile::Builder::new().prefix("airlock-unix-").tempdir().expect("a directory");
    let socket = dir.path().join("airlock.sock");
    let setup = Setup { server: format!("  unix_socket: {}\n", socket.display()), ..Setup::default() };
    let log = || setup.try_start().map(drop).expect_err("something is in the way").log;
    let listener = UnixListener::bind(&socket).expect("free");
    assert!(log().contains("another process listens there"), "{}", log());
    drop(listener);
    std::fs::remove_file(&socket).expect("ours");
    std::fs::write(&socket, "precious").expect("ours");
    assert!(log().contains("is no socket"), "{}", log());
    assert_eq!(std::fs::read(&socket).expect("still there"), b"precious");
}

#[test]
fn systemd_hands_over_unix_sockets_and_addresses_alike() {
    let dir = Setup::default().write().expect("a directory");
    let socket = dir.path().join("handed.sock");
    let address = free_address().expect("a port");
    let config = dir.path().join("airlock.yaml");
    let Some(mut child) = activate(&[&shown(&socket), &address.to_string()], &config) else { return };
    let listening = until(|| UnixStream::connect(&socket).ok().map(drop));
    let live = Request::get("/live");
    let status = |options: &[&str]| curl(address, "http", &live, options).status;
    let answers = [status(&["--unix-socket", &shown(&socket)]), status(&[])];
    kill_process(Pid::from_child(&child), Signal::TERM).expect("told to end");
    let ended = child.wait().expect("its end");
    assert!(listening.is_some());
    assert_eq!(answers, [200, 200]);
    assert!(ended.success(), "{ended}");
    assert!(socket.exists(), "the socket is systemd's to remove");
}

#[test]
fn several_addresses_are_listened_on_at_once() {
    let listen = ["127.0.0.1:0", "[::1]:0"].map(str::to_owned).to_vec();
    let airlock = Setup { listen, ..Setup::default() }.start();
    let log = airlock.log();
    let (_, rest) = log.split_once("http://[::1]:").expect("the second address is told");
    let port: u16 =
        rest.split(|c: char| !c.is_ascii_digit()).next().and_then(|port| port.parse().ok()).expect("a port");
    let second = std::net::SocketAddr::from((std::net::Ipv6Addr::LOCALHOST, port));
    assert_eq!(call(&airlock.user()).send(second).expect("an answer").status, 200);
    assert_eq!(airlock.send(&Request::get("/live")).status, 200);
}
