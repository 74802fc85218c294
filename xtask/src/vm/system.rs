//! `cargo xtask vm --system`: Airlock as a service of Debian 12 on Debian 12's own kernel, where servers are
//! sealed.
//!
//! The tests that boot the shipped units in a container boot them in a virtual machine instead; see
//! `tests/lifecycle/machine.rs`.

use std::fs;
use std::time::Instant;

use super::image;
use super::kernel::Kernel;
use crate::shell::{cargo, stream, target};
use crate::summary::Counts;
use crate::tools;

/// The tests of the shipped units.
const TESTS: [&str; 2] = ["lifecycle::units_run_under_systemd::", "cage::servers_dial_in::unit::"];

/// Runs them and counts; what skipped itself is among those that passed, and added to `skips`.
pub(super) fn run(kernel: &Kernel, skips: &mut Vec<String>) -> Result<Counts, String> {
    println!("\n== Debian with systemd: Linux {}", kernel.release);
    let begin = Instant::now();
    let machine = image::machine(kernel)?;
    let log = machine.join("skips.log");
    if log.exists() {
        fs::remove_file(&log).map_err(|error| format!("{}: {error}", log.display()))?;
    }
    // The whole workspace: with one package's features half of the tree would be built again.
    let mut tests = cargo(&["test", "--workspace", "--test", "promises", "--"]);
    tests
        .args(TESTS)
        .arg("--test-threads=2")
        .env("AIRLOCK_MACHINE", machine)
        .env("AIRLOCK_SKIP_LOG", &log)
        .env("AIRLOCK_BIN", target().join("debug/airlock"))
        .env("AIRLOCK_TOOLS", tools::dir())
        .env("CARGO_TERM_COLOR", "never");
    let mut counts = Counts::default();
    let well = stream(&mut tests, |line| counts.read(line))?;
    // A test that crashed, was not built or was renamed is in nobody's summary.
    if !well && counts.failed == 0 {
        counts.failed += 1;
    }
    if well && counts.passed < TESTS.len() as u64 {
        return Err(format!("of the tests of the shipped units {} ran", counts.passed));
    }
    let skipped = fs::read_to_string(&log).unwrap_or_default();
    skips.extend(skipped.lines().map(|line| format!("Debian with systemd: {line}")));
    println!("Debian with systemd: {:.1} s", begin.elapsed().as_secs_f64());
    Ok(counts)
}
