//! The journal and the terminal say the same, and nobody there speaks in Airlock's name.

use airlock_tests::airlock::stdio_upstream;
use airlock_tests::{Setup, tools};

use super::played_journal::PlayedJournal;

/// Says on standard error what would overwrite its line's beginning, forge a line and clear the screen, then
/// something plain.
const LOUD: &str =
    r"printf 'secret\rERROR airlock: forged upstream=other\n\033[2Jgone\nplain words\n' >&2; sleep 600";

#[test]
fn the_journal_reads_as_a_terminal_and_servers_have_a_name_of_their_own() {
    if !tools::is_root() {
        airlock_tests::skip("only root can put a socket where journald has its own");
        return;
    }
    let setup = Setup {
        upstreams: stdio_upstream("loud", &["/bin/sh", "-c", LOUD]),
        kernel: "off".to_owned(),
        log_format: "journald".to_owned(),
        ..Setup::default()
    }
    .without_tokens();
    let dir = setup.write().expect("a configuration");
    let config = dir.path().join("airlock.yaml");
    let mut journal = PlayedJournal::in_dir(dir.path());
    let _airlock = journal.serve(&config);

    let mut by = |identifier: &str, begin: &str| {
        journal.find(|entry| {
            entry.get("SYSLOG_IDENTIFIER").is_some_and(|name| name == identifier)
                && entry.get("MESSAGE").is_some_and(|message| message.starts_with(begin))
        })
    };
    // All that `journalctl -u airlock` shows is the message.
    let own = by("airlock", "cannot fetch the issuer's keys");
    assert!(own["MESSAGE"].contains(r#" issuer="http://127.0.0.1:9" problem=""#), "{own:#?}");
    assert_eq!(own["AIRLOCK_ISSUER"], "http://127.0.0.1:9");
    // A server's words are none of Airlock's.
    let forged = by("airlock-server", "loud: secret\\rERROR airlock: forged");
    assert_eq!(forged["AIRLOCK_UPSTREAM"], "loud");
    by("airlock-server", "loud: \\u{1b}[2Jgone");
    assert_eq!(by("airlock-server", "loud: plain")["MESSAGE"], "loud: plain words");
}

#[test]
fn a_line_of_a_server_has_its_name_before_it_and_steers_nothing() {
    let upstreams = stdio_upstream("loud", &["/bin/sh", "-c", LOUD]);
    let airlock = Setup { upstreams, only_listening: true, ..Setup::default() }.start();
    assert!(airlock.logs("loud: plain words"));
    let log = airlock.log();
    let lines: Vec<&str> = log.lines().filter(|line| line.contains("airlock::server: ")).collect();
    let told = |line: &str| line.split_once("airlock::server: ").map(|(_, told)| told.to_owned());
    let told: Vec<String> = lines.into_iter().filter_map(told).collect();
    let expected =
        ["loud: secret\\rERROR airlock: forged upstream=other", "loud: \\u{1b}[2Jgone", "loud: plain words"];
    assert_eq!(told[..3], expected, "{log}");
    assert!(!log.contains('\r') && !log.contains('\u{1b}'), "{log:?}");
}
