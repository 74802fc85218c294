//! The command line: one file a command.

mod admin;
pub mod audit;
pub mod block;
mod certificates;
pub mod check;
mod defaults;
pub mod dlp;
pub mod kernel;
pub mod policy;
mod print;
mod reload;
pub mod serve;
pub mod status;
pub mod stop;
#[cfg(development_issuer)]
pub mod token;
pub mod tools;
pub mod upstream;
pub mod vet;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

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
    /// Stop everything, a tenant, a principal, a token, a server or a tool, at once.
    Stop(stop::StopArgs),
    /// Take a stop back.
    Resume(stop::ResumeArgs),
    /// Show what is stopped.
    Stops(stop::ListArgs),
    /// Read and verify the audit log.
    Audit(audit::Args),
    /// Test a policy.
    Policy(policy::Args),
    /// Try redaction.
    Dlp(dlp::Args),
    /// Try a policy for the daemon, which starts this by itself.
    #[command(name = crate::policy::vet::SUBCOMMAND, hide = true)]
    PolicyVet,
    /// See what the kernel of this host gives.
    Kernel(kernel::Args),
    /// See what is locked of the tools of servers and what is held back, and let it in.
    Tools(tools::Args),
    /// Try a server by itself.
    Upstream(upstream::Args),
    /// Get a token from a running development issuer.
    #[cfg(development_issuer)]
    Token(token::Args),
}

/// Reads the command line and runs the command. Exit codes: 0 done, 1 the answer is no, 2 the question was
/// wrong.
pub fn run() -> ExitCode {
    match Cli::parse().command {
        Command::Serve(args) => serve::run(&args),
        Command::Check(args) => check::run(args),
        Command::Status(args) => status::run(args),
        Command::Block(args) => block::run(args),
        Command::Stop(args) => stop::stop(args),
        Command::Resume(args) => stop::resume(args),
        Command::Stops(args) => stop::list(args),
        Command::Audit(args) => audit::run(args),
        Command::Policy(args) => policy::run(args),
        Command::Dlp(args) => dlp::run(args),
        Command::PolicyVet => vet::run(),
        Command::Kernel(args) => kernel::run(args),
        Command::Tools(args) => tools::run(args),
        Command::Upstream(args) => upstream::run(args),
        #[cfg(development_issuer)]
        Command::Token(args) => token::run(args),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::defaults::DEFAULT_AUDIT_DIR;
    use crate::cli::defaults::DEFAULT_CONFIG;
    use crate::config::schema::Config;

    #[test]
    fn every_command_has_the_same_defaults() {
        assert_eq!(Config::default().audit.dir.to_str(), Some(DEFAULT_AUDIT_DIR));
        for words in [
            "serve",
            "check",
            "status",
            "block list",
            "stop --all --reason x",
            "resume --all",
            "stops",
            #[cfg(development_issuer)]
            "token --subject alice",
            "upstream try docs",
            "kernel doctor",
            "tools list",
            "tools approve docs",
            "audit verify",
            "audit tail",
            "policy test",
            "policy explain --correlation-id x",
            "policy diff --path /new",
            "dlp test",
        ] {
            let parsed = Cli::try_parse_from(["airlock"].into_iter().chain(words.split(' ')));
            let shown = format!("{:?}", parsed.unwrap_or_else(|error| panic!("{words}: {error}")));
            for (key, default) in [("config", DEFAULT_CONFIG), ("dir", DEFAULT_AUDIT_DIR)] {
                let named =
                    [format!("{key}: \""), format!("audit_{key}: \"")].iter().any(|key| shown.contains(key));
                assert!(!named || shown.contains(&format!("{key}: \"{default}\"")), "{words}: {shown}");
            }
        }
    }
}
