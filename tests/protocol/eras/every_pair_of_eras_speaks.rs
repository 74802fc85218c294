//! All that a server can say and ask on its own account reaches a client of either era from a server of
//! either era: forms, sampling, log messages, changed lists, changed resources. Client and server are of the
//! Python SDK.

use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};

use airlock_tests::airlock::{stdio_upstream, until};
use airlock_tests::{Airlock, Running, Setup, skip, start_on, tools};
use serde_json::{Value, json};

/// The deprecations of 2026-07-28 are known.
const QUIET: [&str; 2] = ["-W", "ignore"];

fn file(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("protocol/eras/every_pair_of_eras_speaks")
        .join(name)
        .display()
        .to_string()
}

fn python() -> Option<String> {
    tools::python("python").map_err(|reason| skip(&reason)).ok().map(|python| python.display().to_string())
}

/// The client's account of one visit.
fn visit(airlock: &Airlock, path: &str, mode: &str, action: &str) -> Option<Value> {
    let token = airlock.user();
    let url = format!("http://{}{path}", airlock.address());
    let mut client = Command::new(python()?);
    client.args(QUIET).arg(file("client.py")).args([&url, &token, mode, action]);
    Some(tools::told(&mut client))
}

fn both_clients(airlock: &Airlock, path: &str) {
    for (mode, revision) in [("legacy", "2025-11-25"), ("auto", "2026-07-28")] {
        for action in ["accept", "decline"] {
            let Some(told) = visit(airlock, path, mode, action) else { return };
            assert_eq!(told["revision"], revision, "{told}");
            let (greeting, asked) = match action {
                "accept" => ("good morning, Ada", json!(["who are you?", "who are you?", "a poem"])),
                _ => ("you decline", json!(["who are you?"])),
            };
            assert_eq!(told["greet"], greeting, "{told}");
            assert_eq!(told["asked"], asked, "{told}");
            if action == "accept" {
                assert_eq!(told["recite"], "roses are red, by Ada");
            }
            assert_eq!(told["logged"], json!([["warning", "said aloud"]]), "{told}");
            let uri = if path == "/mcp" { "airlock+asker+note://last" } else { "note://last" };
            assert_eq!(told["uri"], uri);
            assert!(told["updated"].to_string().contains(uri), "{told}");
            assert!(told["read"] == "another" && told["grown"] == 1, "{told}");
        }
    }
    // The question is on record, with who was asked.
    let asked = airlock.audited(|record| record["method"] == "elicitation/create");
    assert_eq!((&asked["subject"], &asked["upstream"]), (&json!("alice"), &json!("asker")), "{asked}");
}

fn over_stdio(io: &str, era: &str, path: &str) {
    let Some(python) = python() else { return };
    let upstream = stdio_upstream("asker", &[&python, QUIET[0], QUIET[1], &file("server.py")]);
    let setup = Setup { upstreams: upstream + &format!("    era: {era}\n"), ..Setup::default() };
    let Some(airlock) = start_on(io, &setup) else { return };
    both_clients(&airlock, path);
}

#[test]
fn a_legacy_server_over_stdio() {
    over_stdio("epoll", "legacy", "/mcp/asker");
}

#[test]
fn a_legacy_server_over_stdio_merged() {
    over_stdio("io_uring", "legacy", "/mcp");
}

#[test]
fn a_modern_server_over_stdio() {
    over_stdio("io_uring", "modern", "/mcp/asker");
}

#[test]
fn a_modern_server_over_stdio_merged() {
    over_stdio("epoll", "modern", "/mcp");
}

fn over_http(io: &str, era: &str, path: &str) {
    let Some(python) = python() else { return };
    let dir = tempfile::Builder::new().prefix("airlock-socket-").tempdir().expect("a directory");
    let socket = dir.path().join("x.sock");
    let mut command = Command::new(python);
    command.args(QUIET).arg(file("server.py")).arg(&socket).stdin(Stdio::null());
    let _server = Running::start(&mut command);
    until(|| UnixStream::connect(&socket).is_ok().then_some(())).expect("the server listens");
    let upstreams =
        format!("  - name: asker\n    type: unix\n    socket: {}\n    era: {era}\n", socket.display());
    let Some(airlock) = start_on(io, &Setup { upstreams, ..Setup::default() }) else { return };
    both_clients(&airlock, path);
}

#[test]
fn a_legacy_server_over_http() {
    over_http("io_uring", "legacy", "/mcp/asker");
}

#[test]
fn a_legacy_server_over_http_merged() {
    over_http("epoll", "legacy", "/mcp");
}

#[test]
fn a_modern_server_over_http() {
    over_http("epoll", "modern", "/mcp/asker");
}

#[test]
fn a_modern_server_over_http_merged() {
    over_http("io_uring", "modern", "/mcp");
}
