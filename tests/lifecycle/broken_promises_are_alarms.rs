//! An operator is never left guessing: what `airlock kernel doctor` knows, and what of the disk is not in
//! force, is an alarm of `airlock status`, which no reader that has seen enough can upset.

use std::process::{Command, Stdio};

use airlock_tests::airlock::{docs_upstream, run, stdio_upstream, until};
use airlock_tests::{Airlock, Setup, tools};
use rustix::process::Signal;
use serde_json::Value;

fn start(setup: Setup) -> (tempfile::TempDir, Airlock, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let socket = folder.path().join("admin.sock").display().to_string();
    let airlock = Setup { only_listening: true, ..setup }.observability("admin_listen", &socket).start();
    (folder, airlock, socket)
}

fn json(socket: &str) -> Value {
    let (_, text, errors) = run(&["status", "--json", "--socket", socket]);
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}{errors}"))
}

fn alarms(socket: &str) -> Vec<String> {
    let status = json(socket);
    let alarms = status["alarms"].as_array().cloned().unwrap_or_default();
    alarms.iter().filter_map(|alarm| alarm.as_str().map(str::to_owned)).collect()
}

/// The first alarm that begins so, now or soon.
fn alarm(socket: &str, begin: &str) -> String {
    until(|| alarms(socket).into_iter().find(|alarm| alarm.starts_with(begin)))
        .unwrap_or_else(|| panic!("no alarm `{begin}`: {:#?}", alarms(socket)))
}

#[test]
fn a_promise_that_the_doctor_calls_broken_is_an_alarm() {
    let upstreams = docs_upstream() + "    pin: {memory: 64MiB, tasks: 16, cpu: 50%}\n";
    let (_folder, airlock, socket) = start(Setup { upstreams, ..Setup::default() });
    let config = airlock.config().display().to_string();
    let (_, text, errors) = run(&["kernel", "doctor", "--json", "--config", &config]);
    let doctor: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}{errors}"));
    let broken = doctor["broken_promises"].as_array().cloned().expect("a list");
    let alarms = alarms(&socket);
    for promise in broken.iter().filter_map(Value::as_str) {
        assert!(alarms.contains(&format!("kernel: {promise}")), "{promise} among {alarms:#?}");
    }
    let layers = doctor["layers"].as_array().cloned().expect("layers");
    let is_bare = layers.iter().any(|layer| layer["name"] == "memory limit" && layer["active"] == false);
    let told = alarms.iter().any(|alarm| alarm.contains("docs is to have pin.memory"));
    assert_eq!(told, is_bare, "{alarms:#?}");
}

#[test]
fn a_configuration_that_is_not_in_force_is_an_alarm_with_its_age() {
    let (_folder, airlock, socket) = start(Setup::default());
    assert!(
        !alarms(&socket).iter().any(|alarm| alarm.starts_with("configuration")),
        "{:#?}",
        alarms(&socket)
    );
    let text = std::fs::read_to_string(airlock.config()).expect("its configuration");
    std::fs::write(airlock.config(), text.clone() + "# another word\n").expect("ours");
    let told = alarm(&socket, "configuration: ");
    assert!(told.contains("s ago and is not in force: restart the daemon"), "{told}");
    airlock.signal(Signal::HUP);
    assert!(airlock.logs("is not in force: restart the daemon"), "{}", airlock.log());
    std::fs::write(airlock.config(), text.clone() + "nonsense: 1\n").expect("ours");
    assert!(alarm(&socket, "configuration: ").contains("has mistakes"), "{:#?}", alarms(&socket));
    std::fs::write(airlock.config(), text).expect("ours");
    assert!(
        !alarms(&socket).iter().any(|alarm| alarm.starts_with("configuration")),
        "{:#?}",
        alarms(&socket)
    );
}

#[test]
fn a_server_that_does_not_start_is_named_once_and_one_that_starts_says_for_how_long() {
    let upstreams =
        stdio_upstream("gone", &["/nonexistent/server"]) + &stdio_upstream("slow", &["/bin/sleep", "600"]);
    let (_folder, _airlock, socket) = start(Setup { upstreams, ..Setup::default() });
    let told = alarm(&socket, "upstream gone: cannot be started: ");
    assert_eq!(told.matches("gone").count(), 1, "{told}");
    let told = alarm(&socket, "upstream slow: it is starting: ");
    assert!(told.contains("it has had ") && told.contains(" for each answer"), "{told}");
    let status = json(&socket);
    assert_eq!((&status["ready"], &status["state"]), (&true.into(), &"degraded".into()), "{status:#}");
    assert!(status["started_at"].as_str().is_some_and(|at| at.ends_with('Z')), "{status:#}");
}

#[test]
fn a_reader_that_has_seen_enough_upsets_no_command() {
    let (_folder, airlock, socket) = start(Setup::default());
    let config = airlock.config().display().to_string();
    let token = ["token", "--config", &config, "--subject", "alice"];
    let commands: [&[&str]; 6] = [
        &["status", "--socket", &socket],
        &["status", "--json", "--socket", &socket],
        &["block", "list", "--socket", &socket],
        &["kernel", "doctor", "--config", &config],
        &["check", "--config", &config],
        &token,
    ];
    for arguments in commands {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let mut command = Command::new(tools::airlock());
        let output =
            command.args(arguments).stdin(Stdio::null()).stdout(writer).stderr(Stdio::piped()).output();
        let output = output.expect("airlock");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(matches!(output.status.code(), Some(0 | 1)), "{arguments:?}: {:?} {errors}", output.status);
        assert_eq!(errors, "", "{arguments:?}");
    }
    // The same where its complaints go nowhere.
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let mut command = Command::new(tools::airlock());
    let status = command.args(["status", "--socket", "/nonexistent"]).stderr(writer).status();
    assert_eq!(status.expect("airlock").code(), Some(2));
}
