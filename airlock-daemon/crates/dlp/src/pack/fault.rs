//! Reasons why packs do not load.

use std::fmt;

/// Reasons why packs do not load, each with file and line.
#[derive(Debug, thiserror::Error)]
pub struct PackError(pub(super) Vec<Fault>);

/// One of the reasons.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The file, and the line and column if they are known.
    pub place: String,
    /// The reason.
    pub reason: String,
    /// The remedy.
    pub remedy: String,
}

impl PackError {
    /// All reasons, in the order of the files.
    pub fn faults(&self) -> &[Fault] {
        &self.0
    }

    pub(super) fn one(
        place: impl Into<String>,
        reason: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self(vec![Fault { place: place.into(), reason: reason.into(), remedy: remedy.into() }])
    }
}

impl fmt::Display for PackError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, fault) in self.0.iter().enumerate() {
            let line = if place == 0 { "" } else { "\n" };
            write!(f, "{line}{}: {}; {}", fault.place, fault.reason, fault.remedy)?;
        }
        Ok(())
    }
}

/// The reasons that one file has given so far.
pub(super) struct Faults<'a> {
    pub(super) file: &'a str,
    pub(super) all: Vec<Fault>,
}

impl Faults<'_> {
    pub(super) fn add(&mut self, line: u64, reason: impl Into<String>, remedy: impl Into<String>) {
        self.all.push(Fault {
            place: format!("{}:{line}", self.file),
            reason: reason.into(),
            remedy: remedy.into(),
        });
    }

    pub(super) fn name(&mut self, line: u64, kind: &str, name: &str) {
        self.add(
            line,
            format!("`{name}` is no name of a {kind}"),
            "use lower case letters, digits and single dashes, up to 48 of them, and begin with a letter",
        );
    }
}

/// The name that somebody may have meant, or all of them.
pub(super) fn near<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> String {
    let known: Vec<_> = known.collect();
    let best = known.iter().map(|other| (strsim::damerau_levenshtein(name, other), other)).min();
    match best {
        Some((distance, best)) if distance <= (name.chars().count() / 3).max(1) => {
            format!("did you mean `{best}`?")
        }
        _ => format!("use one of {}", known.join(", ")),
    }
}
