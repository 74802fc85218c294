//! A journald that a test plays, for a daemon in mounts of its own.

use std::collections::BTreeMap;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use airlock_tests::airlock::until;
use airlock_tests::tools;
use rustix::process::{Pid, Signal, kill_process};

/// The fields of one entry.
pub(super) type Entry = BTreeMap<String, String>;

/// The fields of one entry in journald's native protocol.
fn entry(bytes: &[u8]) -> Entry {
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

/// A daemon that is asked to end with this value.
pub(super) struct Ended(Child);

impl Ended {
    pub(super) fn pid(&self) -> u32 {
        self.0.id()
    }

    pub(super) fn signal(&self, signal: Signal) {
        let _ = kill_process(Pid::from_child(&self.0), signal);
    }

    pub(super) fn wait(&mut self) {
        self.0.wait().expect("our child");
    }
}

impl Drop for Ended {
    fn drop(&mut self) {
        if matches!(self.0.try_wait(), Ok(None)) {
            self.signal(Signal::TERM);
        }
        let _ = self.0.wait();
    }
}

/// The place of journald's socket, and all that has come so far.
pub(super) struct PlayedJournal {
    dir: PathBuf,
    socket: Option<UnixDatagram>,
    entries: Vec<Entry>,
}

impl PlayedJournal {
    /// One that listens, in a directory.
    pub(super) fn in_dir(dir: &Path) -> Self {
        let dir = dir.join("journal");
        std::fs::create_dir(&dir).expect("ours");
        let mut journal = Self { dir, socket: None, entries: Vec::new() };
        journal.start();
        journal
    }

    /// Listens, on a socket of its own.
    pub(super) fn start(&mut self) {
        let socket = UnixDatagram::bind(self.dir.join("socket")).expect("a socket");
        socket.set_read_timeout(Some(Duration::from_millis(20))).expect("a timeout");
        self.socket = Some(socket);
    }

    /// Does not listen any more; the name of its socket stays.
    pub(super) fn die(&mut self) {
        self.socket = None;
    }

    /// Takes the name of its socket away.
    pub(super) fn remove(&mut self) {
        self.die();
        std::fs::remove_file(self.dir.join("socket")).expect("it was there");
    }

    /// Starts Airlock in mounts of its own, where this is journald.
    pub(super) fn serve(&self, config: &Path) -> Ended {
        let script = "mount -t tmpfs tmpfs /run && mkdir -p /run/systemd/journal && \
                      mount --bind \"$1\" /run/systemd/journal && exec \"$2\" serve --config \"$3\"";
        let child = Command::new("unshare")
            .args(["--mount", "sh", "-c", script, "sh"])
            .args([&self.dir, &tools::airlock(), config])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        Ended(child.expect("unshare"))
    }

    /// Waits for an entry.
    pub(super) fn find(&mut self, is_it: impl Fn(&Entry) -> bool) -> Entry {
        let Self { socket, entries, .. } = self;
        let mut buffer = vec![0; 256 * 1024];
        let found = until(|| {
            if let Some(Ok(count)) = socket.as_ref().map(|socket| socket.recv(&mut buffer)) {
                entries.push(entry(&buffer[..count]));
            }
            entries.iter().find(|entry| is_it(entry)).cloned()
        });
        found.unwrap_or_else(|| panic!("it is not among {entries:#?}"))
    }

    /// Waits until it has the record with this number.
    pub(super) fn has(&mut self, number: u64) {
        let number = number.to_string();
        self.find(|entry| entry.get("AIRLOCK_SEQ") == Some(&number));
    }

    /// How many records of each kind have come.
    pub(super) fn kinds(&self) -> BTreeMap<String, usize> {
        let mut kinds = BTreeMap::new();
        for kind in self.entries.iter().filter_map(|entry| entry.get("AIRLOCK_EVENT")) {
            *kinds.entry(kind.clone()).or_default() += 1;
        }
        kinds
    }

    /// The numbers of all records of the audit log that have come, in the order in which they came.
    pub(super) fn numbers(&self) -> Vec<u64> {
        let number = |entry: &Entry| entry.get("AIRLOCK_SEQ").and_then(|seq| seq.parse().ok());
        self.entries.iter().filter_map(number).collect()
    }
}
