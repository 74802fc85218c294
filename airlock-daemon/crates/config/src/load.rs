//! From text to a checked configuration: every mistake is collected, none hides another.

use std::path::Path;

use serde::Deserialize as _;

use super::diagnostics::{Diagnostic, Diagnostics, Issue};
use super::read::{MAX_BYTES, read, text, too_large};
use super::schema::Config;
use super::validate;
use super::validate::Host;
use super::yaml::de::{Cause, Fault, Reader, nearest, one_of};
use super::yaml::tree::{Blank, Entry, Kind, Node, NodeId, brief};
use super::yaml::{parse, tree};
use crate::validate::checks::Files;

/// Most mistakes that are told at once.
pub const MAX_DIAGNOSTICS: usize = 100;
/// Bound of the retries: a mistake takes one, and what must be pretended in its place a few more.
const MAX_ATTEMPTS: usize = 20 * MAX_DIAGNOSTICS;

/// Reads and checks the configuration in the file at `path`, and that the directories it names for reading
/// exist.
///
/// # Errors
/// All mistakes at once, each with place, reason and remedy.
pub fn load(path: &Path) -> Result<Config, Diagnostics> {
    checked(&path.display().to_string(), &text(path)?, Files::Check)
}

/// Reads and checks a configuration given as text; looks at no other file. `name` stands for it in messages.
///
/// # Errors
/// All mistakes at once, each with place, reason and remedy.
pub fn from_text(name: &str, text: &str) -> Result<Config, Diagnostics> {
    if text.len() > MAX_BYTES {
        return Err(too_large(name));
    }
    checked(name, text, Files::Ignore)
}

/// Warnings about a good configuration in the file at `path`: values that are likely to be a mistake all the
/// same, and with `host` also things that they name and this host does not have.
pub fn advise(path: &Path, config: &Config, host: Option<&Host<'_>>) -> Vec<Diagnostic> {
    let name = path.display().to_string();
    let Ok(text) = read(path, &name) else { return Vec::new() };
    let parsed = parse::parse(&text);
    let Some(root) = &parsed.root else { return Vec::new() };
    let mut issues = validate::advise(config, root, host);
    issues.truncate(MAX_DIAGNOSTICS);
    let told = Diagnostics::new(&name, &text, &parsed.hidden, issues);
    told.entries().iter().cloned().map(Diagnostic::as_warning).collect()
}

pub(super) fn checked(name: &str, text: &str, files: Files) -> Result<Config, Diagnostics> {
    let mut parsed = parse::parse(text);
    let mut config = None;
    if let Some(root) = &mut parsed.root {
        config = settle(root, &mut parsed.issues);
        if let Some(config) = &config {
            parsed.issues.extend(validate::validate(config, root, files));
        }
    }
    let mut issues = parsed.issues;
    match config {
        Some(config) if issues.is_empty() => return Ok(config),
        None if issues.is_empty() => {
            issues.push(Issue::new(None, "the configuration cannot be understood").help("simplify it"));
        }
        _ => {}
    }
    issues.sort_by_key(|issue| issue.at);
    // Two checks may find the same.
    issues.dedup_by(|one, other| one.at == other.at && one.message == other.message);
    if issues.len() > MAX_DIAGNOSTICS {
        issues.truncate(MAX_DIAGNOSTICS);
        if let Some(last) = issues.last_mut() {
            last.help.push_str("; there are more mistakes, correct these first");
        }
    }
    Err(Diagnostics::new(name, text, &parsed.hidden, issues))
}

/// Reads the tree until it yields a configuration. A fault is reported once and then mended in the tree: an
/// unknown key takes the name that was meant or goes, any other mistake becomes a blank.
fn settle(root: &mut Node, issues: &mut Vec<Issue>) -> Option<Config> {
    for _ in 0..MAX_ATTEMPTS {
        match Config::deserialize(Reader(root)) {
            Ok(config) => return Some(config),
            Err(fault) => issues.extend(mend(root, fault)?),
        }
        if issues.len() > MAX_DIAGNOSTICS {
            return None;
        }
    }
    None
}

/// Mends one fault; the outer `None` says that nothing can be mended, the inner that there is nothing new to
/// tell.
#[expect(clippy::option_option, reason = "the two absences mean different things to the one caller")]
fn mend(root: &mut Node, fault: Fault) -> Option<Option<Issue>> {
    let id = fault.node?;
    match fault.cause {
        Cause::UnknownKey { key, valid } => mend_key(root, id, &key, valid).map(Some),
        Cause::MissingKey(key) => mend_absence(root, id, key),
        cause => mend_value(root, id, cause),
    }
}

