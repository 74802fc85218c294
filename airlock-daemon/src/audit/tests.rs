//! The log as a whole: queue, writer, files.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::chain::digest;
use super::file::{Segments, Store, StoreError};
use super::journal::Journal;
use super::verify::{Report, verify};
use super::*;
use crate::config::schema::{self, OnAuditFailure};

fn config(dir: &Path) -> schema::Audit {
    schema::Audit { dir: dir.to_owned(), journald: false, ..schema::Audit::default() }
}

fn call(n: u64) -> Record {
    Record {
        subject: Some("alice".into()),
        target: Some(format!("tool-{n}").into()),
        decision: Some(Verdict::Allow),
        ..Record::new(Event::CallIntent)
    }
}

fn intact(dir: &Path) -> Report {
    let report = verify(dir, None).unwrap();
    assert!(report.intact(), "{:#?}", report.findings);
    report
}

fn first_segment(dir: &Path) -> PathBuf {
    dir.join("00000000000000000000.jsonl")
}

fn text(dir: &Path) -> String {
    segments(dir).unwrap().iter().map(|path| fs::read_to_string(path).unwrap()).collect()
}

#[test]
fn what_is_recorded_is_stored_in_order_and_a_restart_continues_the_chain() {
    let dir = tempfile::tempdir().unwrap();
    for run in 0..3 {
        let (log, writer) = AuditLog::open(&config(dir.path())).unwrap();
        for n in 0..100 {
            log.record(call(run * 100 + n)).unwrap();
        }
        writer.join().unwrap();
        assert_eq!(log.record(call(0)), Err(AuditFull::Closed));
        assert_eq!(log.stats().records, 100);
    }
    let report = intact(dir.path());
    assert_eq!((report.records, report.last_seq, report.segments), (300, Some(299), 1));
    for (n, line) in text(dir.path()).lines().enumerate() {
        assert!(line.contains(&format!("\"target\":\"tool-{n}\"")), "{line}");
    }
    assert_eq!(fs::metadata(first_segment(dir.path())).unwrap().permissions().mode() & 0o777, 0o640);
}

#[test]
fn many_workers_share_one_chain() {
    let dir = tempfile::tempdir().unwrap();
    let (log, writer) = AuditLog::open(&config(dir.path())).unwrap();
    std::thread::scope(|scope| {
        for worker in 0..4 {
            let log = log.clone();
            scope.spawn(move || (0..500).for_each(|n| log.record(call(worker * 1_000 + n)).unwrap()));
        }
    });
    writer.join().unwrap();
    let report = intact(dir.path());
    assert_eq!((report.records, report.clock_steps), (2_000, None));
}

#[test]
fn a_missing_directory_is_made_private() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("a/b");
    let (_log, writer) = AuditLog::open(&config(&dir)).unwrap();
    writer.join().unwrap();
    assert_eq!(fs::metadata(&dir).unwrap().permissions().mode() & 0o7777 & !0o750, 0);
    intact(&dir);
}

#[test]
fn a_cut_last_line_is_kept_apart_and_a_gap_names_it() {
    let dir = tempfile::tempdir().unwrap();
    for round in 0..2 {
        let (log, writer) = AuditLog::open(&config(dir.path())).unwrap();
        (0..5).for_each(|n| log.record(call(n)).unwrap());
        writer.join().unwrap();
        let path = first_segment(dir.path());
        let torn = format!("{{\"v\":1,\"seq\":{round}");
        fs::write(&path, fs::read_to_string(&path).unwrap() + &torn).unwrap();
        assert!(!verify(dir.path(), None).unwrap().intact());
    }
    AuditLog::open(&config(dir.path())).unwrap().1.join().unwrap();
    let report = intact(dir.path());
    assert_eq!((report.records, report.gaps.unwrap().0), (12, 2));
    let aside = |name: &str| fs::read_to_string(dir.path().join(name)).unwrap();
    assert_eq!(aside("00000000000000000000.jsonl.torn"), "{\"v\":1,\"seq\":0");
    assert_eq!(aside("00000000000000000000.jsonl.torn.1"), "{\"v\":1,\"seq\":1");
    let text = text(dir.path());
    let gaps: Vec<_> = text.lines().filter(|line| line.contains("\"event\":\"gap\"")).collect();
    assert_eq!(gaps.len(), 2);
    assert!(gaps[1].contains("\"target\":\"00000000000000000000.jsonl.torn.1\""), "{}", gaps[1]);
}

