//! Clients that are slow, deaf, or too many: each costs what it may cost, and then it is gone.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use airlock_tests::airlock::until;
use airlock_tests::http::{Request, connect, read_response};
use airlock_tests::mcp::modern_call;
use airlock_tests::{Airlock, Setup, start_on};
use serde_json::json;

use super::{counted, with_metrics};

/// True where the connection ends without an answer.
fn just_ends(mut stream: TcpStream) -> bool {
    let mut rest = Vec::new();
    match stream.read_to_end(&mut rest) {
        Ok(_) => rest.is_empty(),
        // A reset is an end as well, patience that has run out is none.
        Err(error) => rest.is_empty() && error.kind() == std::io::ErrorKind::ConnectionReset,
    }
}

#[test]
fn who_is_slow_is_not_waited_for() {
    let setup = Setup::default().server("timeouts", json!({"header": "300ms", "body": "300ms"}));
    for io in ["epoll", "io_uring"] {
        let Some(mut airlock) = start_on(io, &setup) else { continue };
        let token = airlock.user();
        let call = modern_call("/mcp/docs", 1, "search_docs", &json!({"query": "roll back"})).bearer(&token);
        let bytes = call.bytes(airlock.address());
        // Nothing at all; half a head, a byte at a time; and between two requests.
        assert!(just_ends(connect(airlock.address()).expect("a connection")));
        let mut slow = connect(airlock.address()).expect("a connection");
        let dripping = bytes.iter().take(400).any(|byte| {
            std::thread::sleep(Duration::from_millis(5));
            slow.write_all(&[*byte]).is_err()
        });
        assert!(dripping || just_ends(slow), "{io}: a head that drips in is waited for");
        let mut kept = connect(airlock.address()).expect("a connection");
        let live = Request::get("/live").header("connection", "keep-alive");
        kept.write_all(&live.bytes(airlock.address())).expect("sent");
        assert_eq!(read_response(&mut kept).expect("an answer").status, 200);
        assert!(just_ends(kept), "{io}: an idle connection stays");
        // Half a body, plain and in chunks.
        let body = call.body.len();
        let chunked = [
            &bytes[..bytes.len() - body - 2],
            b"Transfer-Encoding: chunked\r\n\r\n5\r\n{\"jso\r\n".as_slice(),
        ]
        .concat();
        let chunked = String::from_utf8_lossy(&chunked).replace(&format!("Content-Length: {body}\r\n"), "");
        for part in [&bytes[..bytes.len() - 20], chunked.as_bytes()] {
            let mut slow = connect(airlock.address()).expect("a connection");
            slow.write_all(part).expect("sent");
            let response = read_response(&mut slow).expect("an answer");
            assert_eq!(response.status, 408, "{io}: {}", response.text());
            assert!(response.text().contains("server.timeouts.body"), "{}", response.text());
            assert!(just_ends(slow), "{io}: the connection stays after half a body");
        }
        // All records are written before the end.
        assert!(airlock.stop().success(), "{io}: {}", airlock.log());
        assert!(!airlock.audit().iter().any(|record| record["event"] == "call.intent"));
    }
}

#[test]
fn who_takes_nothing_is_let_go() {
    let dir = tempfile::Builder::new().prefix("airlock-deaf-").tempdir().expect("a directory");
    let socket = dir.path().join("airlock.sock");
    let server = format!("  unix_socket: {}\n  timeouts: {{idle: 600ms}}\n", socket.display());
    let (metrics, setup) = with_metrics(Setup { server, ..Setup::default() });
    for io in ["epoll", "io_uring"] {
        let Some(airlock) = start_on(io, &setup) else { continue };
        let ask = Request::get("/info").header("connection", "keep-alive").bytes(airlock.address());
        let many = ask.repeat(2_000);
        // Requests as fast as they are taken, and no look at an answer, until no more are taken or the
        // connection ends.
        let fill = |stream: &mut dyn std::io::Write| while stream.write_all(&many).is_ok() {};
        let sockets = || {
            let names = airlock_tests::proc::open_file_targets(airlock.pid());
            names.iter().filter(|name| name.starts_with("socket:")).count()
        };
        let before = sockets();
        let mut local = UnixStream::connect(&socket).expect("a connection");
        local.set_write_timeout(Some(Duration::from_millis(200))).expect("ours");
        fill(&mut local);
        let stalled = counted(&airlock, metrics, "airlock_connections_ended_total{reason=\"stalled\"}", 1);
        assert_eq!(stalled, 1, "{io}");
        let mut remote = connect(airlock.address()).expect("a connection");
        remote.set_write_timeout(Some(Duration::from_millis(200))).expect("ours");
        fill(&mut remote);
        let none_left = || (counted(&airlock, metrics, "airlock_connections ", 0) == 0).then_some(());
        assert!(until(none_left).is_some(), "{io}: the connection stays; log:\n{}", airlock.log());
        // Not only counted away: its descriptor is closed as well.
        let fewer = until(|| (sockets() <= before).then_some(()));
        assert!(fewer.is_some(), "{io}: {before} sockets before, {} now", sockets());
        drop((local, remote));
        assert_eq!(airlock.send(&Request::get("/live")).status, 200);
    }
}

