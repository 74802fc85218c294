//! `airlock policy diff`.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Serialize;

use super::ended::{NO, WRONG, unusable};
use super::log::{self, Line};
use crate::observe::escape::printable;
use crate::policy::{Judgement, Recorded, Replay, Verdict};

/// Groups that are kept apart; what comes after is only counted.
const MAX_GROUPS: usize = 10_000;

/// Arguments of `airlock policy diff`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The bundle that would be put in force.
    #[arg(long, value_name = "DIR")]
    path: PathBuf,
    /// The audit directory (`audit.dir`).
    #[arg(long, value_name = "DIR", default_value = super::super::defaults::DEFAULT_AUDIT_DIR)]
    audit_dir: PathBuf,
    /// The bundle that was in force: where both say the same about arguments, less stays open.
    #[arg(long, value_name = "DIR")]
    against: Option<PathBuf>,
    /// Only decisions from then on: RFC 3339, or how long ago, such as `7d`.
    #[arg(long, value_name = "TIME", value_parser = parse_since)]
    since: Option<u64>,
    /// How many groups to show.
    #[arg(long, value_name = "N", default_value_t = 50)]
    limit: usize,
    /// Print one JSON document: {decisions, same, changed, open, groups: [...], more?}.
    #[arg(long)]
    json: bool,
}

fn parse_since(text: &str) -> Result<u64, String> {
    let seconds = |time: SystemTime| time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs();
    if let Ok(time) = humantime::parse_rfc3339_weak(text) {
        return Ok(seconds(time));
    }
    let ago = humantime::parse_duration(text).map_err(|_| {
        "expected a time such as 2026-11-23T08:00:00Z, or how long ago, such as 7d".to_owned()
    })?;
    Ok(seconds(SystemTime::now().checked_sub(ago).unwrap_or(UNIX_EPOCH)))
}

/// Decisions that would change, or may, in the same way.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
struct ChangeKey {
    #[serde(skip_serializing_if = "Option::is_none")]
    now: Option<Verdict>,
    was: Verdict,
    was_rule: String,
    now_rule: Option<String>,
    subject: String,
    upstream: String,
    method: String,
    target: String,
    /// Parts of the input that are not on record and that it depends on.
    open: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Group {
    #[serde(flatten)]
    key: ChangeKey,
    count: u64,
    first_correlation_id: String,
}

/// The log as it would be under the new policy.
#[derive(Debug, Default, Serialize)]
struct Report {
    decisions: u64,
    same: u64,
    changed: u64,
    open: u64,
    groups: Vec<Group>,
    /// Groups that are not shown.
    more: usize,
}

pub(super) fn run(args: &Args, out: &mut impl Write, err: &mut impl Write) -> io::Result<u8> {
    let mut replay = match Replay::load(&args.path, args.against.as_deref()) {
        Ok(replay) => replay,
        Err(error) => {
            unusable(&error, args.json, out, err)?;
            return Ok(WRONG);
        }
    };
    let report = match compare(args, &mut replay) {
        Ok(report) => report,
        Err(error) => {
            writeln!(err, "airlock policy diff: {error}")?;
            return Ok(WRONG);
        }
    };
    if args.json {
        serde_json::to_writer_pretty(&mut *out, &report)?;
        writeln!(out)?;
    } else {
        tell(&report, out)?;
    }
    Ok(if report.changed > 0 { NO } else { 0 })
}

fn compare(args: &Args, replay: &mut Replay) -> Result<Report, String> {
    let (mut report, mut groups, mut overflow) =
        (Report::default(), BTreeMap::<ChangeKey, (u64, String)>::new(), 0);
    log::walk(&args.audit_dir, |place, line| {
        let wrong = |error| Line { place: place.clone(), error };
        let Some(record) = Recorded::read(line).map_err(wrong)? else { return Ok(()) };
        let time = record.seconds().ok_or_else(|| wrong("its time is not RFC 3339".to_owned()))?;
        if args.since.is_some_and(|since| time < since) {
            return Ok(());
        }
        report.decisions += 1;
        let (now, now_rule, open) = match replay.judge(&record) {
            Judgement::Same => {
                report.same += 1;
                return Ok(());
            }
            Judgement::Changed { now, rule_id } => {
                report.changed += 1;
                (Some(now), Some(rule_id), Vec::new())
            }
            Judgement::Open(parts) => {
                report.open += 1;
                (None, None, parts)
            }
        };
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let key = ChangeKey {
            now,
            was: record.decision.unwrap_or(Verdict::Deny),
            was_rule: text(&record.rule_id),
            now_rule,
            subject: text(&record.subject),
            upstream: text(&record.upstream),
            method: text(&record.method),
            target: text(&record.target),
            open,
        };
        if groups.len() < MAX_GROUPS || groups.contains_key(&key) {
            groups.entry(key).or_insert_with(|| (0, text(&record.correlation_id))).0 += 1;
        } else {
            overflow += 1;
        }
        Ok(())
    })?;
    let mut sorted: Vec<Group> = groups
        .into_iter()
        .map(|(key, (count, first_correlation_id))| Group { key, count, first_correlation_id })
        .collect();
    // Decisions that change come before those that may, and frequent ones before rare ones.
    sorted.sort_by_key(|group| (group.key.now.is_none(), std::cmp::Reverse(group.count)));
    report.more = sorted.len().saturating_sub(args.limit) + overflow;
    sorted.truncate(args.limit);
    report.groups = sorted;
    Ok(report)
}

fn tell(report: &Report, out: &mut impl Write) -> io::Result<()> {
    let word = |verdict: Verdict| match verdict {
        Verdict::Allow => "allowed",
        Verdict::Deny => "denied",
    };
    for Group { key, count, first_correlation_id } in &report.groups {
        let would = match key.now {
            Some(now) => {
                format!(
                    "CHANGED  {} -> {} by {}",
                    word(key.was),
                    word(now),
                    key.now_rule.as_deref().unwrap_or("-")
                )
            }
            None => format!("open     {}; depends on input.{}", word(key.was), key.open.join(" and input.")),
        };
        let line = format!(
            "{would}  (was {}): {} {} {}/{}, {count} times, first {first_correlation_id}",
            key.was_rule, key.subject, key.method, key.upstream, key.target
        );
        writeln!(out, "{}", printable(&line))?;
    }
    if report.more > 0 {
        writeln!(out, "and {} more groups; raise --limit to see them", report.more)?;
    }
    writeln!(
        out,
        "{} decisions: {} stay, {} would change, {} are open because what they depend on is not on record",
        report.decisions, report.same, report.changed, report.open
    )
}