#[test]
fn a_log_of_nothing_but_a_cut_line_begins_anew() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(first_segment(dir.path()), "{\"v\":1").unwrap();
    AuditLog::open(&config(dir.path())).unwrap().1.join().unwrap();
    assert_eq!(intact(dir.path()).records, 1);
}

#[test]
fn nothing_is_appended_to_a_doubtful_end() {
    for (content, says) in [
        ("rubbish\n".to_owned(), "is not a record"),
        ("x".repeat(MAX_LINE + 1), "its end is not a line"),
        (format!("{}\n", "x".repeat(5 * MAX_LINE)), "its end is not a line"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        fs::write(first_segment(dir.path()), &content).unwrap();
        let error = AuditLog::open(&config(dir.path())).unwrap_err().to_string();
        assert!(error.contains(says) && error.contains("airlock audit verify"), "{error}");
        assert_eq!(fs::read_to_string(first_segment(dir.path())).unwrap(), content, "nothing was changed");
    }
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("00000000000000000007.jsonl"), "").unwrap();
    let error = AuditLog::open(&config(dir.path())).unwrap_err().to_string();
    assert!(error.contains("record 0 comes next"), "{error}");
}

#[test]
fn two_daemons_never_share_a_directory() {
    let dir = tempfile::tempdir().unwrap();
    let (_log, writer) = AuditLog::open(&config(dir.path())).unwrap();
    let error = AuditLog::open(&config(dir.path())).unwrap_err().to_string();
    assert!(error.contains(&format!("another airlock (pid {})", std::process::id())), "{error}");
    writer.join().unwrap();
    AuditLog::open(&config(dir.path())).unwrap().1.join().unwrap();
}

#[test]
fn a_directory_that_others_may_write_or_that_is_none_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let error = AuditLog::open(&config(dir.path())).unwrap_err().to_string();
    assert!(error.contains("mode 0777") && error.contains("chmod 0750"), "{error}");
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    let error = AuditLog::open(&config(&file)).unwrap_err().to_string();
    assert!(error.contains("cannot create the audit directory"), "{error}");
}

#[test]
fn segments_end_when_they_are_full() {
    let dir = tempfile::tempdir().unwrap();
    let (segments, mut chain, _) = Segments::open(dir.path()).unwrap();
    let mut store = segments.with_segment_bytes(1_000);
    for n in 0..20 {
        let mut line = Vec::new();
        let seq = chain.append(call(n), std::time::SystemTime::now(), &mut line);
        store.append(seq, &line).unwrap();
    }
    drop(store);
    let report = intact(dir.path());
    assert!(report.segments > 3, "{}", report.segments);
    let (_, again, torn) = Segments::open(dir.path()).unwrap();
    assert_eq!((again, torn), (chain, None));
}

#[test]
fn the_last_lines_are_found_across_segments() {
    let dir = tempfile::tempdir().unwrap();
    let (segments, mut chain, _) = Segments::open(dir.path()).unwrap();
    let mut store = segments.with_segment_bytes(1);
    for n in 0..5 {
        let mut lines = Vec::new();
        let seq = chain.append(call(2 * n), std::time::SystemTime::now(), &mut lines);
        chain.append(call(2 * n + 1), std::time::SystemTime::now(), &mut lines);
        store.append(seq, &lines).unwrap();
    }
    for count in [1, 2, 3, 9, 10, 50] {
        let lines = tail_lines(dir.path(), count).unwrap();
        assert_eq!(lines.len(), count.min(10));
        assert_eq!(digest(lines.last().unwrap()), chain.head);
        let first = String::from_utf8(lines[0].clone()).unwrap();
        assert!(first.contains(&format!("\"seq\":{},", 10 - count.min(10))), "{first}");
    }
}

