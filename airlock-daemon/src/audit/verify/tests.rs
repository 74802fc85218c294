use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::audit::{Event, Record, Verdict};

/// Lines of records 0.., each its own string without newline.
fn lines(count: u64) -> Vec<String> {
    let mut chain = Chain::default();
    let start = SystemTime::UNIX_EPOCH + Duration::from_mins(29_922_450);
    (0..count)
        .map(|n| {
            let record = Record {
                subject: Some("alice".into()),
                target: Some(format!("tool-{n}").into()),
                decision: Some(Verdict::Allow),
                ..Record::new(Event::CallIntent)
            };
            let mut line = Vec::new();
            chain.append(record, start + Duration::from_millis(n), &mut line);
            String::from_utf8(line).unwrap().trim_end().to_owned()
        })
        .collect()
}

/// Writes `lines` as segments of `size` lines, named by where the segment would begin if nothing was tampered
/// with.
fn store(dir: &Path, lines: &[String], size: usize) {
    for (n, part) in lines.chunks(size).enumerate() {
        fs::write(dir.join(name((n * size) as u64)), part.join("\n") + "\n").unwrap();
    }
}

fn name(first: u64) -> String {
    format!("{first:020}.jsonl")
}

fn check(lines: &[String]) -> Report {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join(name(0)), lines.join("\n") + "\n").unwrap();
    verify(dir.path(), None).unwrap()
}

/// The findings as `line: text`, without the directory.
fn found(report: &Report) -> Vec<String> {
    report
        .findings
        .iter()
        .map(|finding| {
            let text = finding.to_string();
            text.rsplit_once(".jsonl:")
                .map_or(text.clone(), |_| text.split_once(".jsonl:").unwrap().1.to_owned())
        })
        .collect()
}

fn one(report: &Report, start: &str) {
    let found = found(report);
    assert_eq!(found.len(), 1, "{found:#?}");
    assert!(found[0].starts_with(start), "{found:#?}");
}

#[test]
fn an_untouched_log_is_intact() {
    let report = check(&lines(10));
    assert!(report.intact(), "{:#?}", report.findings);
    assert_eq!((report.records, report.first_seq, report.last_seq), (10, Some(0), Some(9)));
    assert_eq!(report.chain.head, digest(lines(10)[9].as_bytes()));
    assert_eq!((report.gaps, report.clock_steps), (None, None));
}

#[test]
fn an_edited_line_is_named() {
    for edited in 0..8 {
        let mut lines = lines(10);
        lines[edited] = lines[edited].replace("alice", "mallo");
        one(
            &check(&lines),
            &format!("{}: edited: its hash is not what line {} says", edited + 1, edited + 2),
        );
    }
    let mut last_but_one = lines(10);
    last_but_one[8] = last_but_one[8].replace("alice", "mallo");
    one(&check(&last_but_one), "9: edited: this line or line 10 was edited");
}

#[test]
fn an_edited_number_hash_or_time_is_named() {
    let mut changed = lines(10);
    changed[4] = changed[4].replace("\"seq\":4", "\"seq\":400");
    one(&check(&changed), "5: edited: seq says 400");
    let mut changed = lines(10);
    let prev = changed[4].find("\"prev\":\"").unwrap() + 8;
    let digit = if changed[4].as_bytes()[prev] == b'0' { "1" } else { "0" };
    changed[4].replace_range(prev..=prev, digit);
    one(&check(&changed), "5: edited: prev is not");
    let mut changed = lines(10);
    changed[4] = changed[4].replace("2026-", "20x6-");
    one(&check(&changed), "5: edited or inserted: not a record: its time");
    let mut changed = lines(10);
    let genesis = "0".repeat(64);
    changed[0] = changed[0].replace(&genesis, &"1".repeat(64));
    one(&check(&changed), "1: edited: prev of the first record is not 64 zeros");
}

#[test]
fn removed_lines_are_counted_where_they_are_missing() {
    let mut cut = lines(10);
    cut.remove(4);
    one(&check(&cut), "5: removed: 1 of the records 4..4 should stand before this line");
    let mut cut = lines(10);
    cut.drain(3..7);
    one(&check(&cut), "4: removed: 4 of the records 3..6 should stand before this line");
    let found = found(&check(&lines(10)[2..]));
    assert!(found[0].starts_with("1: renamed") && found[1].starts_with("1: removed: 2 of"), "{found:#?}");
}

#[test]
fn swapped_and_repeated_lines_are_named() {
    let mut swapped = lines(10);
    swapped.swap(4, 5);
    let all = found(&check(&swapped));
    assert_eq!(all.len(), 2, "{all:#?}");
    assert!(all[0].starts_with("5: reordered: records 4..4 should stand before this line"), "{all:#?}");
    assert!(all[1].starts_with("6: reordered or repeated: record 4"), "{all:#?}");
    let mut repeated = lines(10);
    repeated.insert(7, repeated[2].clone());
    one(&check(&repeated), "8: reordered or repeated: record 2");
}

#[test]
fn inserted_rubbish_is_named_and_nothing_else() {
    let mut inserted = lines(10);
    inserted.insert(6, "rubbish".to_owned());
    one(&check(&inserted), "7: edited or inserted: not a record");
    let mut inserted = lines(10);
    inserted.insert(6, String::new());
    one(&check(&inserted), "7: edited or inserted: not a record");
    let mut replaced = lines(10);
    replaced[6] = "x".repeat(3 * MAX_LINE);
    one(&check(&replaced), "7: edited or inserted: not a record: longer than any record");
}

