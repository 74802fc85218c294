//! `airlock kernel`: what the kernel half can do on this host.

use std::process::ExitCode;

use clap::Subcommand;

use crate::config::schema::{Kernel, KernelMode};
use crate::kernel::KernelHalf;

/// Arguments of `airlock kernel`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: KernelCommand,
}

#[derive(Debug, Subcommand)]
enum KernelCommand {
    /// Attach everything for a moment, try to break out, and say what holds; exit code 0 from rung no-ip on, 1 below.
    Doctor {
        /// Print the report as JSON.
        #[arg(long)]
        json: bool,
    },
}

/// Runs the command; the exit code is 0 if servers can be pinned on this host.
#[expect(clippy::needless_pass_by_value, reason = "every command takes its arguments by value")]
pub fn run(args: Args) -> ExitCode {
    let KernelCommand::Doctor { json } = args.command;
    // In this mode nothing is demanded, so that everything is tried and reported.
    let config = Kernel { mode: KernelMode::Preferred, ..Kernel::default() };
    let half = match KernelHalf::start(&config) {
        Ok(half) => half,
        Err(error) => {
            eprintln!("airlock kernel doctor: {error}");
            return ExitCode::FAILURE;
        }
    };
    let report = half.report();
    if json {
        match serde_json::to_string_pretty(report) {
            Ok(text) => println!("{text}"),
            Err(error) => {
                eprintln!("airlock kernel doctor: cannot write the report as JSON: {error}");
                return ExitCode::FAILURE;
            }
        }
    } else {
        print!("{report}");
    }
    if report.rung.is_some() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
