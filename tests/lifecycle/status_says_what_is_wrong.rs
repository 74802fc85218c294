//! An operator is never left guessing: `airlock status` says how the daemon is, and what somebody should look
//! at.

use std::os::unix::fs::PermissionsExt as _;

use airlock_tests::airlock::{run, stdio_upstream, until};
use airlock_tests::{Airlock, Setup};
use serde_json::{Value, json};

fn start(upstreams: String) -> (tempfile::TempDir, Airlock, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let socket = folder.path().join("admin.sock").display().to_string();
    let airlock = Setup { upstreams, only_listening: true, ..Setup::default() }
        .observability("admin_listen", &socket)
        .start();
    (folder, airlock, socket)
}

fn json(socket: &str) -> Value {
    let (_, text, errors) = run(&["status", "--json", "--socket", socket]);
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}{errors}"))
}

#[test]
fn a_daemon_that_is_well_says_so() {
    let (_folder, airlock, socket) = start(airlock_tests::airlock::docs_upstream());
    // The door is open while a server is still starting, which `trouble` tells.
    let well = |status: &Value| status["ready"] == true && status["upstreams"][0]["trouble"].is_null();
    let status = until(|| Some(json(&socket)).filter(well));
    let status = status.unwrap_or_else(|| panic!("it is not well: {:#}", json(&socket)));
    assert_eq!(status["pid"], airlock.pid());
    assert_eq!(status["upstreams"][0]["name"], "docs");
    assert_eq!(status["issuers"][0]["keys"], 1);
    assert_eq!(status["audit"]["healthy"], true);
    // By the configuration as well, and for reading.
    let config = airlock.config().display().to_string();
    let (_, text, errors) = run(&["status", "--config", &config]);
    assert!(text.contains(": ready, up") && text.contains("upstream  docs (stdio)"), "{text}{errors}");
    assert!(text.contains("policy    "), "{text}");
}

#[test]
fn what_is_wrong_is_named_and_the_exit_code_says_so() {
    let (_folder, _airlock, socket) = start(stdio_upstream("broken", &["/bin/false"]));
    let alarm = until(|| {
        let status = json(&socket);
        let alarms = status["alarms"].as_array().cloned().unwrap_or_default();
        alarms
            .iter()
            .find(|alarm| alarm.as_str().is_some_and(|text| text.contains("upstream broken: ended")))
            .cloned()
    });
    assert!(alarm.is_some(), "{:#}", json(&socket));
    let (good, text, _) = run(&["status", "--socket", &socket]);
    assert!(!good && text.contains(": DEGRADED, up") && text.contains("ALARM  upstream broken"), "{text}");
}

#[test]
fn what_the_kernel_does_not_do_is_an_alarm() {
    let folder = tempfile::tempdir().expect("a folder");
    let socket = folder.path().join("admin.sock").display().to_string();
    let setup = Setup { only_listening: true, ..Setup::default() }
        .kernel("slice", "airlocktest-nowhere.slice")
        .kernel("xdp", json!({"interfaces": ["airlock-no0"]}))
        .observability("admin_listen", &socket);
    let _airlock = setup.start();
    let (_, text, errors) = run(&["status", "--socket", &socket]);
    assert!(text.contains("ALARM  kernel: kernel.slice"), "{text}{errors}");
    assert!(text.contains("ALARM  kernel: the early drop is not attached to airlock-no0"), "{text}{errors}");
}

#[test]
fn without_a_daemon_the_command_says_what_to_do() {
    for (arguments, told) in [
        (&["status", "--socket", "/nonexistent/admin.sock"][..], "is the daemon running?"),
        (&["status", "--config", "/nonexistent/airlock.yaml"][..], "cannot read"),
    ] {
        let (good, _, errors) = run(arguments);
        assert!(!good && errors.contains(told), "{errors}");
    }
    let folder =
        Setup::default().observability("admin_listen", json!(null)).write().expect("a configuration");
    let config = folder.path().join("airlock.yaml").display().to_string();
    let (good, _, errors) = run(&["status", "--config", &config]);
    assert!(!good && errors.contains("observability.admin_listen"), "{errors}");
}

#[test]
fn nobody_else_may_ask() {
    if !rustix::process::geteuid().is_root() {
        airlock_tests::skip("only root can try as another user");
        return;
    }
    let (folder, airlock, socket) = start(airlock_tests::airlock::docs_upstream());
    // The file's mode is one door; the daemon's own question is the other.
    let open = |path: &std::path::Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("permissions");
    };
    assert_eq!(std::fs::metadata(&socket).expect("it is there").permissions().mode() & 0o777, 0o600);
    open(folder.path(), 0o755);
    open(std::path::Path::new(&socket), 0o666);
    let script = "import socket,sys; s=socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); s.sendall(b'GET /status HTTP/1.1\\r\\nhost: a\\r\\n\\r\\n'); print(len(s.recv(100)))";
    let asked = std::process::Command::new("setpriv")
        .args(["--reuid=65534", "--clear-groups", "/usr/bin/python3", "-c", script, &socket])
        .output()
        .expect("setpriv and python3");
    let told = String::from_utf8_lossy(&asked.stdout).into_owned() + &String::from_utf8_lossy(&asked.stderr);
    // It is hung up on, before or after it has asked.
    let hung_up =
        told.trim() == "0" || told.contains("ConnectionResetError") || told.contains("BrokenPipeError");
    assert!(hung_up, "{told}");
    let log = until(|| Some(airlock.log()).filter(|log| log.contains("root and the daemon's own user")));
    assert!(log.is_some(), "{}", airlock.log());
}
