//! `airlock policy`: working on a policy bundle without a running daemon.

mod diff;
mod ended;
mod explain;
mod input;
mod log;
mod test;

use std::io;
use std::process::ExitCode;

use self::ended::WRONG;
use super::print;

/// Arguments of `airlock policy`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Run the bundle's own tests: every rule `test_*` in its `*_test.rego` files. Exit code 0: all passed;
    /// 1: a test failed, there is none, the bundle does not load, or the coverage is below its minimum.
    Test(test::Args),
    /// Tell why the policy decides as it does, with the place of every rule that holds or does not. Exit code
    /// 0: the call is allowed; 1: it is refused; 2: the policy, the input or the record cannot be used.
    Explain(explain::Args),
    /// Decide the calls of the audit log under another policy and show what would change. Exit code 0:
    /// nothing certain; 1: some decision would change; 2: the policy or the log cannot be used.
    Diff(diff::Args),
    /// Show the input document that a policy reads: every field with its type, what it is and when it is
    /// null. Exit code 0.
    Input(input::Args),
}

/// Runs the command. Exit code 0: the answer is yes; 1: it is no; 2: something could not be read.
pub fn run(args: Args) -> ExitCode {
    let (mut out, mut err) = (io::stdout().lock(), io::stderr().lock());
    let code = match args.command {
        Command::Test(args) => test::run(&args, &mut out, &mut err),
        Command::Explain(args) => explain::run(&args, &mut out, &mut err),
        Command::Diff(args) => diff::run(&args, &mut out, &mut err),
        Command::Input(args) => input::run(&args, &mut out),
    };
    print::ended(code, WRONG)
}