fn mend_key(root: &mut Node, id: NodeId, key: &str, valid: &[&'static str]) -> Option<Issue> {
    let Kind::Map(entries) = &mut root.parent_mut(id)?.kind else { return None };
    let index = entries.iter().position(|entry| entry.value.id == id)?;
    let meant = nearest(key, valid).filter(|meant| entries.iter().all(|entry| entry.key != **meant));
    let meant = meant.filter(|_| habit(key, valid).is_none());
    let entry = entries.get_mut(index)?;
    let issue = Issue::new(entry.key_at, format!("unknown key `{}`", brief(key))).expected(one_of(valid));
    Some(if let Some(meant) = meant {
        // Read on as what was meant, so that mistakes below it are found too.
        meant.clone_into(&mut entry.key);
        issue.help(format!("did you mean `{meant}`?"))
    } else {
        entries.remove(index);
        issue.help(habit(key, valid).unwrap_or("remove the key, or move it to where it belongs"))
    })
}

/// The remedy for a key that other programs' configurations have: what to write in its place.
fn habit(key: &str, valid: &[&str]) -> Option<&'static str> {
    match key {
        "args" | "arguments" if valid.contains(&"command") => {
            Some("write the arguments behind the program: `command: [PROGRAM, ARGUMENT, …]`")
        }
        "mcpServers" | "mcp_servers" | "servers" if valid.contains(&"upstreams") => Some(
            "list each server below `upstreams`: `- {name: NAME, type: stdio, command: [PROGRAM, ARGUMENT, …]}`, or with \
             `type: http` and `url`",
        ),
        _ => None,
    }
}

#[expect(clippy::option_option, reason = "see `mend`")]
fn mend_absence(root: &mut Node, id: NodeId, key: &'static str) -> Option<Option<Issue>> {
    let at = key_or_value(root, id)?;
    let fresh = root.highest_id() + 1;
    match &mut root.find_mut(id)?.kind {
        Kind::Blank(blank) => {
            blank.fields.push(key.to_owned());
            Some(None)
        }
        Kind::Map(entries) => {
            let value = Node::blank(fresh, at);
            entries.push(Entry { key: key.to_owned(), key_at: at, value });
            Some(Some(
                Issue::new(at, format!("the key `{key}` is missing"))
                    .expected(format!("`{key}: …` beside the other keys"))
                    .help(format!("add `{key}`")),
            ))
        }
        _ => None,
    }
}

#[expect(clippy::option_option, reason = "see `mend`")]
fn mend_value(root: &mut Node, id: NodeId, cause: Cause) -> Option<Option<Issue>> {
    let at = key_or_value(root, id)?;
    let node = root.find_mut(id)?;
    if let Kind::Blank(blank) = &mut node.kind {
        if !blank.try_next() {
            // No single text fits, so the whole that it belongs to is left out.
            root.parent_mut(id)?.kind = Kind::Blank(Blank::default());
        }
        return Some(None);
    }
    let found = node.describe();
    let at = if matches!(node.kind, Kind::Empty) { at } else { node.at };
    let issue = match cause {
        Cause::UnknownWord { word, valid } => {
            let issue =
                Issue::new(at, format!("`{}` is not a known value", brief(&word))).expected(one_of(valid));
            match nearest(&word, valid) {
                Some(meant) => issue.help(format!("did you mean `{meant}`?")),
                None => issue.help("write one of these words"),
            }
        }
        Cause::Kind { expected } => {
            let help = match &node.kind {
                Kind::Empty => "write a value after the colon, or remove the key",
                Kind::Plain(text) if tree::is_null(text) => "write a value, or remove the key",
                Kind::Quoted(_) if expected.contains("number") || expected.contains("true") => {
                    "remove the quotes, and write such a value"
                }
                _ if expected == "a list" => "write a list: `[one, two]`, or a line `- one` for each",
                _ => "replace it by such a value",
            };
            Issue::new(at, format!("found {found}")).expected(expected).help(help)
        }
        Cause::Refused { message } => refused(at, &found, &message),
        Cause::UnknownKey { .. } | Cause::MissingKey(_) => return None,
    };
    node.kind = Kind::Blank(Blank::default());
    Some(Some(issue))
}

/// The message of a type that reads itself from text: `… is not …: write …`, or `expected …`.
fn refused(at: super::diagnostics::Position, found: &str, message: &str) -> Issue {
    if let Some(expected) = message.strip_prefix("expected ") {
        return Issue::new(at, format!("found {found}"))
            .expected(expected)
            .help("replace it by such a value");
    }
    match message.rsplit_once(": write ") {
        Some((message, expected)) => {
            Issue::new(at, brief_message(message)).expected(expected).help("replace it by such a value")
        }
        None => Issue::new(at, format!("found {found}: {}", brief_message(message))),
    }
}

/// Keeps a message from carrying a whole file's worth of text, or control characters.
fn brief_message(message: &str) -> String {
    message.chars().take(200).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// The place of the key of node `id`, or of its value where it has no key of its own.
fn key_or_value(root: &mut Node, id: NodeId) -> Option<super::diagnostics::Position> {
    if let Some(Kind::Map(entries)) = root.parent_mut(id).map(|parent| &parent.kind)
        && let Some(entry) = entries.iter().find(|entry| entry.value.id == id)
    {
        return Some(entry.key_at);
    }
    root.find_mut(id).map(|node| node.at)
}
