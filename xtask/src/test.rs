//! `cargo xtask test`: everything, from a bare checkout, and one plain line at the end.

use std::collections::BTreeSet;
use std::fs;
use std::time::{Duration, Instant};

use crate::setup::{self, Need};
use crate::shell::{cargo, run, stream, target};
use crate::summary::{Counts, failed_test};
use crate::{build_ebpf, check, fuzz, tools, vm};

/// How long each fuzz target runs.
const FUZZ_SECONDS: u32 = 30;

/// The phases with the time that each took.
#[derive(Default)]
struct Phases(Vec<(&'static str, Duration)>);

impl Phases {
    fn time<T>(&mut self, name: &'static str, work: impl FnOnce() -> T) -> T {
        println!("\n== {name}");
        let begin = Instant::now();
        let result = work();
        self.0.push((name, begin.elapsed()));
        result
    }
}

/// The command.
pub(crate) fn run_command(args: &[String]) -> Result<(), String> {
    let with_fuzz = match args {
        [] => true,
        [flag] if flag == "--no-fuzz" => false,
        _ => return Err("usage: cargo xtask test [--no-fuzz]".to_owned()),
    };
    let mut phases = Phases::default();
    let mut nextest = false;
    phases.time("setup", || {
        setup::ensure(&[Need::Daemon, Need::Ebpf, Need::TestTools, Need::Container, Need::Fuzz])?;
        tools::ensure()?;
        nextest = setup::nextest();
        Ok::<_, String>(())
    })?;
    phases.time("build-ebpf", || build_ebpf::run(&[]))?;
    phases.time("build", || run(&mut cargo(&["build", "--workspace", "--bins", "--tests"])))?;

    // From here on everything is run, whatever fails.
    let mut failures = Vec::new();
    let mut skips = Vec::new();
    if let Err(error) = phases.time("lints", || check::lints(&mut skips)) {
        failures.push(format!("lints: {error}"));
    }
    // Nothing ran that could have passed, and a skip takes one away.
    let mut counts = Counts { passed: u64::try_from(skips.len()).unwrap_or(u64::MAX), ..Counts::default() };
    match phases.time("tests", || tests(nextest, &mut counts, &mut failures)) {
        Ok(found) => skips.extend(found),
        Err(error) => failures.push(format!("tests: {error}")),
    }
    phases.time("guests", || vm::phase(&mut counts, &mut skips, &mut failures));
    if with_fuzz {
        match phases.time("fuzz smoke", || fuzz::smoke(FUZZ_SECONDS)) {
            Ok((passed, failed)) => {
                counts.passed += passed;
                counts.failed += u64::try_from(failed.len()).unwrap_or(u64::MAX);
                failures.extend(failed);
            }
            Err(error) => failures.push(format!("fuzz smoke: {error}")),
        }
    }
    let counts = report(&phases, counts, &skips, &failures);
    println!("{}", counts.line());
    if counts.failed == 0 { Ok(()) } else { Err("not everything is well, see above".to_owned()) }
}

/// Runs every test; gives what skipped itself, one line each.
fn tests(nextest: bool, counts: &mut Counts, failures: &mut Vec<String>) -> Result<Vec<String>, String> {
    let log = target().join("skips.log");
    if let Err(error) = fs::remove_file(&log)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        return Err(format!("{}: {error}", log.display()));
    }
    let runner: &[&str] = if nextest {
        &["nextest", "run", "--workspace", "--no-fail-fast"]
    } else {
        &["test", "--workspace", "--all-targets", "--no-fail-fast"]
    };
    let (mut well, mut failed) = (true, BTreeSet::new());
    for args in [runner, &["test", "--workspace", "--doc", "--no-fail-fast"]] {
        let mut command = cargo(args);
        command
            .env("AIRLOCK_SKIP_LOG", &log)
            .env("AIRLOCK_BIN", target().join("debug/airlock"))
            .env("AIRLOCK_TOOLS", tools::dir())
            .env("CARGO_TERM_COLOR", "never");
        let before = counts.failed;
        let succeeded = stream(&mut command, |line| {
            counts.read(line);
            failed.extend(failed_test(line).map(str::to_owned));
        })?;
        // A test binary that could not be built or that crashed is in nobody's summary.
        if !succeeded && counts.failed == before {
            counts.failed += 1;
        }
        well &= succeeded;
    }
    if !well {
        if failed.is_empty() {
            failures.push("tests: a program did not build, or ended early; its output is above".to_owned());
        }
        failures.extend(failed.into_iter().map(|name| format!("test {name}")));
    }
    let skips = fs::read_to_string(&log).unwrap_or_default();
    Ok(skips.lines().map(str::to_owned).collect())
}

/// Prints times, skips and failures; gives the final counts.
fn report(phases: &Phases, counts: Counts, skips: &[String], failures: &[String]) -> Counts {
    println!("\n== times");
    for (name, time) in &phases.0 {
        println!("{:>8.1} s  {name}", time.as_secs_f64());
    }
    let all: Duration = phases.0.iter().map(|(_, time)| *time).sum();
    println!("{:>8.1} s  in all", all.as_secs_f64());
    if !skips.is_empty() {
        println!("\n== skipped");
        for skip in skips {
            println!("{skip}");
        }
    }
    if !failures.is_empty() {
        println!("\n== failed");
        for failure in failures {
            println!("{failure}");
        }
    }
    let mut counts = counts.with_skips(skips);
    if counts.failed == 0 && !failures.is_empty() {
        counts.failed = 1;
    }
    println!();
    counts
}
