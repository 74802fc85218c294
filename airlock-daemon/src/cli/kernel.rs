//! `airlock kernel`: what the kernel half can do on this host, and whether that is what the configuration promises.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Subcommand;
use serde::Serialize;

use crate::config;
use crate::config::schema::{Config, KernelMode, PinNetwork, PinSocket, UpstreamKind};
use crate::kernel::{
    KernelHalf, LIMITS, Limit, ROOT_BY_OMISSION, Report, has_default_user, interface_exists,
    is_root_by_omission,
};

/// Where the configuration is looked for when none is named.
const DEFAULT: &str = "/etc/airlock/airlock.yaml";

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
    /// Exit code 0: what the configuration promises holds on this host; 1: it does not; 2: the configuration cannot be read.
    Doctor {
        /// Print the report as JSON.
        #[arg(long)]
        json: bool,
        /// The configuration whose promises are looked at; by default /etc/airlock/airlock.yaml where there is one, and
        /// otherwise the defaults.
        #[arg(long)]
        config: Option<PathBuf>,
    },
}

/// What the doctor says.
#[derive(Serialize)]
struct Findings<'a> {
    #[serde(flatten)]
    report: &'a Report,
    /// What the configuration promises and this host does not keep.
    broken_promises: Vec<String>,
}

/// Runs the command.
pub fn run(args: Args) -> ExitCode {
    let KernelCommand::Doctor { json, config } = args.command;
    let asked = match read(config.as_deref()) {
        Ok(config) => config,
        Err(diagnostics) => {
            eprint!("{diagnostics}");
            return ExitCode::from(2);
        }
    };
    let half = KernelHalf::try_out(&asked.kernel);
    let report = half.report();
    let findings = Findings { report, broken_promises: broken(&asked, &half) };
    if json {
        match serde_json::to_string_pretty(&findings) {
            Ok(text) => println!("{text}"),
            Err(error) => {
                eprintln!("airlock kernel doctor: cannot write the report as JSON: {error}");
                return ExitCode::FAILURE;
            }
        }
    } else {
        print!("{report}");
        for promise in &findings.broken_promises {
            println!("\nnot kept: {promise}");
        }
    }
    if findings.broken_promises.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn read(path: Option<&Path>) -> Result<Config, String> {
    let path = match path {
        Some(path) => path,
        None if Path::new(DEFAULT).exists() => Path::new(DEFAULT),
        None => return Ok(Config::default()),
    };
    config::load(path).map_err(|diagnostics| diagnostics.to_string())
}

/// What the configuration promises and this host does not keep, a sentence each.
fn broken(config: &Config, half: &KernelHalf) -> Vec<String> {
    let report = half.report();
    let mut broken = Vec::new();
    if config.kernel.mode == KernelMode::Off {
        return broken;
    }
    if report.rung.is_none_or(|rung| rung < report.minimum_rung) {
        broken.push(format!(
            "kernel.minimum_rung is {}, and servers are pinned on rung {}",
            report.minimum_rung.name(),
            report.rung.map_or("none", crate::config::schema::Rung::name)
        ));
    }
    if let Some(Err(error)) = half.fitting_slice() {
        broken.push(error.to_string());
    }
    let prints = config.upstreams.iter().any(|upstream| upstream.pin.sockets.contains(&PinSocket::Journal));
    if prints && let Err(error) = half.open_doors_to_journal() {
        broken.push(error.to_string());
    }
    for interface in &config.kernel.xdp.interfaces {
        if half.early_drop().is_none() {
            broken.push(format!("kernel.xdp.interfaces has {interface}, and the early drop does not load"));
        } else if !interface_exists(interface) {
            broken.push(format!("kernel.xdp.interfaces has {interface}, and there is no such interface"));
        }
    }
    let started = config.upstreams.iter().filter(|upstream| upstream.kind == UpstreamKind::Stdio);
    for upstream in started {
        let pin = &upstream.pin;
        for Limit { controller, key, is_set } in LIMITS {
            if is_set(pin) && !report.is_active(&format!("{controller} limit")) {
                broken.push(format!(
                    "upstream {} is to have {key}, and the {controller} controller is not there to enforce it",
                    upstream.name
                ));
            }
        }
        if config.kernel.mode == KernelMode::Required && is_root_by_omission(upstream.user.as_deref()) {
            broken.push(format!("upstream {}: {ROOT_BY_OMISSION}", upstream.name));
            continue;
        }
        let is_own_user = upstream.user.is_none() && !has_default_user();
        if pin.network == PinNetwork::None && is_own_user && !report.is_active("cgroup guard") {
            broken.push(format!(
                "upstream {} runs as airlock's own user, which may move it out of its cage: set `user`",
                upstream.name
            ));
        }
    }
    broken
}
