//! The log as a whole: queue, writer, files.

mod failing;
mod scripted;
mod slow;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::records::hash::digest;
use super::store::file::{Segments, Store};
use super::verify::{Report, verify};
use super::*;
use crate::config::schema;

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

/// The same program, killed while its store is busy: the next one stores what it had taken.
#[test]
fn what_was_taken_outlives_the_process() {
    const DIR: &str = "AIRLOCK_TEST_AUDIT_DIR";
    if let Some(dir) = std::env::var_os(DIR) {
        let (log, _writer) = AuditLog::open(&config(Path::new(&dir))).unwrap();
        for n in 0..2_000 {
            log.record(call(n)).unwrap();
        }
        // Nothing is told to the writer, nothing is waited for.
        rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL).unwrap();
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    for run in 1..=3 {
        let child = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "audit::tests::what_was_taken_outlives_the_process"])
            .env(DIR, dir.path())
            .output()
            .unwrap();
        assert!(!child.status.success(), "it was killed");
        let (_log, writer) = AuditLog::open(&config(dir.path())).unwrap();
        writer.join().unwrap();
        intact(dir.path());
        let text = text(dir.path());
        let mut times = std::collections::BTreeMap::new();
        for line in text.lines().filter(|line| line.contains("\"event\":\"call.intent\"")) {
            let target = line.split("\"target\":\"tool-").nth(1).and_then(|rest| rest.split('"').next());
            *times.entry(target.unwrap().parse::<u64>().unwrap()).or_insert(0) += 1;
        }
        assert_eq!(times, (0..2_000).map(|n| (n, run)).collect(), "each once for each run");
        assert!(text.contains("\"event\":\"recovered\""), "it took so many that some were left");
    }
}

#[test]
fn what_a_killed_daemon_had_refused_is_a_gap_of_the_next_one() {
    let dir = tempfile::tempdir().unwrap();
    let (spool, _) = store::spool::Spool::open(dir.path(), 0).unwrap();
    assert_eq!([(); 3].map(|()| spool.lose()), [true, false, false]);
    drop(spool);
    for _ in 0..2 {
        AuditLog::open(&config(dir.path())).unwrap().1.join().unwrap();
        assert_eq!((intact(dir.path()).records, intact(dir.path()).gaps.unwrap().0), (1, 3));
    }
}

#[test]
fn a_clock_that_is_set_back_breaks_no_order() {
    let (now, hour) = (std::time::SystemTime::now(), std::time::Duration::from_hours(1));
    let nearly_a_second = std::time::Duration::from_millis(900);
    let times = [now + hour, now - hour, now - hour - nearly_a_second, now];
    let first = times.into_iter().zip(0..).map(|(time, n)| (None, time, call(n))).collect();
    let bench = scripted::told_first(&schema::Audit::default(), None, first);
    drop(bench.orders);
    bench.log.record(call(4)).unwrap();
    bench.writer.join().unwrap();
    let report = scripted::check_stored(&bench.stored);
    let (steps, place) = report.clock_steps.unwrap();
    assert_eq!((report.records, steps, place.line), (5, 1, 2), "one step, where it was made");
    let stored = String::from_utf8(bench.stored.lock().clone()).unwrap();
    for (n, line) in stored.lines().enumerate() {
        assert!(line.contains(&format!("\"target\":\"tool-{n}\"")), "{line}");
    }
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
    let (segments, mut chain, _) = Segments::open(dir.path(), 0).unwrap();
    let mut store = segments.with_segment_bytes(1_000);
    for n in 0..20 {
        let mut line = Vec::new();
        let seq = chain.append(call(n), std::time::SystemTime::now(), &mut line);
        store.append(seq, &line).unwrap();
    }
    drop(store);
    let report = intact(dir.path());
    assert!(report.segments > 3, "{}", report.segments);
    let (_, again, torn) = Segments::open(dir.path(), 0).unwrap();
    assert_eq!((again, torn), (chain, None));
}

#[test]
fn the_last_lines_are_found_across_segments() {
    let dir = tempfile::tempdir().unwrap();
    let (segments, mut chain, _) = Segments::open(dir.path(), 0).unwrap();
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
    let (mut store, mut chain, _) = Segments::open(dir.path(), 0).unwrap();
    let mut line = Vec::new();
    let seq = chain.append(call(0), std::time::SystemTime::now(), &mut line);
    store.append(seq, &line).unwrap();
    fs::write(first_segment(dir.path()), "").unwrap();
    let error = store.append(seq + 1, &line).unwrap_err().to_string();
    assert!(error.contains("somebody removed or changed it"), "{error}");
    fs::remove_file(first_segment(dir.path())).unwrap();
    assert!(store.append(seq + 1, &line).is_err());
}