#[test]
fn a_segment_changed_under_the_daemon_is_not_appended_to() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, mut chain, _) = Segments::open(dir.path()).unwrap();
    let mut line = Vec::new();
    let seq = chain.append(call(0), std::time::SystemTime::now(), &mut line);
    store.append(seq, &line).unwrap();
    fs::write(first_segment(dir.path()), "").unwrap();
    let error = store.append(seq + 1, &line).unwrap_err().to_string();
    assert!(error.contains("somebody removed or changed it"), "{error}");
    fs::remove_file(first_segment(dir.path())).unwrap();
    assert!(store.append(seq + 1, &line).is_err());
}

/// A store that does what the test tells it, batch by batch, and says when it was asked.
struct Told {
    asked: Sender<()>,
    orders: Receiver<Result<(), i32>>,
    stored: Arc<Mutex<Vec<u8>>>,
}

impl Store for Told {
    fn append(&mut self, _first_seq: u64, lines: &[u8]) -> Result<(), StoreError> {
        self.asked.send(()).ok();
        // Without orders any more: everything works.
        match self.orders.recv().unwrap_or(Ok(())) {
            Ok(()) => {
                self.stored.lock().unwrap().extend_from_slice(lines);
                Ok(())
            }
            Err(errno) => {
                Err(StoreError::new("append to", Path::new("s"), io::Error::from_raw_os_error(errno)))
            }
        }
    }
}

/// The log over such a store.
struct Bench {
    log: AuditLog,
    writer: AuditWriter,
    asked: Receiver<()>,
    orders: Sender<Result<(), i32>>,
    stored: Arc<Mutex<Vec<u8>>>,
}

fn told(on_failure: OnAuditFailure, journal: Option<Box<dyn Journal>>) -> Bench {
    let ((asks, asked), (orders, order)) = (channel(), channel());
    let stored = Arc::new(Mutex::new(Vec::new()));
    let store = Told { asked: asks, orders: order, stored: stored.clone() };
    let (log, writer) =
        AuditLog::start(Box::new(store), journal, Chain::default(), on_failure, None).unwrap();
    Bench { log, writer, asked, orders, stored }
}

fn check_stored(stored: &Mutex<Vec<u8>>) -> Report {
    let dir = tempfile::tempdir().unwrap();
    fs::write(first_segment(dir.path()), &*stored.lock().unwrap()).unwrap();
    intact(dir.path())
}

#[test]
fn a_full_queue_refuses_and_a_gap_counts_what_was_refused() {
    let Bench { log, writer, asked, orders, stored } = told(OnAuditFailure::Buffer, None);
    log.record(call(0)).unwrap();
    asked.recv().unwrap(); // the writer is in the store now, and stays there
    for n in 1..CAPACITY {
        log.record(call(n)).unwrap();
    }
    assert!(log.healthy().unwrap_err().contains("does not keep up"));
    for n in 0..7 {
        assert_eq!(log.record(call(n)), Err(AuditFull::QueueFull));
    }
    assert_eq!((log.stats().queued, log.stats().refused), (CAPACITY, 7));
    drop(orders); // the store works from here on
    writer.join().unwrap();
    let report = check_stored(&stored);
    assert_eq!((report.records, report.gaps.unwrap().0), (CAPACITY + 1, 7));
    assert_eq!(log.stats().queued, 0);
}

