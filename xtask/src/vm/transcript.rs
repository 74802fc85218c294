//! The lines of a guest on its serial port, and the faults in them.

use crate::summary::Counts;

/// One test program as far as the guest got with it.
#[derive(Debug, Default)]
struct Suite {
    name: String,
    /// The tests that ended, and how: `ok`, `FAILED` or `ignored`.
    tests: Vec<(String, String)>,
    /// The text after its list of tests: why some failed.
    tail: Vec<String>,
    code: Option<i32>,
}

/// Where in the output we are.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Section {
    /// Before the first marker, or between two programs.
    #[default]
    Outside,
    Suite,
    Notes,
    Skips,
    Escapes,
    End,
}

/// Everything a guest said.
#[derive(Debug, Default)]
pub(super) struct Transcript {
    section: Section,
    suites: Vec<Suite>,
    /// The tests that skipped themselves, one line each.
    pub(super) skips: Vec<String>,
    /// The rows of the escape suite.
    pub(super) escapes: Vec<String>,
    faults: Vec<String>,
}

impl Transcript {
    /// Takes a line in; gives what is worth showing at once.
    pub(super) fn read(&mut self, line: &str) -> Option<String> {
        if let Some(marker) = line.strip_prefix("@@ ") {
            return self.marker(marker);
        }
        match self.section {
            Section::Skips => self.skips.push(line.to_owned()),
            Section::Escapes => self.escapes.push(line.to_owned()),
            Section::Suite => return self.of_suite(line),
            Section::Notes => return Some(format!("note    {line}")),
            Section::Outside | Section::End => {}
        }
        None
    }

    fn marker(&mut self, marker: &str) -> Option<String> {
        let mut words = marker.split_whitespace();
        match (words.next(), words.next()) {
            (Some("kernel"), _) => return Some(marker.to_owned()),
            (Some("run"), Some(name)) => {
                self.section = Section::Suite;
                self.suites.push(Suite { name: name.to_owned(), ..Suite::default() });
                return Some(format!("-- {name}"));
            }
            (Some("exit"), Some(name)) => {
                let code = words.next().and_then(|code| code.parse().ok());
                if let Some(suite) = self.suites.last_mut().filter(|suite| suite.name == name) {
                    suite.code = code;
                }
                self.section = Section::Outside;
            }
            (Some("notes"), _) => self.section = Section::Notes,
            (Some("skips"), _) => self.section = Section::Skips,
            (Some("escapes"), _) => self.section = Section::Escapes,
            (Some("end"), _) => self.section = Section::End,
            _ => self.faults.push(format!("a marker that nobody knows: {marker}")),
        }
        None
    }

    fn of_suite(&mut self, line: &str) -> Option<String> {
        let suite = self.suites.last_mut()?;
        let told = line
            .strip_prefix("test ")
            .and_then(|rest| rest.rsplit_once(" ... "))
            .filter(|(_, how)| ["ok", "FAILED"].contains(how) || how.starts_with("ignored"));
        if let Some((name, how)) = told {
            suite.tests.push((name.to_owned(), how.to_owned()));
            return Some(format!("{how:<7} {name}"));
        }
        // The failures' own words, and the summary.
        if !suite.tests.is_empty() && !line.is_empty() {
            suite.tail.push(line.to_owned());
        }
        None
    }

    /// Adds what another guest said, when both have ended.
    pub(super) fn add(&mut self, other: Self) {
        self.suites.extend(other.suites);
        self.skips.extend(other.skips);
        self.escapes.extend(other.escapes);
        self.faults.extend(other.faults);
    }

    /// Records that the guest did not get to its end.
    pub(super) fn cut_short(&mut self, why: &str) {
        self.faults.push(why.to_owned());
    }

