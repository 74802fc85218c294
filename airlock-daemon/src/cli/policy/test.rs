//! `airlock policy test`.

use std::io::{self, Write};

use super::ended::{Bundle, NO, unusable};
use crate::policy::{self, Coverage, TestOptions, TestReport};

/// Runs of missed lines that the table shows for one file.
const SHOWN_RUNS: usize = 24;

/// Arguments of `airlock policy test`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    bundle: Bundle,
    /// Only tests whose name (`package.test_name`) contains this.
    #[arg(long, value_name = "FILTER")]
    run: Option<String>,
    /// Also show which lines and rules of the policy no test reaches.
    #[arg(long)]
    coverage: bool,
    /// Exit with 1 where less than this share of the policy's lines is reached; implies --coverage.
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(0..=100))]
    coverage_minimum: Option<u8>,
    /// Print one JSON document: {tests: [{name, source, passed, outcome?, `failed_at`?, micros}], coverage?:
    /// {files, percent}}; where the bundle does not load, {mistakes: [{file, line, column, message, expected,
    /// help}]}.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args, out: &mut impl Write, err: &mut impl Write) -> io::Result<u8> {
    let path = &args.bundle.path;
    let options = TestOptions {
        filter: args.run.as_deref(),
        coverage: args.coverage || args.coverage_minimum.is_some(),
    };
    let report = match policy::run_tests(path, options) {
        Ok(report) => report,
        Err(error) => {
            unusable(&error, args.json, out, err)?;
            return Ok(NO);
        }
    };
    if args.json {
        serde_json::to_writer_pretty(&mut *out, &report)?;
        writeln!(out)?;
    } else {
        table(&report, out)?;
    }
    let mut code = 0;
    if report.tests.is_empty() {
        let what = match &args.run {
            Some(filter) => format!("no test has `{filter}` in its name"),
            None => "no test found; a test is a rule `test_…` in a file `…_test.rego`".to_owned(),
        };
        writeln!(err, "{}: {what}", path.display())?;
        code = NO;
    }
    if report.failed().next().is_some() {
        code = NO;
    }
    if let (Some(minimum), Some(coverage)) = (args.coverage_minimum, &report.coverage)
        && coverage.percent < f64::from(minimum)
    {
        writeln!(
            err,
            "the tests reach {:.1} % of the policy's lines, less than {minimum} %",
            coverage.percent
        )?;
        code = NO;
    }
    Ok(code)
}

fn table(report: &TestReport, out: &mut impl Write) -> io::Result<()> {
    let time = |micros: u64| format!("{}.{:03} ms", micros / 1_000, micros % 1_000);
    for test in report.passed() {
        writeln!(out, "ok      {} ({})", test.name, time(test.micros))?;
    }
    for test in report.failed() {
        let outcome = test.outcome.as_deref().unwrap_or("not true");
        writeln!(out, "FAILED  {} ({}): {outcome}", test.name, time(test.micros))?;
        writeln!(out, "        {}:{}: {}", test.source.file, test.source.line, test.source.text)?;
        if let Some(at) = &test.failed_at {
            writeln!(out, "        {}:{}: not true: {}", at.file, at.line, at.text)?;
        }
    }
    writeln!(out, "{} passed, {} failed", report.passed().count(), report.failed().count())?;
    report.coverage.as_ref().map_or(Ok(()), |coverage| covered(coverage, out))
}

fn covered(coverage: &Coverage, out: &mut impl Write) -> io::Result<()> {
    writeln!(out)?;
    for file in &coverage.files {
        writeln!(out, "{:5.1} %  {}", file.percent, file.file)?;
        if !file.missed.is_empty() {
            writeln!(out, "         lines that no test reaches: {}", runs(&file.missed))?;
        }
        for rule in &file.unreached {
            writeln!(
                out,
                "         rule that no test follows to its end: {}:{}: {}",
                rule.file, rule.line, rule.text
            )?;
        }
    }
    writeln!(out, "{:5.1} %  of all lines", coverage.percent)
}

/// Numbers as runs: `3, 5-9, 20`.
fn runs(lines: &[u32]) -> String {
    let mut found: Vec<(u32, u32)> = Vec::new();
    for &line in lines {
        match found.last_mut() {
            Some((_, last)) if *last + 1 == line => *last = line,
            _ => found.push((line, line)),
        }
    }
    let more = found.len().saturating_sub(SHOWN_RUNS);
    let mut text: Vec<String> = found
        .iter()
        .take(SHOWN_RUNS)
        .map(|(first, last)| if first == last { first.to_string() } else { format!("{first}-{last}") })
        .collect();
    if more > 0 {
        text.push(format!("and {more} more runs"));
    }
    text.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_shown_as_runs() {
        assert_eq!(runs(&[3, 5, 6, 7, 20]), "3, 5-7, 20");
        let many: Vec<u32> = (0..200).step_by(2).collect();
        assert!(runs(&many).ends_with(", 46, and 76 more runs"), "{}", runs(&many));
    }
}