#[test]
fn a_gap_is_recorded_even_if_nothing_follows() {
    let Bench { log, writer, asked, orders, stored } = told(OnAuditFailure::Refuse, None);
    log.record(call(0)).unwrap();
    asked.recv().unwrap();
    orders.send(Err(28)).unwrap();
    asked.recv().unwrap(); // tried again: the failure is known by now
    assert_eq!(log.record(call(1)), Err(AuditFull::StoreFailed));
    orders.send(Ok(())).unwrap();
    asked.recv().unwrap(); // the gap record's batch, though nothing else was recorded
    orders.send(Ok(())).unwrap();
    drop(orders);
    writer.join().unwrap();
    let report = check_stored(&stored);
    assert_eq!((report.records, report.gaps.unwrap().0), (2, 1));
}

#[test]
fn a_failing_store_buffers_says_why_and_recovers() {
    let Bench { log, writer, asked, orders, stored } = told(OnAuditFailure::Buffer, None);
    log.record(call(0)).unwrap();
    for _ in 0..2 {
        asked.recv().unwrap();
        orders.send(Err(28)).unwrap();
    }
    asked.recv().unwrap();
    let reason = log.healthy().unwrap_err();
    assert!(reason.contains("No space left on device") && reason.contains("free space"), "{reason}");
    log.record(call(1)).unwrap(); // buffered
    assert_eq!((log.stats().store_failures, log.stats().queued, log.stats().healthy), (2, 2, false));
    orders.send(Ok(())).unwrap();
    asked.recv().unwrap(); // the second record: so the first is stored
    assert_eq!(log.healthy(), Ok(()));
    orders.send(Ok(())).unwrap();
    writer.join().unwrap();
    assert_eq!(check_stored(&stored).records, 2);
}

#[test]
fn a_store_that_fails_to_the_end_is_reported() {
    let Bench { log, writer, asked, orders, stored } = told(OnAuditFailure::Buffer, None);
    log.record(call(0)).unwrap();
    asked.recv().unwrap();
    for _ in 0..1_000 {
        orders.send(Err(5)).unwrap();
    }
    let error = writer.join().unwrap_err().to_string();
    assert!(
        error.contains("1 records could not be stored") && error.contains("Input/output error"),
        "{error}"
    );
    assert!(stored.lock().unwrap().is_empty());
}

/// A journal that keeps what it is sent and fails where told.
struct Kept {
    entries: Arc<Mutex<Vec<Vec<String>>>>,
    fail: bool,
}

impl Journal for Kept {
    fn send(&mut self, fields: &[String]) -> Result<(), String> {
        self.entries.lock().unwrap().push(fields.to_vec());
        if self.fail { Err("no".to_owned()) } else { Ok(()) }
    }
}

#[test]
fn the_journal_gets_the_stored_lines_and_its_failures_are_counted() {
    for fail in [false, true] {
        let entries = Arc::new(Mutex::new(Vec::new()));
        let journal = Kept { entries: entries.clone(), fail };
        let Bench { log, writer, orders, stored, .. } = told(OnAuditFailure::Buffer, Some(Box::new(journal)));
        drop(orders);
        (0..3).for_each(|n| log.record(call(n)).unwrap());
        writer.join().unwrap();
        assert_eq!(log.stats().journal_failures, if fail { 3 } else { 0 });
        assert_eq!(log.healthy(), Ok(()), "the files are the log");
        let stored = stored.lock().unwrap();
        let lines: Vec<_> = std::str::from_utf8(&stored).unwrap().lines().collect();
        for (seq, (entry, line)) in entries.lock().unwrap().iter().zip(&lines).enumerate() {
            assert!(entry.contains(&format!("AIRLOCK_RECORD={line}")), "{entry:#?}");
            assert!(entry.contains(&format!("AIRLOCK_SEQ={seq}")));
            assert!(entry.contains(&format!("AIRLOCK_HASH={}", hex(&digest(line.as_bytes())))));
        }
        assert_eq!(lines.len(), 3);
    }
}

/// A file system of 256 KiB; only root may mount one.
struct Tmpfs(tempfile::TempDir);

