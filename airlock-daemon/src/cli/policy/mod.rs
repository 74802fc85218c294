//! `airlock policy`: working on a policy bundle without a running daemon.

mod test;

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

/// The answer is no: a test failed, a decision would change.
const NO: u8 = 1;
/// The question was wrong: what was to be read cannot be.
const WRONG: u8 = 2;
/// Where the packaged configuration has its policy.
const DEFAULT_PATH: &str = "/etc/airlock/policies";

/// Arguments of `airlock policy`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Run the bundle's own tests: every rule `test_*` in its `*_test.rego` files. Exit code 0: all passed; 1: a test failed,
    /// there is none, the bundle does not load, or the coverage is below its minimum.
    Test(test::Args),
}

/// Where a bundle is.
#[derive(Debug, clap::Args)]
struct Bundle {
    /// The directory of the bundle.
    #[arg(long, value_name = "DIR", default_value = DEFAULT_PATH)]
    path: PathBuf,
}

/// Runs the command. Exit code 0: the answer is yes; 1: it is no; 2: something could not be read.
pub fn run(args: Args) -> ExitCode {
    let (mut out, mut err) = (io::stdout().lock(), io::stderr().lock());
    let code = match args.command {
        Command::Test(args) => test::run(&args, &mut out, &mut err),
    };
    // Only writing can fail here: a reader such as `head` that has seen enough is no error.
    code.map_or_else(
        |e| if e.kind() == io::ErrorKind::BrokenPipe { ExitCode::SUCCESS } else { ExitCode::from(WRONG) },
        ExitCode::from,
    )
}
