//! `airlock dlp`: trying redaction without a running daemon.

mod ended;
mod input;
mod shown;
mod test;

use std::io;
use std::process::ExitCode;

use self::ended::WRONG;
use super::print;

/// Arguments of `airlock dlp`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Show what detectors find in a text: where, by which detector, and what is done with it. A JSON object
    /// or array is taken for the arguments of a call, or for a result, and anything else for the inside of
    /// one string. Matches are not shown, but for --show-matches. Exit code 0: the text passes as it
    /// came; 1: it is changed or does not pass; 2: the text, the configuration or a pack cannot be used.
    Test(test::Args),
}

/// Runs the command. Exit code 0: the text passes as it came; 1: it does not; 2: something could not be read.
pub fn run(args: Args) -> ExitCode {
    let Command::Test(args) = args.command;
    let (mut out, mut err) = (io::stdout().lock(), io::stderr().lock());
    print::ended(test::run(&args, &mut io::stdin().lock(), &mut out, &mut err), WRONG)
}
