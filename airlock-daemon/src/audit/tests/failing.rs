//! Stores, journals and disks that fail.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use parking_lot::Mutex;

use super::scripted::{Bench, check_stored, told};
use super::{call, config, intact, text};
use crate::audit::journald::journal::{Journal, Untaken};
use crate::audit::records::hash::digest;
use crate::audit::*;
use crate::config::schema::{self, OnAuditFailure};
use crate::config::units::ByteSize;

#[test]
fn a_full_queue_refuses_and_a_gap_counts_what_was_refused() {
    let Bench { log, writer, asked, orders, stored, .. } = told(OnAuditFailure::Buffer, None);
    log.record(call(0)).unwrap();
    asked.recv().unwrap(); // the writer is in the store now, and stays there
    // A stranger finds a tenth of the queue, a refusal half of it, an intent all but a tenth.
    let mut taken = 1;
    let mut fill = |record: &dyn Fn() -> Result<(), AuditFull>, until: u64| {
        while record().is_ok() {
            taken += 1;
        }
        assert_eq!((record(), taken), (Err(AuditFull::QueueFull), until));
    };
    for n in 0..60 {
        log.record_stranger("authenticate", stranger(n));
    }
    fill(&|| log.record_refusal(call(1)), CAPACITY / 2 - 60);
    log.record_stranger("limit", stranger(0));
    assert_eq!(log.stats().strangers_untold, 1, "half of the queue is taken");
    fill(&|| log.record(call(2)), CAPACITY - CAPACITY / 10 - 60);
    assert!(log.healthy().unwrap_err().contains("does not keep up"));
    fill(&|| log.record_done(call(3)), CAPACITY - 60);
    assert_eq!((log.stats().queued, log.stats().refused), (CAPACITY, 6));
    drop(orders); // the store works from here on
    writer.join().unwrap();
    let report = check_stored(&stored);
    assert_eq!((report.records, report.gaps.unwrap().0, report.clock_steps), (CAPACITY + 1, 6, None));
    let alarms = log.alarms();
    assert!(alarms[0].starts_with("audit: 6 records are missing, the last gap is 0s old"), "{alarms:?}");
    assert_eq!(log.stats().queued, 0);
}

fn stranger(n: u64) -> Record {
    Record { client: Some(format!("192.0.2.{n}").into()), status: Some(401), ..Record::new(Event::Refusal) }
}

