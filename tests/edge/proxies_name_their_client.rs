//! The client behind a proxy: told by those who are trusted, and by nobody else.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};

use airlock_tests::airlock::{free_address, until};
use airlock_tests::authority::Authority;
use airlock_tests::curl::{curl, shown};
use airlock_tests::http::{Request, connect, read_response};
use airlock_tests::mcp::modern_call;
use airlock_tests::{Airlock, Running, Setup, skip, start_on};
use serde_json::json;

use super::{counted, with_metrics};

/// Lets in whoever comes from that address.
fn policy(address: &str) -> String {
    format!(
        "package airlock.authz\n\nimport rego.v1\n\ndefault allow := false\n\nallow if input.client.address == \"{address}\"\n"
    )
}

fn call(token: &str) -> Request {
    modern_call("/mcp/docs", 1, "search_docs", &json!({"query": "roll back"})).bearer(token)
}

/// Sends something in front of a call; the status, 0 when the connection just ends.
fn behind(airlock: &Airlock, header: &[u8], token: &str) -> u16 {
    let mut stream = connect(airlock.address()).expect("a connection");
    // It may be closed while we still write.
    let _ = stream.write_all(&[header, &call(token).bytes(airlock.address())].concat());
    read_response(&mut stream).map_or(0, |response| response.status)
}

fn version_2(command: u8, source: [u8; 4]) -> Vec<u8> {
    let start = [b"\r\n\r\n\0\r\nQUIT\n".as_slice(), &[command, 0x11, 0, 12]].concat();
    [start, source.to_vec(), vec![127, 0, 0, 1, 0x30, 0x39, 0, 80]].concat()
}

#[test]
fn a_proxy_header_is_demanded_of_trusted_proxies() {
    let server =
        "  trusted_proxies: [127.0.0.0/8]\n  proxy_protocol: required\n  timeouts: {header: 300ms}\n"
            .to_owned();
    let (metrics, setup) = with_metrics(Setup { server, policy: policy("203.0.113.7"), ..Setup::default() });
    for io in ["epoll", "io_uring"] {
        let Some(airlock) = start_on(io, &setup) else { continue };
        let token = airlock.user();
        assert_eq!(behind(&airlock, b"PROXY TCP4 203.0.113.7 127.0.0.1 12345 80\r\n", &token), 200);
        assert_eq!(behind(&airlock, &version_2(0x21, [203, 0, 113, 7]), &token), 200);
        assert_eq!(behind(&airlock, b"PROXY TCP4 203.0.113.8 127.0.0.1 12345 80\r\n", &token), 403);
        // The proxy for itself.
        assert_eq!(behind(&airlock, b"PROXY UNKNOWN\r\n", &token), 403);
        assert_eq!(behind(&airlock, &version_2(0x20, [203, 0, 113, 7]), &token), 403);
        let record = airlock.audited(|record| record["event"] == "call.intent");
        assert_eq!(record["client"], "203.0.113.7", "{record}");
        // Two headers, none, half of one, one with a fault.
        for wrong in [
            &b"PROXY TCP4 203.0.113.8 127.0.0.1 1 80\r\nPROXY TCP4 203.0.113.7 127.0.0.1 1 80\r\n"[..],
            b"",
            b"PROXY TCP4 203.0.113.7 127.0.0.1 1\r\n",
            b"\r\n\r\n\0\r\nQUIT\n\x21\x12\0\x0c",
        ] {
            let status = behind(&airlock, wrong, &token);
            assert!([0, 400].contains(&status), "{}: {status}", wrong.escape_ascii());
        }
        let mut silent = connect(airlock.address()).expect("a connection");
        silent.write_all(b"PROXY TCP4 203.0.113.7 127.0.0.1").expect("sent");
        assert!(read_response(&mut silent).is_err(), "half a header is waited for, but not for ever");
        let refused =
            counted(&airlock, metrics, "airlock_connections_ended_total{reason=\"proxy_header\"}", 4);
        assert_eq!(refused, 4);
        // The header of a proxy of this kind in a request counts for nothing.
        let request = call(&token).header("x-forwarded-for", "203.0.113.7").bytes(airlock.address());
        let mut stream = connect(airlock.address()).expect("a connection");
        let header = b"PROXY TCP4 203.0.113.8 127.0.0.1 1 80\r\n".as_slice();
        stream.write_all(&[header, &request].concat()).expect("sent");
        assert_eq!(read_response(&mut stream).expect("an answer").status, 403);
    }
}

