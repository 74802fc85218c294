//! `airlock tools`: the locks of tools, what is held back, and letting it in.

use std::fmt::Write as _;
use std::process::ExitCode;

use airlock_tool_locks::difference;
use airlock_tool_locks::hidden::revealed;
use clap::Subcommand;
use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::observe::escape::printable_json;
use crate::tool_locks::{Entry, Report, State};

use super::admin::{self, Common, text};
use super::print;

/// Shows what is locked and what is held back, and lets it in.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show every tool, prompt and resource template, and if it is held back.
    List {
        /// Only those of this upstream.
        upstream: Option<String>,
        #[command(flatten)]
        common: Common,
    },
    /// Show how what is held back differs from what is locked, line by line.
    Diff {
        /// Only this: `UPSTREAM` or `UPSTREAM/NAME`.
        target: Option<String>,
        #[command(flatten)]
        common: Common,
    },
    /// Let in what is held back, as it is now.
    Approve {
        /// What: `UPSTREAM/NAME`, or `UPSTREAM` for all of it.
        target: String,
        /// The beginning of the digest that `airlock tools diff` has shown: if it is another by now, nothing
        /// is let in.
        #[arg(long)]
        digest: Option<String>,
        #[command(flatten)]
        common: Common,
    },
    /// Lock an upstream as it is now: let in what is held back, and forget what it does not list any more.
    Lock {
        /// The upstream.
        upstream: String,
        #[command(flatten)]
        common: Common,
    },
}

/// Runs the command. Exit code 0: done, or nothing is held back; 1: something is held back, or the daemon
/// refuses; 2: the daemon cannot be asked.
#[expect(clippy::needless_pass_by_value, reason = "all commands have this shape")]
pub fn run(args: Args) -> ExitCode {
    match &args.command {
        Command::List { upstream, common } => show(common, |report| list(report, upstream.as_deref())),
        Command::Diff { target, common } => show(common, |report| diff(report, target.as_deref())),
        Command::Approve { target, digest, common } => {
            let (upstream, name) = parted(target);
            let order = json!({ "upstream": upstream, "name": name, "digest": digest });
            ordered(common, "/tools/approve", &order)
        }
        Command::Lock { upstream, common } => {
            ordered(common, "/tools/lock", &json!({ "upstream": upstream }))
        }
    }
}

/// An upstream, and a name behind the first slash.
fn parted(target: &str) -> (&str, Option<&str>) {
    target.split_once('/').map_or((target, None), |(upstream, name)| (upstream, Some(name)))
}

fn failed(problem: &str) -> ExitCode {
    print::err(format_args!("airlock tools: {problem}\n"));
    ExitCode::from(2)
}