    /// Judges what was read when nothing more will come.
    pub(super) fn finish(&mut self) {
        if self.suites.is_empty() {
            self.faults.push("no test program was started".to_owned());
        }
        if self.section != Section::End {
            self.faults.push("it ended before its tests did".to_owned());
        }
        for suite in &self.suites {
            let failed = suite.tests.iter().any(|(_, how)| how == "FAILED");
            match suite.code {
                Some(0) if suite.tests.is_empty() => {
                    self.faults.push(format!("{}: ran no test", suite.name));
                }
                Some(0) => {}
                // libtest's own code for tests that failed.
                Some(101) if failed => {}
                Some(code) => self.faults.push(format!("{}: crashed (exit code {code})", suite.name)),
                None => self.faults.push(format!(
                    "{}: did not end; the last test that did was {}",
                    suite.name,
                    suite.tests.last().map_or("none", |(name, _)| name)
                )),
            }
        }
    }

    /// True where the guest ran all it should, whatever the tests said.
    pub(super) fn ended_well(&self) -> bool {
        self.faults.is_empty()
    }

    /// The tests by how they ended. Those that skipped themselves count as passed, as with any runner.
    pub(super) fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for (_, how) in self.suites.iter().flat_map(|suite| &suite.tests) {
            match how.as_str() {
                "ok" => counts.passed += 1,
                "FAILED" => counts.failed += 1,
                _ => counts.skipped += 1,
            }
        }
        counts
    }

    /// All that is wrong, a line each, with the words of the tests that failed.
    pub(super) fn faults(&self) -> Vec<String> {
        let mut faults = self.faults.clone();
        for suite in &self.suites {
            if suite.code != Some(0) {
                faults.push(format!("{} said:\n    {}", suite.name, suite.tail.join("\n    ")));
            }
        }
        faults
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(lines: &[&str]) -> Transcript {
        let mut transcript = Transcript::default();
        for line in lines {
            transcript.read(line);
        }
        transcript.finish();
        transcript
    }

    #[test]
    fn a_good_guest_is_counted() {
        let good = read(&[
            "@@ kernel 6.1.0 lockdown,bpf",
            "@@ run kernel",
            "running 3 tests",
            "test a ... ok",
            "test b ... ok",
            "test c ... ignored",
            "test result: ok. 2 passed",
            "@@ exit kernel 0",
            "@@ notes",
            "a: 3 of 5 kinds",
            "@@ skips",
            "b: no root",
            "@@ escapes",
            "row",
            "@@ end",
        ]);
        assert!(good.ended_well(), "{:?}", good.faults());
        assert_eq!(good.counts(), Counts { passed: 2, failed: 0, skipped: 1 });
        assert_eq!(
            (good.skips.as_slice(), good.escapes.as_slice()),
            (&["b: no root".into()][..], &["row".into()][..])
        );
        assert!(good.faults().is_empty());
    }

    #[test]
    fn every_kind_of_failure_is_one() {
        let failed = read(&[
            "@@ run kernel",
            "test a ... FAILED",
            "thread 'a' panicked: because",
            "@@ exit kernel 101",
            "@@ end",
        ]);
        assert!(failed.ended_well());
        assert_eq!(failed.counts().failed, 1);
        assert!(failed.faults()[0].contains("because"), "{:?}", failed.faults());
        for (lines, reason) in [
            (&[][..], "no test program was started"),
            (&["@@ run kernel", "test a ... ok"], "did not end; the last test that did was a"),
            (&["@@ run kernel", "@@ exit kernel 0", "@@ end"], "ran no test"),
            (&["@@ run kernel", "test a ... ok", "@@ exit kernel 139", "@@ end"], "exit code 139"),
            (&["@@ run kernel", "test a ... ok", "@@ exit kernel 101", "@@ end"], "exit code 101"),
            (&["@@ run kernel", "test a ... ok", "@@ exit kernel 0"], "ended before"),
        ] {
            let transcript = read(lines);
            assert!(!transcript.ended_well(), "{lines:?}");
            assert!(
                transcript.faults().iter().any(|fault| fault.contains(reason)),
                "{:?}",
                transcript.faults()
            );
        }
    }
}
