//! The journal and the terminal say the same, and nobody there speaks in Airlock's name.

use std::collections::BTreeMap;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use airlock_tests::airlock::{stdio_upstream, until};
use airlock_tests::{Setup, tools};

/// Says on standard error what would overwrite its line's beginning, forge a line and clear the screen, then
/// something plain.
const LOUD: &str =
    r"printf 'secret\rERROR airlock: forged upstream=other\n\033[2Jgone\nplain words\n' >&2; sleep 600";

/// The fields of one entry in journald's native protocol.
fn entry(bytes: &[u8]) -> BTreeMap<String, String> {
    let mut fields = BTreeMap::new();
    let mut rest = bytes;
    while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
        let line = String::from_utf8_lossy(&rest[..end]).into_owned();
        rest = &rest[end + 1..];
        if let Some((name, value)) = line.split_once('=') {
            fields.insert(name.to_owned(), value.to_owned());
            continue;
        }
        let (length, after) = rest.split_at(8);
        let length = usize::try_from(u64::from_le_bytes(length.try_into().expect("eight bytes")));
        let length = length.expect("a short value");
        fields.insert(line, String::from_utf8_lossy(&after[..length]).into_owned());
        rest = &after[length + 1..];
    }
    fields
}

struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        if let Some(pid) = i32::try_from(self.0.id()).ok().and_then(rustix::process::Pid::from_raw) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        let _ = self.0.wait();
    }
}

/// Starts Airlock where `dir` is the place of journald's socket, in mounts of its own.
fn serve(config: &Path, dir: &Path) -> Ended {
    let script = "mount -t tmpfs tmpfs /run && mkdir -p /run/systemd/journal && \
                  mount --bind \"$1\" /run/systemd/journal && exec \"$2\" serve --config \"$3\"";
    let child = Command::new("unshare")
        .args(["--mount", "sh", "-c", script, "sh"])
        .args([dir, &tools::airlock(), config])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    Ended(child.expect("unshare"))
}

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
    let journal = dir.path().join("journal");
    std::fs::create_dir(&journal).expect("ours");
    let socket = UnixDatagram::bind(journal.join("socket")).expect("a socket");
    socket.set_read_timeout(Some(Duration::from_millis(20))).expect("a timeout");
    let _airlock = serve(&config, &journal);

    let mut entries: Vec<BTreeMap<String, String>> = Vec::new();
    let mut buffer = vec![0; 256 * 1024];
    let mut by = |identifier: &str, begin: &str| {
        let found = until(|| {
            if let Ok(count) = socket.recv(&mut buffer) {
                entries.push(entry(&buffer[..count]));
            }
            let is_it = |entry: &&BTreeMap<String, String>| {
                entry.get("SYSLOG_IDENTIFIER").is_some_and(|name| name == identifier)
                    && entry.get("MESSAGE").is_some_and(|message| message.starts_with(begin))
            };
            entries.iter().find(is_it).cloned()
        });
        found.unwrap_or_else(|| panic!("{identifier} does not say `{begin}` among {entries:#?}"))
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
