//! `airlock audit`: look at the log and verify it.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde::Deserialize;

use crate::audit::records::hash;
use crate::audit::verify::{Report, journal};
use crate::audit::{Hash, hex, tail_lines, verify};
use crate::observe::escape::printable;

use super::print;

/// The log was read, and something in it is in doubt.
const DOUBT: u8 = 1;
/// The log could not be read.
const UNREADABLE: u8 = 2;
/// `tail` holds its lines in memory.
const MAX_TAIL: u64 = 10_000;

/// Look at the audit log and verify it.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Verify the chain of the whole log. Exit code 0: intact; 1: something is in doubt; 2: it cannot be
    /// read.
    Verify {
        /// The audit directory (`audit.dir`).
        #[arg(long, default_value = super::defaults::DEFAULT_AUDIT_DIR)]
        dir: PathBuf,
        /// A head printed by an earlier run: the log must still contain that line.
        #[arg(long, value_name = "SHA256", value_parser = parse_head)]
        head: Option<Hash>,
        /// Compare with the copy in journald as well. A record that journald lacks is told; one that the
        /// files lack, or have otherwise, is a doubt.
        #[arg(long)]
        journal: bool,
        /// Files of a journal that was kept elsewhere, instead of this host's.
        #[arg(long, value_name = "FILE", requires = "journal")]
        journal_file: Vec<PathBuf>,
    },
    /// Print the last records as a table.
    Tail {
        /// The audit directory (`audit.dir`).
        #[arg(long, default_value = super::defaults::DEFAULT_AUDIT_DIR)]
        dir: PathBuf,
        /// How many.
        #[arg(short = 'n', long = "lines", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=MAX_TAIL))]
        lines: u64,
    },
}

fn parse_head(text: &str) -> Result<Hash, String> {
    hash::parse_hash(text).ok_or_else(|| "expected 64 lower-case hexadecimal digits".to_owned())
}

/// Runs the command.
pub fn run(args: Args) -> ExitCode {
    let (mut out, mut err) = (io::stdout().lock(), io::stderr().lock());
    let code = match args.command {
        Command::Verify { dir, head, journal, journal_file } => {
            let code = run_verify(&dir, head, &mut out, &mut err);
            match code {
                Ok(code) if journal && code != UNREADABLE => {
                    run_compare(&dir, &journal_file, &mut out, &mut err).map(|other| code.max(other))
                }
                code => code,
            }
        }
        Command::Tail { dir, lines } => {
            run_tail(&dir, usize::try_from(lines).unwrap_or(usize::MAX), &mut out, &mut err)
        }
    };
    print::ended(code, UNREADABLE)
}

fn run_verify(dir: &Path, head: Option<Hash>, out: &mut impl Write, err: &mut impl Write) -> io::Result<u8> {
    let report = match verify::verify(dir, head) {
        Ok(report) => report,
        Err(error) => {
            writeln!(err, "airlock audit verify: {error}")?;
            return Ok(UNREADABLE);
        }
    };
    for finding in &report.findings {
        writeln!(out, "{}", printable(&finding.to_string()))?;
    }
    if report.more_findings > 0 {
        writeln!(out, "... and {} more", report.more_findings)?;
    }
    if let Some((lost, place)) = &report.gaps {
        writeln!(out, "note: gap records say that {lost} records are missing, first at {place}")?;
    }
    if let Some((steps, place)) = &report.clock_steps {
        writeln!(out, "note: the clock was set back {steps} times, first at {place}")?;
    }
    out.write_all(summary(&report).as_bytes())?;
    Ok(if report.intact() { 0 } else { DOUBT })
}

