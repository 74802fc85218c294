//! A server that Airlock started reaches nothing by network, whatever it tries.

use std::net::{TcpListener, UdpSocket};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;

use airlock_tests::http::Request;
use airlock_tests::mcp::{modern_call, text};
use airlock_tests::{Setup, Upstream, skip, tools};
use serde_json::json;

#[test]
fn a_server_that_phones_home_is_stopped_by_the_kernel() {
    if !tools::is_root() {
        return skip("the kernel programs need root");
    }
    let setup = Setup { kernel: "required".to_owned(), ..Setup::default() };
    let airlock = match setup.try_start() {
        Ok(airlock) => airlock,
        // The doctor says if the host can, and not the daemon that failed.
        Err(failed) => {
            let (well, report, told) = airlock_tests::airlock::run(&["kernel", "doctor"]);
            assert!(!well, "the doctor is content, but the daemon is not: {}\n{report}{told}", failed.log);
            return skip(&format!("no kernel half here: {}", failed.log.lines().last().unwrap_or_default()));
        }
    };
    // Doors that would open: somebody listens behind each of them.
    let tcp = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = tcp.local_addr().expect("an address");
    let udp = UdpSocket::bind(address).expect("the same port of UDP");
    let dir = airlock_tests::shown_dir("airlock-door-").expect("a directory");
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).expect("ours");
    let socket = dir.path().join("door");
    let unix = UnixListener::bind(&socket).expect("a socket");
    std::fs::set_permissions(&socket, std::fs::Permissions::from_mode(0o777)).expect("ours");
    for listening in [tcp.set_nonblocking(true), udp.set_nonblocking(true), unix.set_nonblocking(true)] {
        listening.expect("an option");
    }

    let operator = airlock.token("oscar", "acme", &["mcp.users", "mcp.operators"]);
    let arguments = json!({"address": address.to_string(), "socket": socket.display().to_string()});
    let answer =
        airlock.send(&modern_call("/mcp/docs", 1, "phone_home", &arguments).bearer(&operator)).answer();
    let told = text(&answer["result"]);
    for protocol in ["tcp", "udp"] {
        let line = told.lines().find(|line| line.starts_with(protocol)).unwrap_or_default();
        // EPERM or EACCES: somebody said no. Any other number would be a network that happens not to answer.
        assert!(line.contains("errno 1 ") || line.contains("errno 13 "), "{answer}\nlog:\n{}", airlock.log());
    }
    assert!(tcp.accept().is_err(), "somebody came through over TCP");
    assert!(udp.recv(&mut [0; 64]).is_err(), "something came through over UDP");
    // Each refusal is on record, with who tried what.
    let denied =
        |hook: &str| airlock.audited(|record| record["event"] == "kernel.denied" && record["method"] == hook);
    let tcp_record = denied("sock_create");
    assert_eq!(tcp_record["upstream"], "docs", "{tcp_record}");
    assert_eq!(tcp_record["target"], "AF_INET");
    assert_eq!(tcp_record["rule_id"], "kernel.pin");
    let client = tcp_record["client"].as_str().unwrap_or_default();
    let pid = client.strip_prefix("pid ").and_then(|rest| rest.split(' ').next()?.parse::<u32>().ok());
    assert!(pid.is_some_and(|pid| pid > 1), "{tcp_record}");
    assert!(client.ends_with("(docs-server)"), "{tcp_record}");
    let metrics = airlock.send(&Request::get("/info").bearer(&airlock.user())).text();
    if metrics.contains("no-network") {
        assert_eq!(denied("connect_unix")["target"], "AF_UNIX");
    }
    // Unix sockets are closed from the rung `no-network` on; `/info` tells the rung this daemon stands on.
    let info = airlock.send(&Request::get("/info").bearer(&airlock.user())).text();
    if info.contains("no-network") || info.contains("sealed") {
        assert!(unix.accept().is_err(), "somebody came through the unix socket: {told}\n{info}");
    }
}

#[test]
fn the_doctor_says_whether_a_configuration_keeps_its_promises() {
    let docs = Upstream::stdio("docs", &["/bin/true"])
        .with("user", "nobody")
        .with("pin", json!({"memory": "64MiB", "cpu": "50%"}));
    let in_mode = |kernel: &str| Setup { kernel: kernel.to_owned(), ..Setup::default() }.without_tokens();
    let doctor = |setup: Setup| {
        let dir = setup.upstreams(std::slice::from_ref(&docs)).write().expect("written");
        let path = dir.path().join("airlock.yaml").display().to_string();
        airlock_tests::airlock::run(&["kernel", "doctor", "--json", "--config", &path])
    };
    let (well, found, told) = doctor(in_mode("required").kernel("minimum_rung", "sealed"));
    let found: serde_json::Value = serde_json::from_str(&found).unwrap_or_else(|_| panic!("{found}{told}"));
    let broken = found["broken_promises"].to_string();
    assert_eq!(well, broken == "[]", "{found}");
    // Each promise is broken exactly where the report says that its layer is not there.
    let layer = |name: &str| {
        found["layers"].as_array().into_iter().flatten().any(|l| l["name"] == name && l["active"] == true)
    };
    assert_eq!(broken.contains("kernel.minimum_rung is sealed"), found["rung"] != "sealed", "{found}");
    assert_eq!(broken.contains("pin.memory"), !layer("memory limit"), "{found}");
    assert_eq!(broken.contains("pin.cpu"), !layer("cpu limit"), "{found}");
    assert!(!broken.contains("kernel.slice"), "{found}");
    for layer in found["layers"].as_array().into_iter().flatten().filter(|layer| layer["errno"].is_number()) {
        assert!(
            layer["remedy"].is_string() || layer["detail"].as_str().is_some_and(|d| d.contains("; ")),
            "{layer}"
        );
    }

    let (well, found, _) = doctor(in_mode("required").kernel("slice", "airlocktest-nowhere.slice"));
    assert!(!well && found.contains("start the slice before Airlock"), "{found}");

    let (well, _, _) = doctor(in_mode("off"));
    assert!(well, "who asks for nothing is promised nothing");
    let (well, found, told) = doctor(in_mode("required").kernel("minimum_rung", "bolted"));
    assert!(!well && found.is_empty() && told.contains("airlock.yaml:"), "{found}{told}");
}
