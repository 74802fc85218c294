//! A journald that is stopped, killed or started again holds up nothing and misses nothing.

use std::net::SocketAddr;

use airlock_tests::airlock::{free_address, run, until};
use airlock_tests::http::Request;
use airlock_tests::{Setup, skip, tools};
use serde_json::Value;

use super::played_journal::PlayedJournal;

/// Something that leaves a record of its own each time: the path is another one.
fn refused(address: SocketAddr, number: u64) {
    let path = format!("/mcp/nowhere-{number}");
    let answer = until(|| Request::post(&path, "{}").send(address).ok()).expect("an answer");
    assert_ne!(answer.status, 200);
}

#[test]
fn records_of_its_absence_come_as_soon_as_it_is_back() {
    if !tools::is_root() {
        return skip("only root can put a socket where journald has its own");
    }
    let (address, folder) = (free_address().expect("a port"), tempfile::tempdir().expect("a folder"));
    let socket = folder.path().join("admin.sock").display().to_string();
    let setup = Setup {
        listen: vec![address.to_string()],
        upstreams: String::new(),
        kernel: "off".to_owned(),
        audit_in_journald: true,
        ..Setup::default()
    }
    .without_tokens()
    .observability("admin_listen", &socket);
    let dir = setup.write().expect("a configuration");
    let mut journal = PlayedJournal::in_dir(dir.path());
    let airlock = journal.serve(&dir.path().join("airlock.yaml"));
    journal.find(|entry| entry.get("AIRLOCK_EVENT").is_some_and(|event| event == "start"));

    let alarms = || {
        let (_, text, _) = run(&["status", "--json", "--socket", &socket]);
        let status: Value = serde_json::from_str(&text).unwrap_or_default();
        status["alarms"].to_string()
    };
    let told = |problem: &str| {
        until(|| alarms().contains(problem).then_some(()))
            .unwrap_or_else(|| panic!("{problem}: {}", alarms()));
    };
    let is_well = || until(|| (!alarms().contains("journald")).then_some(())).expect("no alarm is left");
    // Stopped: the socket is away. Then killed: it is there, and nobody listens.
    for (number, problem) in [(1, "/run/systemd/journal/socket does not exist"), (2, "nobody listens on it")]
    {
        if number == 1 {
            journal.remove();
        } else {
            journal.die();
        }
        refused(address, number);
        told(problem);
        if number == 2 {
            journal.remove();
        }
        journal.start();
        // Taken out of the socket as well, before that is closed.
        journal.has(number);
        is_well();
    }
    drop(airlock);
    journal.find(|entry| entry.get("AIRLOCK_EVENT").is_some_and(|event| event == "stop"));
    let numbers = journal.numbers();
    assert_eq!(numbers, (0..=*numbers.last().expect("records")).collect::<Vec<_>>(), "each once, in order");
    let text = std::fs::read_to_string(dir.path().join("audit/00000000000000000000.jsonl")).expect("a log");
    assert_eq!(text.lines().count(), numbers.len());
}