#[test]
fn strangers_are_counted_and_leave_the_log_to_the_known() {
    let Bench { log, writer, asked: _asked, orders, stored, .. } = told(OnAuditFailure::Buffer, None);
    drop(orders);
    for n in 0..100_000 {
        log.record_stranger("authenticate", stranger(n % 500));
        if n % 100 == 0 {
            log.record_refusal(call(n)).unwrap();
        }
    }
    writer.join().unwrap();
    check_stored(&stored);
    let stored = stored.lock();
    let lines: Vec<serde_json::Value> =
        stored.split(|b| *b == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect();
    let known = lines.iter().filter(|line| line["subject"] == "alice").count();
    assert_eq!(known, 1_000, "every refusal of somebody known");
    let strangers: Vec<_> = lines.iter().filter(|line| line["event"] == "refusal").collect();
    let told: u64 = strangers.iter().map(|line| line["count"].as_u64().unwrap_or(1)).sum();
    assert_eq!(told, 100_000, "each is counted");
    // Some seconds on a slow host: still a small part of what was refused.
    assert!(strangers.len() < 10_000, "{}", strangers.len());
}

/// A journald that does not read, until it is let go.
struct Stuck(Receiver<()>);

impl Journal for Stuck {
    fn send(&mut self, _fields: &[String]) -> Result<(), Untaken> {
        // Without anybody who could let it go, it works.
        let _ = self.0.recv();
        Ok(())
    }
}

#[test]
fn a_journald_that_does_not_read_holds_up_nothing() {
    let (go, stuck) = channel();
    let journal: Box<dyn Journal> = Box::new(Stuck(stuck));
    let Bench { log, writer, asked: _asked, orders, stored, .. } =
        told(OnAuditFailure::Buffer, Some(journal));
    drop(orders);
    // More than waits for journald, and more than the queue holds.
    let many = 3 * CAPACITY;
    for n in 0..many {
        until(&|| log.stats().queued < CAPACITY / 4);
        log.record(Record { reason: Some("r".repeat(255).into()), ..call(n) }).unwrap();
    }
    until(&|| log.stats().records == many);
    assert_eq!(log.healthy(), Ok(()), "the files are the log");
    let failures = log.stats().journal_failures;
    assert!(failures > 0 && failures < many, "{failures}");
    let alarms = log.alarms();
    assert!(alarms.len() == 1 && alarms[0].contains("as fast as they come"), "{alarms:?}");
    // The end does not wait for it either.
    writer.join().unwrap();
    assert_eq!(check_stored(&stored).records, many);
    drop(go);
}

#[test]
fn a_gap_is_recorded_even_if_nothing_follows() {
    let Bench { log, writer, asked, orders, stored, .. } = told(OnAuditFailure::Refuse, None);
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
    let Bench { log, writer, asked, orders, stored, .. } = told(OnAuditFailure::Buffer, None);
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
    let Bench { log, writer, asked, orders, stored, .. } = told(OnAuditFailure::Buffer, None);
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
    assert!(stored.lock().is_empty());
}

/// A journal that keeps what it is sent and fails where told.
struct Kept {
    entries: Arc<Mutex<Vec<Vec<String>>>>,
    fail: bool,
}

impl Journal for Kept {
    fn send(&mut self, fields: &[String]) -> Result<(), Untaken> {
        self.entries.lock().push(fields.to_vec());
        if self.fail { Err(Untaken::Refused("no".to_owned())) } else { Ok(()) }
    }
}

/// A journal that is away while the test says so, and says that it was looked for.
struct Absent {
    is_away: Arc<AtomicBool>,
    looked_for: Sender<()>,
    taken: Arc<Mutex<Vec<String>>>,
}

impl Journal for Absent {
    fn send(&mut self, fields: &[String]) -> Result<(), Untaken> {
        let _ = self.looked_for.send(());
        if self.is_away.load(Ordering::SeqCst) {
            return Err(Untaken::Away("it is away".to_owned()));
        }
        self.taken.lock().extend(fields.iter().filter(|field| field.starts_with("AIRLOCK_SEQ=")).cloned());
        Ok(())
    }
}

#[test]
fn a_journald_that_is_started_again_misses_nothing() {
    let (looked_for, looks) = channel();
    let (is_away, taken) = (Arc::new(AtomicBool::new(true)), Arc::new(Mutex::new(Vec::new())));
    let journal = Absent { is_away: is_away.clone(), looked_for, taken: taken.clone() };
    let Bench { log, writer, orders, .. } = told(OnAuditFailure::Buffer, Some(Box::new(journal)));
    drop(orders);
    (0..500).for_each(|n| log.record(call(n)).unwrap());
    (0..3).for_each(|_| looks.recv().unwrap());
    let alarms = log.alarms();
    assert!(alarms.len() == 1 && alarms[0].ends_with(": it is away"), "{alarms:?}");
    is_away.store(false, Ordering::SeqCst);
    until(&|| taken.lock().len() == 500);
    assert_eq!(*taken.lock(), (0..500).map(|seq| format!("AIRLOCK_SEQ={seq}")).collect::<Vec<_>>());
    assert_eq!((log.alarms(), log.stats().journal_failures), (Vec::new(), 0));
    // The end does not wait for one that is away; what it lacks is counted.
    is_away.store(true, Ordering::SeqCst);
    (0..5).for_each(|n| log.record(call(n)).unwrap());
    writer.join().unwrap();
    assert_eq!((taken.lock().len(), log.stats().journal_failures), (500, 5));
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
        let stored = stored.lock();
        let lines: Vec<_> = std::str::from_utf8(&stored).unwrap().lines().collect();
        for (seq, (entry, line)) in entries.lock().iter().zip(&lines).enumerate() {
            assert!(entry.contains(&format!("AIRLOCK_RECORD={line}")), "{entry:#?}");
            assert!(entry.contains(&format!("AIRLOCK_SEQ={seq}")));
            assert!(entry.contains(&format!("AIRLOCK_HASH={}", hex(&digest(line.as_bytes())))));
        }
        assert_eq!(lines.len(), 3);
    }
}

