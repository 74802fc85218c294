//! `airlock check`: is this configuration good, without starting anything.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use crate::config::{self, Diagnostic, schema::Config};

/// Exit code for a configuration with mistakes. Wrong usage of the command line exits with 2.
const INVALID: u8 = 1;

/// Checks a configuration without starting.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The configuration file.
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// Print the mistakes as a JSON array of {file, line, column, message, expected, help}.
    #[arg(long)]
    pub json: bool,
}

/// Runs the command.
///
/// Exit code 0: no mistakes; 1: mistakes, all of them printed.
pub fn run(args: Args) -> ExitCode {
    run_with(&args, |_| Ok(()))
}

/// Runs the command, and `deeper` on a configuration that has no mistakes of its own: what a file names is checked
/// there, such as the policy.
pub fn run_with(args: &Args, deeper: impl FnOnce(&Config) -> Result<(), Vec<Diagnostic>>) -> ExitCode {
    // A closed pipe on our side of the terminal changes nothing about the configuration, nor about the exit code.
    ExitCode::from(check(args, deeper, &mut std::io::stdout().lock(), &mut std::io::stderr().lock()))
}

fn check(
    args: &Args,
    deeper: impl FnOnce(&Config) -> Result<(), Vec<Diagnostic>>,
    out: &mut impl Write,
    err: &mut impl Write,
) -> u8 {
    let file = args.config.display();
    let checked =
        config::load(&args.config).map_err(|mistakes| mistakes.entries().to_vec()).and_then(|config| {
            deeper(&config)?;
            Ok(config)
        });
    let mistakes = checked.as_ref().err().map_or(&[][..], Vec::as_slice);
    if args.json {
        // Plain strings and numbers always serialise; what remains is a closed output.
        let _ = serde_json::to_writer_pretty(&mut *out, mistakes);
        let _ = writeln!(out);
    } else {
        for mistake in mistakes {
            let _ = writeln!(err, "{mistake}");
        }
    }
    match &checked {
        Ok(config) => {
            if !args.json {
                let _ = writeln!(out, "{file}: ok ({})", summary(config));
            }
            0
        }
        Err(mistakes) => {
            if !args.json {
                let _ = writeln!(err, "{file}: {}", count(mistakes.len(), "mistake"));
            }
            INVALID
        }
    }
}

fn summary(config: &Config) -> String {
    let listen: Vec<String> = config.server.listen.iter().map(ToString::to_string).collect();
    format!(
        "{}, {}, listening on {}",
        count(config.upstreams.len(), "upstream"),
        count(config.auth.issuers.len(), "issuer"),
        listen.join(", ")
    )
}

fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}