#[test]
fn a_cut_last_line_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let whole = lines(10).join("\n");
    fs::write(dir.path().join(name(0)), &whole[..whole.len() - 20]).unwrap();
    one(&verify(dir.path(), None).unwrap(), "10: cut: the last line has no end");
}

#[test]
fn segments_belong_together() {
    let dir = tempfile::tempdir().unwrap();
    store(dir.path(), &lines(30), 10);
    let report = verify(dir.path(), None).unwrap();
    assert!(report.intact(), "{:#?}", report.findings);
    assert_eq!(report.segments, 3);

    fs::remove_file(dir.path().join(name(10))).unwrap();
    let report = verify(dir.path(), None).unwrap();
    one(&report, "1: removed: 10 of the records 10..19 should stand before this segment");
    assert_eq!(report.findings[0].place.path, dir.path().join(name(20)));

    fs::rename(dir.path().join(name(20)), dir.path().join(name(21))).unwrap();
    assert!(found(&verify(dir.path(), None).unwrap()).iter().any(|f| f.starts_with("1: renamed")));
}

#[test]
fn a_noted_head_finds_a_cut_tail_and_an_edited_last_line() {
    let dir = tempfile::tempdir().unwrap();
    let all = lines(10);
    let (fifth, last) = (digest(all[5].as_bytes()), digest(all[9].as_bytes()));
    store(dir.path(), &all[..8], 100);
    assert!(verify(dir.path(), Some(fifth)).unwrap().intact());
    assert!(verify(dir.path(), None).unwrap().intact(), "the chain alone cannot know");
    one(&verify(dir.path(), Some(last)).unwrap(), "8: cut or replaced: no line of the log has the hash");
}

#[test]
fn gaps_and_clock_steps_are_notes() {
    let mut chain = Chain::default();
    let mut bytes = Vec::new();
    let start = SystemTime::UNIX_EPOCH + Duration::from_mins(29_922_450);
    chain.append(Record::gap(7, "full", None), start, &mut bytes);
    chain.append(Record::gap(2, "full", None), start - Duration::from_secs(9), &mut bytes);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(name(0));
    fs::write(&path, bytes).unwrap();
    let report = verify(dir.path(), None).unwrap();
    assert!(report.intact());
    assert_eq!(report.gaps, Some((9, RecordPlace { path: path.clone(), line: 1 })));
    assert_eq!(report.clock_steps, Some((1, RecordPlace { path, line: 2 })));
}

/// The check in ten lines of another language, so that nobody has to believe this program.
const SHELL: &str = r#"
prev=0000000000000000000000000000000000000000000000000000000000000000
cat "$1"/*.jsonl | while IFS= read -r line; do
    case $line in *"\"prev\":\"$prev\"}") ;; *) echo "broken at: $line"; exit 1 ;; esac
    prev=$(printf %s "$line" | sha256sum | cut -d' ' -f1)
done
"#;

#[test]
fn sha256sum_and_a_shell_agree() {
    let dir = tempfile::tempdir().unwrap();
    store(dir.path(), &lines(25), 10);
    let shell = || Command::new("sh").args(["-c", SHELL, "sh"]).arg(dir.path()).output().unwrap();
    let good = shell();
    assert!(good.status.success(), "{}", String::from_utf8_lossy(&good.stdout));
    let path = dir.path().join(name(10));
    fs::write(&path, fs::read_to_string(&path).unwrap().replacen("alice", "mallo", 1)).unwrap();
    assert!(!shell().status.success());
    assert!(!verify(dir.path(), None).unwrap().intact());
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn rubbish_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..2_000)) {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(name(0)), bytes).unwrap();
        let _ = verify(dir.path(), None).unwrap();
    }

    #[test]
    fn lines_of_chained_rubbish_never_panic(picks in prop::collection::vec((0_u64..6, any::<u64>(), any::<bool>()), 0..30)) {
        let good = lines(6);
        let text: String = picks
            .into_iter()
            .map(|(line, seq, change)| {
                let line = &good[usize::try_from(line).unwrap()];
                if change { line.replacen("\"seq\":", &format!("\"seq\":{seq}"), 1) + "\n" } else { format!("{line}\n") }
            })
            .collect();
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(name(0)), text).unwrap();
        let _ = verify(dir.path(), None).unwrap();
    }

    #[test]
    fn any_changed_byte_before_the_last_line_is_found(at in any::<prop::sample::Index>(), to in any::<u8>()) {
        let good = lines(8);
        let whole = good.join("\n") + "\n";
        let mut bytes = whole.into_bytes();
        let at = at.index(bytes.len() - good[7].len() - 1);
        prop_assume!(bytes[at] != to);
        bytes[at] = to;
        let line = memchr::memchr_iter(b'\n', &bytes[..at]).count() as u64 + 1;
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(name(0)), &bytes).unwrap();
        let report = verify(dir.path(), None).unwrap();
        prop_assert!(!report.intact());
        // The changed line itself, or, where a newline came or went, the one it was split from or joined
        // with.
        let first = report.findings[0].place.line;
        prop_assert!(first.abs_diff(line) <= 1, "changed line {}, found {:#?}", line, report.findings);
    }
}
