//! `airlock kernel`: what the kernel half can do on this host, and whether that is what the configuration
//! promises.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Subcommand;
use serde::Serialize;

use crate::config;
use crate::config::schema::{Config, KernelMode, PinSocket};
use crate::kernel::{KernelHalf, Report, interface_exists, promises};

use super::print;

/// Arguments of `airlock kernel`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: KernelCommand,
}

#[derive(Debug, Subcommand)]
enum KernelCommand {
    /// Attach everything for a moment, try to break out, and say what holds.
    ///
    /// Exit code 0: what the configuration promises holds on this host; 1: it does not; 2: the configuration
    /// cannot be read.
    Doctor {
        /// Print the report as JSON.
        #[arg(long)]
        json: bool,
        /// The configuration whose promises are looked at; by default /etc/airlock/airlock.yaml where there
        /// is one, and otherwise the defaults.
        #[arg(long)]
        config: Option<PathBuf>,
    },
}

/// The doctor's answer.
#[derive(Serialize)]
struct Findings<'a> {
    #[serde(flatten)]
    report: &'a Report,
    /// The promises of the configuration that this host does not keep.
    broken_promises: Vec<String>,
}

/// Runs the command.
pub fn run(args: Args) -> ExitCode {
    let KernelCommand::Doctor { json, config } = args.command;
    let asked = match read(config.as_deref()) {
        Ok(config) => config,
        Err(diagnostics) => {
            print::err(format_args!("{diagnostics}"));
            return ExitCode::from(2);
        }
    };
    let half = KernelHalf::try_out(&asked.kernel);
    let report = half.report();
    let findings = Findings { report, broken_promises: broken(&asked, &half) };
    if json {
        match serde_json::to_string_pretty(&findings) {
            Ok(text) => print::out(format_args!("{text}\n")),
            Err(error) => {
                print::err(format_args!("airlock kernel doctor: cannot write the report as JSON: {error}\n"));
                return ExitCode::FAILURE;
            }
        }
    } else {
        print::out(format_args!("{report}"));
        for promise in &findings.broken_promises {
            print::out(format_args!("\nnot kept: {promise}\n"));
        }
    }
    if findings.broken_promises.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn read(path: Option<&Path>) -> Result<Config, String> {
    let path = match path {
        Some(path) => path,
        None if Path::new(super::defaults::DEFAULT_CONFIG).exists() => {
            Path::new(super::defaults::DEFAULT_CONFIG)
        }
        None => return Ok(Config::default()),
    };
    config::load(path).map_err(|diagnostics| diagnostics.to_string())
}

/// The promises of the configuration that this host does not keep, a sentence each.
fn broken(config: &Config, half: &KernelHalf) -> Vec<String> {
    let mut broken = promises::broken(config, half);
    if config.kernel.mode == KernelMode::Off {
        return broken;
    }
    let prints = config.upstreams.iter().any(|upstream| upstream.pin.sockets.contains(&PinSocket::Journal));
    if prints && let Err(error) = half.cage().open_doors_to_journal() {
        broken.push(error.to_string());
    }
    for interface in &config.kernel.xdp.interfaces {
        if half.early_drop().is_none() {
            broken.push(format!("kernel.xdp.interfaces has {interface}, and the early drop does not load"));
        } else if !interface_exists(interface) {
            broken.push(format!("kernel.xdp.interfaces has {interface}, and there is no such interface"));
        }
    }
    broken
}
