//! The checks that are known to fail, with the reason: a text file of groups.
//!
//! ```text
//! # A comment.
//! why these fail, in a sentence
//!     one entry
//!     another entry
//! ```
//!
//! An entry that works is refused as much as a failure that is not listed: the file tells the truth or the
//! test fails. With `AIRLOCK_BLESS=1` entries that work are taken out, and new failures are put in for
//! somebody to explain.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;

use super::source;

/// The reason that new failures get, and that no committed file may have.
const UNEXPLAINED: &str = "NOT YET EXPLAINED";

/// The checks that fail for one reason.
pub(crate) struct Group {
    pub(crate) reason: String,
    pub(crate) entries: Vec<String>,
}

/// The groups of a file.
pub(crate) fn groups(file: &str) -> Vec<Group> {
    let text = std::fs::read_to_string(source(file)).expect("a file of exceptions");
    parse(&text).1
}

/// Holds what failed, by the name of its entry and with what is to be shown, against the file. Panics when
/// they differ.
pub(crate) fn compare(file: &str, failed: &BTreeMap<String, String>) {
    let path = source(file);
    let text = std::fs::read_to_string(&path).unwrap_or_default();
    let (comment, mut groups) = parse(&text);
    let listed = |entry: &String| groups.iter().any(|group| group.entries.contains(entry));
    let new: Vec<&String> = failed.keys().filter(|entry| !listed(entry)).collect();
    let stale: Vec<String> = groups
        .iter()
        .flat_map(|group| &group.entries)
        .filter(|entry| !failed.contains_key(*entry))
        .cloned()
        .collect();
    if std::env::var_os("AIRLOCK_BLESS").is_some() {
        for group in &mut groups {
            group.entries.retain(|entry| !stale.contains(entry));
        }
        let entries = new.into_iter().cloned().collect();
        groups.push(Group { reason: UNEXPLAINED.to_owned(), entries });
        return write(&path, &comment, &groups);
    }
    let mut told = String::new();
    for entry in new {
        let _ = writeln!(told, "\nfails, and is not in {file}: {entry}\n{}", failed[entry]);
    }
    for entry in stale {
        let _ = writeln!(told, "\nworks, and is still in {file}: {entry}");
    }
    let unexplained = groups.iter().any(|group| group.reason == UNEXPLAINED);
    assert!(!unexplained, "{file} has failures that nobody has explained");
    assert!(told.is_empty(), "{told}\n(AIRLOCK_BLESS=1 writes the file anew)");
}

fn parse(text: &str) -> (String, Vec<Group>) {
    let mut comment = String::new();
    let mut groups: Vec<Group> = Vec::new();
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        if line.starts_with('#') {
            comment += line;
            comment.push('\n');
        } else if line.starts_with(' ') {
            let group = groups.last_mut().expect("a reason stands before its entries");
            group.entries.push(line.trim().to_owned());
        } else {
            groups.push(Group { reason: line.to_owned(), entries: Vec::new() });
        }
    }
    (comment, groups)
}

fn write(path: &PathBuf, comment: &str, groups: &[Group]) {
    let mut text = comment.to_owned();
    for group in groups.iter().filter(|group| !group.entries.is_empty()) {
        let _ = writeln!(text, "\n{}", group.reason);
        for entry in &group.entries {
            let _ = writeln!(text, "    {entry}");
        }
    }
    std::fs::write(path, text).expect("the source tree can be written");
}
