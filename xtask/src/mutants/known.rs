//! The survivors that are known, each below its reason.

use std::collections::BTreeMap;
use std::fs;

use crate::shell::root;

/// Where they are: a line that begins with `#` is the reason of the lines that follow it.
pub(super) const FILE: &str = "xtask/mutants.txt";

/// How often each is known, by its file and words. Lines and columns move with every change of the file, so
/// they are left out, and two of the same words in one function are two.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Known(BTreeMap<String, usize>);

impl Known {
    /// Reads the file.
    pub(super) fn read() -> Result<Self, String> {
        let text = fs::read_to_string(root().join(FILE)).map_err(|error| format!("{FILE}: {error}"))?;
        Self::parse(&text)
    }

    fn parse(text: &str) -> Result<Self, String> {
        let mut known = Self::default();
        let mut has_reason = false;
        for (line, number) in text.lines().zip(1..) {
            if line.is_empty() {
                has_reason = false;
            } else if line.starts_with('#') {
                has_reason = true;
            } else if has_reason {
                *known.0.entry(line.to_owned()).or_default() += 1;
            } else {
                return Err(format!("{FILE}:{number}: no reason stands above it"));
            }
        }
        Ok(known)
    }

    /// The faults of a run: survivors without a reason, and reasons without a survivor. `gone` are the
    /// changes that were noticed.
    pub(super) fn compare(&self, survivors: &[String], gone: &[&String]) -> Vec<String> {
        let mut left = self.0.clone();
        let mut faults = Vec::new();
        for survivor in survivors {
            match left.get_mut(&without_place(survivor)) {
                Some(count) if *count > 0 => *count -= 1,
                _ => faults.push(format!("unexplained: {survivor}")),
            }
        }
        let stale = |name: &&&String| left.get(&without_place(name)).is_some_and(|count| *count > 0);
        faults.extend(
            gone.iter().filter(stale).map(|name| format!("{FILE} has what is noticed by now: {name}")),
        );
        faults
    }
}

/// `path:line:column: words` as `path: words`.
fn without_place(name: &str) -> String {
    let mut parts = name.splitn(4, ':');
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(path), Some(_), Some(_), Some(words)) => format!("{path}:{words}"),
        _ => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# Only a log line.\na.rs: replace f with ()\n\n# Nobody sees it.\na.rs: replace < with <= in g\n\
                        a.rs: replace < with <= in g\n";

    #[test]
    fn every_entry_has_a_reason() {
        assert!(Known::parse(TEXT).is_ok());
        assert!(Known::parse("a.rs: replace f with ()\n").is_err());
        assert!(Known::parse("# A reason.\n\na.rs: replace f with ()\n").is_err());
        Known::read().expect("the file of this tree");
    }

    #[test]
    fn survivors_and_reasons_are_held_against_each_other() {
        let known = Known::parse(TEXT).expect("a text");
        let named = |line: u32, words: &str| format!("a.rs:{line}:9: replace {words}");
        let twice = [named(7, "< with <= in g"), named(8, "< with <= in g")];
        assert!(known.compare(&twice, &[]).is_empty(), "explained, wherever it is");
        let thrice = [&twice[..], &[named(9, "< with <= in g")]].concat();
        assert_eq!(known.compare(&thrice, &[]), ["unexplained: a.rs:9:9: replace < with <= in g"]);
        let caught = named(2, "f with ()");
        assert_eq!(known.compare(&twice, &[&caught]).len(), 1, "its reason is of no use any more");
        let other = named(3, "h with ()");
        assert!(known.compare(&twice, &[&other]).is_empty());
    }
}