#[test]
fn nobody_else_is_believed() {
    let airlock = Setup { policy: policy("127.0.0.1"), ..Setup::default() }
        .server("trusted_proxies", json!(["192.0.2.0/24"]))
        .server("proxy_protocol", "required")
        .start();
    let token = airlock.user();
    assert_eq!(behind(&airlock, b"", &token), 200, "a client of its own");
    assert_eq!(
        behind(&airlock, b"PROXY TCP4 203.0.113.7 127.0.0.1 12345 80\r\n", &token),
        400,
        "that is no HTTP"
    );
    let request =
        call(&token).header("x-forwarded-for", "203.0.113.7").header("forwarded", "for=203.0.113.7");
    assert_eq!(airlock.send(&request).status, 200, "it stays 127.0.0.1");
}

#[test]
fn forwarded_for_is_read_from_its_right_end() {
    let airlock = Setup { policy: policy("203.0.113.7"), ..Setup::default() }
        .server("trusted_proxies", json!(["127.0.0.0/8", "10.0.0.0/8"]))
        .start();
    let token = airlock.user();
    let status = |values: &[&str]| {
        let request =
            values.iter().fold(call(&token), |request, value| request.header("x-forwarded-for", value));
        airlock.send(&request).status
    };
    assert_eq!(status(&["203.0.113.7"]), 200);
    assert_eq!(status(&["198.51.100.9, 203.0.113.7, 10.1.2.3"]), 200);
    assert_eq!(status(&["198.51.100.9", "203.0.113.7"]), 200);
    assert_eq!(status(&["203.0.113.7, 198.51.100.9"]), 403, "the client's own invention");
    assert_eq!(status(&[]), 403, "the proxy itself");
    for malformed in ["unknown", "203.0.113.7,", "_hidden, 10.0.0.1", "203.0.113.7 "] {
        let expected = if malformed.ends_with(' ') { 200 } else { 400 };
        assert_eq!(status(&[malformed]), expected, "{malformed:?}");
    }
    let other = call(&token).header("forwarded", "for=203.0.113.7");
    assert_eq!(airlock.send(&other).status, 403, "RFC 7239 is not read");
    let refusal = airlock.audited(|record| record["event"] == "refusal" && record["status"] == 400);
    assert!(
        refusal["reason"].as_str().is_some_and(|reason| reason.contains("server.trusted_proxies")),
        "{refusal}"
    );
}

/// Starts haproxy in front with that backend line; none where it is not installed.
fn haproxy(dir: &Path, front: SocketAddr, mode: &str, option: &str, server: &str) -> Option<Running> {
    let config = dir.join("haproxy.cfg");
    let text = format!(
        "defaults\n  mode {mode}\n  timeout connect 5s\n  timeout client 30s\n  timeout server 30s\n{option}\
             frontend f\n  bind {front}\n  default_backend b\nbackend b\n  server s {server}\n"
    );
    std::fs::write(&config, text).expect("written");
    let program =
        ["/usr/sbin/haproxy", "/usr/bin/haproxy"].into_iter().find(|path| Path::new(path).exists())?;
    let mut command = Command::new(program);
    command.args(["-db", "-f"]).arg(&config).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let haproxy = Running::start(&mut command);
    until(|| connect(front).ok().map(drop)).expect("haproxy listens");
    Some(haproxy)
}

#[test]
fn haproxy_in_front_names_its_client_in_each_way() {
    let dir = tempfile::Builder::new().prefix("airlock-haproxy-").tempdir().expect("a directory");
    let authority = Authority::create();
    let ca = shown(&authority.file("ca.pem"));
    let required = "  trusted_proxies: [127.0.0.1/32]\n  proxy_protocol: required\n";
    // Its own address is 127.0.0.1; it binds to that towards us, while its client comes from 127.0.0.9.
    for (server, mode, option, more, https) in [
        (required, "tcp", "send-proxy", "", false),
        (required, "tcp", "send-proxy-v2", "", false),
        (required, "tcp", "send-proxy-v2", "", true),
        ("  trusted_proxies: [127.0.0.1/32]\n", "http", "", "  option forwardfor\n", false),
    ] {
        let setup = Setup { server: server.to_owned(), policy: policy("127.0.0.9"), ..Setup::default() };
        let airlock = if https { setup.server("tls", authority.tls()) } else { setup }.start();
        let front = free_address().expect("a port");
        let back = format!("{} source 127.0.0.1 {option}", airlock.address());
        let Some(_haproxy) = haproxy(dir.path(), front, mode, more, &back) else {
            return skip("haproxy is not installed (Debian package haproxy)");
        };
        let token = airlock.user();
        let scheme = if https { "https" } else { "http" };
        let from = |address: &str| {
            let options = ["--interface", address, "--cacert", &ca];
            curl(front, scheme, &call(&token), &options).status
        };
        assert_eq!(from("127.0.0.9"), 200, "{mode} {option} {https}; log:\n{}", airlock.log());
        assert_eq!(from("127.0.0.8"), 403, "{mode} {option} {https}");
    }
}
