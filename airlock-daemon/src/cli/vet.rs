//! `airlock policy-vet`: the process that tries a policy before the daemon runs it. Not for people: files
//! come on standard input and findings go to standard output.

use std::process::ExitCode;

use super::print;
use crate::policy::vet;

/// Runs the command. Exit code 0: there is a report; anything else: there is none.
pub fn run() -> ExitCode {
    match vet::child() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            print::err(format_args!("{error}\n"));
            ExitCode::FAILURE
        }
    }
}