fn show(common: &Common, shown: impl Fn(&Report) -> (String, bool)) -> ExitCode {
    let answer = match admin::ask(&common.place, Method::GET, "/tools", None) {
        Ok((_, answer)) => answer,
        Err(problem) => return failed(&problem),
    };
    let report: Report = match serde_json::from_value(answer.clone()) {
        Ok(report) => report,
        Err(error) => {
            return failed(&format!("the daemon answers what this version does not understand: {error}"));
        }
    };
    let (text, is_held) = shown(&report);
    if common.json {
        print::out(format_args!("{}\n", printable_json(&format!("{answer:#}"))));
    } else {
        print::out(format_args!("{text}"));
    }
    if is_held { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn ordered(common: &Common, path: &str, order: &Value) -> ExitCode {
    let (status, answer) = match admin::ask(&common.place, Method::POST, path, Some(order)) {
        Ok(answer) => answer,
        Err(problem) => return failed(&problem),
    };
    if status != StatusCode::OK {
        print::err(format_args!("airlock tools: {}\n", text(&answer["error"])));
        return ExitCode::FAILURE;
    }
    if common.json {
        print::out(format_args!("{}\n", printable_json(&format!("{answer:#}"))));
        return ExitCode::SUCCESS;
    }
    for one in answer["approved"].as_array().into_iter().flatten() {
        print::out(format_args!(
            "locked: {} {} {}\n",
            text(&one["kind"]),
            text(&one["name"]),
            text(&one["digest"])
        ));
    }
    ExitCode::SUCCESS
}

/// The entries of a report that are asked for, each with its server's name.
fn entries<'a>(report: &'a Report, target: Option<&'a str>) -> impl Iterator<Item = (&'a str, &'a Entry)> {
    let (upstream, name) = target.map(parted).map_or((None, None), |(upstream, name)| (Some(upstream), name));
    let own = report.upstreams.iter().filter(move |one| upstream.is_none_or(|upstream| upstream == one.name));
    let all = own.flat_map(|one| one.entries.iter().map(|entry| (one.name.as_str(), entry)));
    all.filter(move |(_, entry)| name.is_none_or(|name| name == entry.name))
}

fn list(report: &Report, upstream: Option<&str>) -> (String, bool) {
    let (mut out, mut is_held) = (String::new(), false);
    for alarm in &report.alarms {
        // Writing to a string does not fail.
        let _ = writeln!(out, "ALARM  {}", revealed(alarm));
    }
    for (upstream, entry) in entries(report, upstream) {
        is_held |= entry.state == State::Held;
        let state = match entry.state {
            State::Locked => "locked",
            State::Gone => "gone  ",
            State::Held => "HELD  ",
        };
        let why = entry.why.as_ref().map(|why| format!(": {}", revealed(why))).unwrap_or_default();
        let digest: String = entry.digest.chars().take("sha256:".len() + 12).collect();
        let name = revealed(&entry.name);
        let _ = writeln!(out, "{state}  {upstream}/{name} ({}, {digest}){why}", entry.kind);
    }
    if out.is_empty() {
        out.push_str("nothing is locked, and nothing is held back\n");
    }
    (out, is_held)
}

fn diff(report: &Report, target: Option<&str>) -> (String, bool) {
    let (mut out, mut is_held) = (String::new(), false);
    for (upstream, entry) in entries(report, target).filter(|(_, entry)| entry.state == State::Held) {
        is_held = true;
        let name = revealed(&entry.name);
        let why = revealed(entry.why.as_deref().unwrap_or_default()).into_owned();
        // Writing to a string does not fail.
        let _ = writeln!(out, "{upstream}/{name} ({}): it {why}", entry.kind);
        let (old, new) = (entry.locked.as_deref(), entry.definition.as_deref());
        for line in difference::between(old.unwrap_or_default(), new.unwrap_or_default()) {
            let _ = writeln!(out, "  {line}");
        }
        let digest: String = entry.digest.chars().take("sha256:".len() + 12).collect();
        let _ =
            writeln!(out, "  to let it in: airlock tools approve '{upstream}/{name}' --digest {digest}\n");
    }
    if !is_held {
        out.push_str("nothing is held back\n");
    }
    (out, is_held)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_shows_what_nobody_sees_and_how_to_let_it_in() {
        let entry = json!({"kind": "tool", "name": "read", "state": "held", "digest": "sha256:0123456789abcdef",
            "why": "has another description than the locked one", "since": null,
            "definition": "{\"description\":\"reads\u{200b}\",\"name\":\"read\"}",
            "locked": "{\"description\":\"reads\",\"name\":\"read\"}"});
        let report = json!({"mode": "approve", "file": "f", "alarms": [], "upstreams": [
            {"name": "docs", "bound_to": "stdio docs", "locked_as": null, "entries": [entry]}]});
        let report: Report = serde_json::from_value(report).expect("a report");
        let (shown, is_held) = diff(&report, Some("docs/read"));
        assert!(is_held && shown.contains("+   \"description\": \"reads⟨U+200B⟩\""), "{shown}");
        assert!(
            shown.contains("airlock tools approve 'docs/read' --digest sha256:0123456789ab\n"),
            "{shown}"
        );
        assert_eq!(diff(&report, Some("other")), ("nothing is held back\n".to_owned(), false));
        let (listed, _) = list(&report, None);
        assert!(listed.starts_with("HELD    docs/read (tool, sha256:0123456789ab): has another"), "{listed}");
    }
}
