//! The lines of the test runners, counted.

/// How nextest begins the line of a test that failed.
const FAILED: [&str; 5] = ["FAIL [", "TIMEOUT [", "SIGABRT [", "SIGSEGV [", "SIGKILL ["];

/// The name of the test that a line of nextest's or libtest's output says has failed.
pub(crate) fn failed_test(line: &str) -> Option<&str> {
    let trimmed = line.trim();
    // FAIL [   0.656s] (1092/1152) airlock-tests::promises status::it_is_well
    if FAILED.iter().any(|end| trimmed.starts_with(end)) {
        let (_, name) = trimmed.split_once(']')?;
        let name = name.trim_start();
        return Some(
            name.strip_prefix('(').and_then(|rest| rest.split_once(") ")).map_or(name, |(_, name)| name),
        );
    }
    // Indented, it stands in the output of a test that nextest names by a line of its own.
    line.strip_prefix("test ")?.strip_suffix(" ... FAILED")
}

/// How tests ended.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) skipped: u64,
}

impl Counts {
    /// Adds what a line of nextest's or libtest's output says, if it is a summary. nextest shows the output
    /// of a test that failed, libtest's summary of it included, further to the right.
    pub(crate) fn read(&mut self, line: &str) {
        let numbers = if line.trim_start().starts_with("Summary [") {
            // Summary [   0.005s] 3 tests run: 2 passed (1 slow), 1 failed, 1 timed out, 0 skipped
            line.split_once("run:").map(|(_, rest)| rest)
        } else {
            // test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 2 filtered out; finished in 0.00s
            line.strip_prefix("test result:").and_then(|rest| rest.split_once(". ")).map(|(_, rest)| rest)
        };
        for part in numbers.unwrap_or_default().split([',', ';']) {
            let mut words = part.split_whitespace();
            let Some(Ok(number)) = words.next().map(str::parse::<u64>) else { continue };
            match words.next() {
                Some("passed") => self.passed += number,
                Some("failed" | "timed" | "exec") => self.failed += number,
                Some("skipped" | "ignored") => self.skipped += number,
                _ => {}
            }
        }
    }

    /// Adds those of another run.
    pub(crate) fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }

    /// Tests that skipped themselves passed as far as their runner can tell.
    pub(crate) fn with_skips(self, skips: &[String]) -> Self {
        let count = u64::try_from(skips.len()).unwrap_or(u64::MAX);
        Self { passed: self.passed.saturating_sub(count), skipped: self.skipped + count, ..self }
    }

    /// The closing line.
    pub(crate) fn line(self) -> String {
        format!("{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_runners_are_understood() {
        let mut counts = Counts::default();
        for line in [
            "     Summary [   1.234s] 12 tests run: 9 passed (2 slow), 2 failed, 1 timed out, 3 skipped",
            "test result: FAILED. 4 passed; 1 failed; 2 ignored; 0 measured; 7 filtered out; finished in 0.01s",
            "    test result: FAILED. 0 passed; 1 failed; 0 ignored; 0 measured; 435 filtered out; finished in 3.84s",
            "        PASS [   0.005s] airlock tests::three_failed",
            "running 12 tests",
        ] {
            counts.read(line);
        }
        assert_eq!(counts, Counts { passed: 13, failed: 4, skipped: 5 });
    }

    #[test]
    fn failed_tests_are_found_in_both_outputs() {
        for (line, name) in [
            (
                "        FAIL [   0.656s] (1092/1152) airlock-tests::promises status::well",
                "airlock-tests::promises status::well",
            ),
            ("     TIMEOUT [  60.001s] airlock-daemon a::b", "airlock-daemon a::b"),
            (
                "test airlock-daemon/src/lib.rs - a (line 3) ... FAILED",
                "airlock-daemon/src/lib.rs - a (line 3)",
            ),
        ] {
            assert_eq!(failed_test(line), Some(name));
        }
        for line in
            ["        PASS [   0.005s] airlock tests::three_failed", "    test status::well ... FAILED"]
        {
            assert_eq!(failed_test(line), None);
        }
    }

    #[test]
    fn a_test_that_skips_itself_has_not_passed() {
        let counts = Counts { passed: 10, failed: 0, skipped: 1 }.with_skips(&["a: no root".to_owned()]);
        assert_eq!(counts.line(), "9 passed, 0 failed, 2 skipped");
    }
}