fn run_compare(dir: &Path, files: &[PathBuf], out: &mut impl Write, err: &mut impl Write) -> io::Result<u8> {
    let compared = match journal::compare(dir, files) {
        Ok(compared) => compared,
        Err(error) => {
            writeln!(err, "airlock audit verify: cannot compare with the journal: {error}")?;
            return Ok(UNREADABLE);
        }
    };
    let listed = |(count, seqs): &(u64, Vec<u64>)| {
        let seqs: Vec<_> = seqs.iter().map(u64::to_string).collect();
        let more = if *count > seqs.len() as u64 { ", …" } else { "" };
        format!("{count} (seq {}{more})", seqs.join(", "))
    };
    if compared.differ.0 > 0 {
        let seqs = listed(&compared.differ);
        writeln!(
            out,
            "in the journal and not, or otherwise, in the files: {seqs}; the files were changed or cut"
        )?;
    }
    if compared.missing.0 > 0 {
        let seqs = listed(&compared.missing);
        writeln!(
            out,
            "note: not in the journal: {seqs}; it did not take them, or its rate limit is in force"
        )?;
    }
    match compared.first_seq {
        Some(first) => writeln!(out, "{} records in the journal, from seq {first} on", compared.entries)?,
        None => writeln!(out, "no records in the journal")?,
    }
    Ok(if compared.differ.0 == 0 { 0 } else { DOUBT })
}

fn summary(report: &Report) -> String {
    let counted = |count: u64, noun: &str| format!("{count} {noun}{}", if count == 1 { "" } else { "s" });
    let range = match (report.first_seq, report.last_seq) {
        (Some(first), Some(last)) => format!(", seq {first}..{last}"),
        _ => String::new(),
    };
    let verdict = match (report.intact(), report.records) {
        (true, 0) => "nothing recorded yet".to_owned(),
        (true, _) => format!("chain intact, head {}", hex(&report.chain.head)),
        (false, _) => {
            let found = report.findings.len() as u64 + report.more_findings;
            format!("NOT INTACT: {}", counted(found, "finding"))
        }
    };
    let (records, segments) = (counted(report.records, "record"), counted(report.segments as u64, "segment"));
    format!("{records} in {segments}{range}, {verdict}\n")
}

/// The part of a record that `tail` shows.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Row {
    time: String,
    event: String,
    decision: Option<String>,
    tenant: Option<String>,
    subject: Option<String>,
    client: Option<String>,
    upstream: Option<String>,
    unit: Option<String>,
    method: Option<String>,
    target: Option<String>,
    stage: Option<String>,
    rule_id: Option<String>,
    reason: Option<String>,
    status: Option<u16>,
}

fn run_tail(dir: &Path, count: usize, out: &mut impl Write, err: &mut impl Write) -> io::Result<u8> {
    let lines = match tail_lines(dir, count) {
        Ok(lines) => lines,
        Err(error) => {
            writeln!(err, "airlock audit tail: cannot read {}: {error}", dir.display())?;
            return Ok(UNREADABLE);
        }
    };
    let rows = lines
        .iter()
        .map(|line| serde_json::from_slice(line).map_or_else(|_| damaged(), |row: Row| row.cells()));
    let mut table = vec![["TIME", "EVENT", "DECISION", "SUBJECT", "TARGET", "RULE"].map(str::to_owned)];
    table.extend(rows);
    let mut widths = [0; 5];
    for row in &table {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count().min(48));
        }
    }
    for row in &table {
        let [cells @ .., last] = row;
        for (cell, width) in cells.iter().zip(widths) {
            write!(out, "{cell:width$}  ")?;
        }
        writeln!(out, "{last}")?;
    }
    Ok(0)
}

fn damaged() -> [String; 6] {
    ["?", "?", "?", "?", "not a record; run `airlock audit verify`", ""].map(str::to_owned)
}