#[test]
fn what_is_too_large_is_refused_before_it_is_read() {
    for io in ["epoll", "io_uring"] {
        let Some(airlock) = start_on(io, &Setup::default()) else { continue };
        let token = airlock.user();
        let many = (0..200).fold(Request::get("/live"), |request, n| request.header(&format!("x-{n}"), "1"));
        assert_eq!(airlock.send(&many).status, 431, "{io}: many fields");
        let long = Request::get("/live").header("x-long", &"x".repeat(200_000));
        assert_eq!(airlock.send(&long).status, 431, "{io}: a long one");
        let target = Request::get(&format!("/{}", "x".repeat(200_000)));
        assert!([414, 431].contains(&airlock.send(&target).status), "{io}: a long target");
        // A gigabyte is announced, and not a byte of it sent.
        let announced = Request::post("/mcp/docs", "").bearer(&token).header("content-length", "1073741824");
        let mut stream = connect(airlock.address()).expect("a connection");
        stream.write_all(&announced.bytes(airlock.address())).expect("sent");
        assert_eq!(read_response(&mut stream).expect("an answer").status, 413);
        // Chunks without end.
        let endless = Request { body: Vec::new(), ..Request::post("/mcp/docs", "") };
        let head = endless.bearer(&token).header("transfer-encoding", "chunked").bytes(airlock.address());
        let head = String::from_utf8(head).expect("text").replace("Content-Length: 0\r\n", "");
        let mut stream = connect(airlock.address()).expect("a connection");
        stream.write_all(head.as_bytes()).expect("sent");
        let chunk = [b"10000\r\n".as_slice(), &vec![b' '; 0x10000], b"\r\n"].concat();
        let mut sent = 0;
        while sent < 1_000 && stream.write_all(&chunk).is_ok() {
            sent += 1;
        }
        assert!(sent < 1_000, "{io}: 64 MiB were taken");
        if let Ok(response) = read_response(&mut stream) {
            assert_eq!(response.status, 413, "{io}");
        }
    }
}

#[test]
fn only_so_many_connections_are_served() {
    for (key, reason) in [("max_connections", "full"), ("max_connections_per_address", "address_full")] {
        let (metrics, setup) = with_metrics(Setup { server: format!("  {key}: 3\n"), ..Setup::default() });
        for io in ["epoll", "io_uring"] {
            let Some(airlock) = start_on(io, &setup) else { continue };
            let held: Vec<_> = (0..3).map(|_| answered(&airlock)).collect();
            let line = format!("airlock_connections_ended_total{{reason=\"{reason}\"}}");
            assert!(just_ends(open(airlock.address())), "{io} {key}");
            assert_eq!(counted(&airlock, metrics, &line, 1), 1);
            drop(held);
            let again =
                until(|| Request::get("/live").send(airlock.address()).ok().map(|answer| answer.status));
            assert_eq!(again, Some(200), "{io} {key}: a place is free again");
        }
    }
}

fn open(address: SocketAddr) -> TcpStream {
    connect(address).expect("a connection")
}

/// A connection that has been served once and is kept.
fn answered(airlock: &Airlock) -> TcpStream {
    let mut stream = open(airlock.address());
    let live = Request::get("/live").header("connection", "keep-alive");
    stream.write_all(&live.bytes(airlock.address())).expect("sent");
    assert_eq!(read_response(&mut stream).expect("an answer").status, 200);
    stream
}

/// Whoever closes the writing side of a connection has gone: over TCP nobody can tell it from one that has
/// closed both, and a modern client cancels its call in this way.
#[test]
fn half_a_connection_is_none() {
    let airlock = Setup::default().start();
    let token = airlock.user();
    let dir = airlock_tests::shown_dir("airlock-held-").expect("a directory");
    std::fs::set_permissions(dir.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("ours");
    let held = dir.path().join("held");
    std::fs::write(&held, "").expect("ours");
    std::fs::set_permissions(&held, std::os::unix::fs::PermissionsExt::from_mode(0o644)).expect("ours");
    let call = modern_call("/mcp/docs", 1, "wait", &json!({"while_exists": held})).bearer(&token);
    let mut stream = open(airlock.address());
    stream.write_all(&call.bytes(airlock.address())).expect("sent");
    airlock.audited(|record| record["event"] == "call.intent");
    stream.shutdown(std::net::Shutdown::Write).expect("ours");
    let outcome = airlock.audited(|record| record["event"] == "call.outcome");
    assert_eq!(outcome["reason"], "cancelled", "{outcome}");
    assert!(just_ends(stream));
}
