//! `airlock policy`: working on a policy bundle without a running daemon.

use std::path::PathBuf;
use std::process::ExitCode;

use crate::policy;

/// Arguments of `airlock policy`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Run the bundle's own tests: every rule `test_*` in its `*_test.rego` files.
    Test {
        /// The directory of the bundle.
        #[arg(long, value_name = "DIR")]
        path: PathBuf,
    },
}

/// Runs the command. Exit code 0: all tests passed; 1: a test failed, there is none, or the bundle does not load.
pub fn run(args: Args) -> ExitCode {
    let Command::Test { path } = args.command;
    match policy::run_tests(&path) {
        Ok(report) => {
            for name in &report.passed {
                println!("ok      {name}");
            }
            for (name, outcome) in &report.failed {
                println!("FAILED  {name}: {outcome}");
            }
            println!("{} passed, {} failed", report.passed.len(), report.failed.len());
            if report.passed.is_empty() && report.failed.is_empty() {
                eprintln!(
                    "{}: no test found; a test is a rule `test_…` in a file `…_test.rego`",
                    path.display()
                );
            }
            if report.failed.is_empty() && !report.passed.is_empty() {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            }
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
