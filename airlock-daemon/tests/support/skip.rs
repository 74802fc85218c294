//! Skipping with a reason.

use std::io::Write as _;

/// Says why a test does not run; the summary of a test run counts these lines.
pub(crate) fn skip(reason: &str) {
    // Not `eprintln!`, which the test harness would swallow.
    let line = format!("SKIPPED: {}\n", reason.replace('\n', " "));
    std::io::stderr().write_all(line.as_bytes()).expect("stderr");
}
