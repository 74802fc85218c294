//! The command line: one file a command.

mod admin;
pub mod audit;
pub mod block;
mod certificates;
pub mod check;
pub mod kernel;
pub mod policy;
mod print;
mod reload;
pub mod serve;
pub mod status;
pub mod token;
pub mod upstream;
pub mod vet;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Where every command looks for the configuration when none is named.
const DEFAULT_CONFIG: &str = "/etc/airlock/airlock.yaml";

/// The door through which agents outside use MCP servers inside.
#[derive(Debug, Parser)]
#[command(name = "airlock", version, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the gateway.
    Serve(serve::Args),
    /// Check a configuration and its policy without starting.
    Check(check::Args),
    /// Show how the running daemon is.
    Status(status::Args),
    /// See and change which addresses are blocked.
    Block(block::Args),
    /// Read and verify the audit log.
    Audit(audit::Args),
    /// Test a policy.
    Policy(policy::Args),
    /// Try a policy for the daemon, which starts this by itself.
    #[command(name = crate::policy::vet::SUBCOMMAND, hide = true)]
    PolicyVet,
    /// See what the kernel of this host gives.
    Kernel(kernel::Args),
    /// Try a server by itself.
    Upstream(upstream::Args),
    /// Get a token from a running development issuer.
    Token(token::Args),
}

/// Reads the command line and runs the command. Exit codes: 0 done, 1 the answer is no, 2 the question was wrong.
pub fn run() -> ExitCode {
    match Cli::parse().command {
        Command::Serve(args) => serve::run(&args),
        Command::Check(args) => check::run(args),
        Command::Status(args) => status::run(args),
        Command::Block(args) => block::run(args),
        Command::Audit(args) => audit::run(args),
        Command::Policy(args) => policy::run(args),
        Command::PolicyVet => vet::run(),
        Command::Kernel(args) => kernel::run(args),
        Command::Upstream(args) => upstream::run(args),
        Command::Token(args) => token::run(args),
    }
}