impl Tmpfs {
    fn mount() -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let options = c"size=256k,mode=0700";
        let mounted =
            rustix::mount::mount("tmpfs", dir.path(), "tmpfs", rustix::mount::MountFlags::empty(), options);
        match mounted {
            Ok(()) => Some(Self(dir)),
            Err(error) => {
                eprintln!("skipped: cannot mount a tmpfs: {error}");
                None
            }
        }
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        rustix::mount::unmount(self.0.path(), rustix::mount::UnmountFlags::DETACH).unwrap();
    }
}

#[test]
fn a_full_disk_is_survived() {
    let Some(disk) = Tmpfs::mount() else { return };
    let dir = disk.0.path().join("audit");
    let (log, writer) = AuditLog::open(&config(&dir)).unwrap();
    log.record(call(0)).unwrap();
    // The writer thread makes these true; sleeping only leaves it the processor.
    let until = |done: &dyn Fn() -> bool| {
        while !done() {
            std::thread::sleep(Duration::from_millis(1));
        }
    };
    until(&|| log.stats().records == 1);
    let filler = disk.0.path().join("filler");
    assert!(fs::write(&filler, vec![0; 1 << 20]).is_err(), "the disk is full");
    let mut n = 1;
    while log.healthy().is_ok() {
        log.record(call(n)).unwrap(); // the last page of the segment may still have room for a few
        n += 1;
        until(&|| log.stats().queued == 0 || log.healthy().is_err());
    }
    let reason = log.healthy().unwrap_err();
    assert!(reason.contains("No space left on device"), "{reason}");
    fs::remove_file(&filler).unwrap();
    until(&|| log.healthy().is_ok());
    log.record(call(n)).unwrap();
    writer.join().unwrap();
    assert_eq!(intact(&dir).records, n + 1);
}

/// Runs this very test once more in a mount namespace with a `/run` of its own, where it plays journald.
#[test]
fn libsystemd_sends_what_journald_would_get() {
    const SELF: &str = "audit::tests::libsystemd_sends_what_journald_would_get";
    if std::env::var_os("AIRLOCK_TEST_JOURNAL").is_none() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: only root may play journald");
            return;
        }
        let script = "mount -t tmpfs tmpfs /run && mkdir -p /run/systemd/journal && exec \"$0\" --exact --nocapture \"$1\"";
        let child = Command::new("unshare")
            .args(["--mount", "--propagation", "private", "sh", "-c", script])
            .args([std::env::current_exe().unwrap().as_os_str(), SELF.as_ref()])
            .env("AIRLOCK_TEST_JOURNAL", "1")
            .output()
            .unwrap();
        let (out, err) = (String::from_utf8_lossy(&child.stdout), String::from_utf8_lossy(&child.stderr));
        assert!(child.status.success() && out.contains("1 passed"), "{out}{err}");
        return;
    }
    let journald = UnixDatagram::bind("/run/systemd/journal/socket").unwrap();
    let dir = tempfile::tempdir_in("/run").unwrap();
    let config = schema::Audit { journald: true, ..config(dir.path()) };
    let (log, writer) = AuditLog::open(&config).unwrap();
    let record = Record { reason: Some("two\nlines".into()), ..call(1) };
    log.record(record).unwrap();
    let mut entry = vec![0; 65_536];
    let length = journald.recv(&mut entry).unwrap();
    writer.join().unwrap();
    let entry = &entry[..length];
    let line = text(dir.path());
    for field in [
        "MESSAGE=alice called tool-1: allowed\n",
        "MESSAGE_ID=697764b24ce54be8b1f67716fa93cbd9\n",
        "SYSLOG_IDENTIFIER=airlock-audit\n",
        "AIRLOCK_DECISION=allow\n",
        &format!("AIRLOCK_RECORD={line}"),
        // A value of several lines is sent with its length before it.
        "AIRLOCK_REASON\n\u{9}\0\0\0\0\0\0\0two\nlines\n",
    ] {
        assert!(
            memchr::memmem::find(entry, field.as_bytes()).is_some(),
            "{field} in {}",
            entry.escape_ascii()
        );
    }
    assert_eq!(log.stats().journal_failures, 0);
}