/// A file system of 24 MiB; only root may mount one.
struct Tmpfs(tempfile::TempDir);

impl Tmpfs {
    fn mount() -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let options = c"size=24m,mode=0700";
        let mounted =
            rustix::mount::mount("tmpfs", dir.path(), "tmpfs", rustix::mount::MountFlags::empty(), options);
        match mounted {
            Ok(()) => Some(Self(dir)),
            Err(error) => {
                crate::skip::skip(&format!("cannot mount a tmpfs: {error}"));
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

/// The writer thread makes it true; sleeping only leaves it the processor.
fn until(done: &dyn Fn() -> bool) {
    while !done() {
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn below_the_reserve_strangers_go_first_and_then_everybody() {
    let Some(disk) = Tmpfs::mount() else { return };
    let dir = disk.0.path().join("audit");
    // A twentieth of 24 MiB is the most that is kept of so small a file system.
    let (log, writer) = AuditLog::open(&config(&dir)).unwrap();
    let leave = |bytes: usize| {
        let stat = rustix::fs::statvfs(disk.0.path()).unwrap();
        let free = usize::try_from(stat.f_bavail * stat.f_frsize).unwrap();
        fs::write(disk.0.path().join(format!("filler-{bytes}")), vec![0; free - bytes]).unwrap();
    };
    leave(1 << 20);
    log.record(call(0)).unwrap();
    until(&|| log.stats().space == Space::Low);
    log.record_stranger("authenticate", stranger(1));
    assert_eq!(log.stats().strangers_untold, 1);
    let alarms = log.alarms();
    assert!(alarms.len() == 1 && alarms[0].contains("audit.reserve"), "{alarms:?}");
    log.record_refusal(call(1)).unwrap();
    assert_eq!(log.healthy(), Ok(()));
    leave(400 * 1024);
    log.record(call(2)).unwrap();
    until(&|| log.stats().space == Space::Gone);
    assert_eq!(log.record(call(3)), Err(AuditFull::DiskFull));
    assert!(log.healthy().unwrap_err().contains("free space below audit.dir"));
    log.record_done(call(4)).unwrap();
    for name in ["filler-1048576", "filler-409600"] {
        fs::remove_file(disk.0.path().join(name)).unwrap();
    }
    // Nobody asks for anything while it is not ready: the writer looks again by itself.
    until(&|| log.healthy().is_ok());
    log.record(call(5)).unwrap();
    writer.join().unwrap();
    let report = intact(&dir);
    let text = text(&dir);
    assert!(report.gaps.is_some(), "{text}");
    for (n, there) in [(0, true), (1, true), (2, true), (3, false), (4, true), (5, true)] {
        assert_eq!(text.contains(&format!("\"target\":\"tool-{n}\"")), there, "{n}: {text}");
    }
}

#[test]
fn a_full_disk_is_survived() {
    let Some(disk) = Tmpfs::mount() else { return };
    let dir = disk.0.path().join("audit");
    let no_reserve = schema::Audit { reserve: ByteSize(0), ..config(&dir) };
    let (log, writer) = AuditLog::open(&no_reserve).unwrap();
    log.record(call(0)).unwrap();
    until(&|| log.stats().records == 1);
    let filler = disk.0.path().join("filler");
    assert!(fs::write(&filler, vec![0; 32 << 20]).is_err(), "the disk is full");
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
    const SELF: &str = "audit::tests::failing::libsystemd_sends_what_journald_would_get";
    if std::env::var_os("AIRLOCK_TEST_JOURNAL").is_none() {
        if !rustix::process::geteuid().is_root() {
            crate::skip::skip("only root may play journald");
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
        // A value is one line, whatever is in it.
        "AIRLOCK_REASON=two\\nlines\n",
    ] {
        assert!(
            memchr::memmem::find(entry, field.as_bytes()).is_some(),
            "{field} in {}",
            entry.escape_ascii()
        );
    }
    assert_eq!(log.stats().journal_failures, 0);
}