impl Row {
    fn cells(self) -> [String; 6] {
        let dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        let subject = match (self.subject, self.tenant) {
            (Some(subject), Some(tenant)) => format!("{subject} ({tenant})"),
            (Some(subject), None) => subject,
            (None, _) => dash(self.client),
        };
        // A process that Airlock did not start is of a unit, and of no upstream.
        let target = match (self.unit.or(self.upstream), self.target.or(self.method)) {
            (Some(whose), Some(target)) => format!("{whose}/{target}"),
            (whose, target) => dash(whose.or(target)),
        };
        let decision = match (self.decision, self.status) {
            (Some(decision), Some(status)) => format!("{decision} {status}"),
            (decision, status) => dash(decision.or(status.map(|status| status.to_string()))),
        };
        let rule = match (self.rule_id, self.reason) {
            (Some(rule), Some(reason)) => format!("{rule}: {reason}"),
            (rule, reason) => dash(rule.or(reason)),
        };
        let event = match self.stage {
            Some(stage) => format!("{} ({stage})", self.event),
            None => self.event,
        };
        [self.time, event, decision, subject, target, rule].map(|cell| printable(&cell).into_owned())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs;
    use std::time::{Duration, SystemTime};

    use super::*;
    use crate::audit::{Chain, Event, Record, Verdict};

    fn log() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let (mut chain, mut bytes) = (Chain::default(), Vec::new());
        let time = SystemTime::UNIX_EPOCH + Duration::from_mins(29_922_450);
        chain.append(Record::new(Event::Start), time, &mut bytes);
        let call = Record {
            subject: Some("alice\u{1b}[2J".into()),
            tenant: Some("acme".into()),
            upstream: Some("docs".into()),
            method: Some("tools/call".into()),
            target: Some("read_file".into()),
            decision: Some(Verdict::Deny),
            stage: Some(crate::stage::Stage::Authorize),
            rule_id: Some("no-writes".into()),
            reason: Some("readers may not write".into()),
            status: Some(403),
            ..Record::new(Event::Refusal)
        };
        chain.append(call, time, &mut bytes);
        let denied = Record {
            unit: Some("notes.service".into()),
            ..Record::kernel_denied("-", 7, "python3", "connect4", "AF_INET")
        };
        chain.append(denied, time, &mut bytes);
        fs::write(dir.path().join("00000000000000000000.jsonl"), bytes).unwrap();
        dir
    }

    fn verified(dir: &Path, head: Option<Hash>) -> (u8, String, String) {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let code = run_verify(dir, head, &mut out, &mut err).unwrap();
        (code, String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
    }

    #[test]
    fn an_intact_log_is_said_to_be_one() {
        let dir = log();
        let (code, out, _) = verified(dir.path(), None);
        assert_eq!(code, 0);
        assert!(out.starts_with("3 records in 1 segment, seq 0..2, chain intact, head "), "{out}");
        let head = hash::parse_hash(out.trim_end().rsplit(' ').next().unwrap()).unwrap();
        assert_eq!(verified(dir.path(), Some(head)).0, 0);
        let (code, out, _) = verified(dir.path(), Some([7; 32]));
        assert_eq!(code, 1);
        assert!(out.contains("no line of the log has the hash 0707"), "{out}");
    }

    #[test]
    fn a_doubt_names_file_and_line_and_an_unreadable_log_says_why() {
        let dir = log();
        let path = dir.path().join("00000000000000000000.jsonl");
        fs::write(&path, fs::read_to_string(&path).unwrap().replace("\"start\"", "\"stop\"")).unwrap();
        let (code, out, _) = verified(dir.path(), None);
        assert_eq!(code, 1);
        assert!(out.contains("00000000000000000000.jsonl:1: edited"), "{out}");
        assert!(out.ends_with("NOT INTACT: 1 finding\n"), "{out}");
        let (code, _, err) = verified(&dir.path().join("missing"), None);
        assert_eq!(code, 2);
        assert!(err.contains("cannot read"), "{err}");
        let empty = tempfile::tempdir().unwrap();
        assert_eq!(verified(empty.path(), None).0, 2);
    }

    #[test]
    fn tail_is_a_table_that_cannot_steer_the_terminal() {
        let dir = log();
        let (mut out, mut err) = (Vec::new(), Vec::new());
        assert_eq!(run_tail(dir.path(), 2, &mut out, &mut err).unwrap(), 0);
        let out = String::from_utf8(out).unwrap();
        let lines: Vec<_> = out.lines().collect();
        assert_eq!(lines.len(), 3, "{out}");
        let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(
            words(lines[2]),
            "2026-11-22T11:30:00.000000Z kernel.denied deny pid 7 (python3) notes.service/AF_INET kernel.pin"
        );
        assert_eq!(
            words(lines[1]),
            "2026-11-22T11:30:00.000000Z refusal (authorize) deny 403 alice\\u{1b}[2J (acme) docs/read_file no-writes: readers may not write"
        );
        assert_eq!(lines[0].find("SUBJECT"), lines[1].find("alice"), "columns are aligned:\n{out}");
    }
}
