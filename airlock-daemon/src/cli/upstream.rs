//! `airlock upstream`: a server by itself, without a daemon and without a client.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Subcommand;
use tokio::signal::unix::{SignalKind, signal};

use crate::config;
use crate::config::schema::{Config, KernelMode, Log, LogFormat, LogLevel, UpstreamKind};
use crate::kernel::{Denied, KernelHalf, promises};
use crate::limits::budget::Budget;
use crate::mcp::revision::Era;
use crate::observe::logging;
use crate::observe::metrics::Metrics;
use crate::runtime::backend::Backend;
use crate::tool_locks::ToolLocks;
use crate::upstream::pool::Upstreams;
use crate::upstream::transport::dial_in::DialIns;

use super::print;

/// How long its processes may take to end.
const END: Duration = Duration::from_secs(5);

/// Arguments of `airlock upstream`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: UpstreamCommand,
}

#[derive(Debug, Subcommand)]
enum UpstreamCommand {
    /// Start a server in its cage as the daemon would, ask it what it is, and show all that it says on
    /// standard error, how it ended, and what the kernel refused it. Restrictions that the unit of the daemon
    /// adds (`ProtectHome=` and others) are not in force.
    ///
    /// Exit code 0: it answers; 1: it does not; 2: it cannot be tried.
    Try {
        /// Its name in the configuration.
        name: String,
        /// The configuration file.
        #[arg(long, default_value = super::defaults::DEFAULT_CONFIG)]
        config: PathBuf,
    },
}

/// Runs the command.
pub fn run(args: Args) -> ExitCode {
    let UpstreamCommand::Try { name, config: file } = args.command;
    let tried = asked(&name, &file).and_then(|(config, hidden)| {
        let log = Log { level: LogLevel::Info, format: LogFormat::Text };
        logging::init(&log).map_err(|error| error.to_string())?;
        attempt(&config, hidden)
    });
    logging::flush();
    match tried {
        Ok(Ok(told)) => {
            print::out(format_args!("{told}\n"));
            ExitCode::SUCCESS
        }
        Ok(Err(problem)) => {
            print::err(format_args!("airlock upstream try: {problem}\n"));
            ExitCode::FAILURE
        }
        Err(problem) => {
            print::err(format_args!("airlock upstream try: {problem}\n"));
            ExitCode::from(2)
        }
    }
}

/// The configuration with this upstream alone, and the files that no server sees: those of the whole one.
fn asked(name: &str, file: &Path) -> Result<(Config, Vec<PathBuf>), String> {
    let mut config = config::load(file).map_err(|mistakes| mistakes.to_string())?;
    let hidden = config::own_files(&config, file);
    let names: Vec<_> = config.upstreams.iter().map(|upstream| upstream.name.clone()).collect();
    config.upstreams.retain(|upstream| upstream.name == name);
    match config.upstreams.first() {
        Some(upstream) if upstream.kind == UpstreamKind::DialIn => Err(format!(
            "`{name}` is not started by Airlock: start its unit, and see whether it has dialled in by `airlock status`"
        )),
        Some(_) => Ok((config, hidden)),
        None => Err(format!("{} has no upstream `{name}`; it has: {}", file.display(), names.join(", "))),
    }
}

/// Starts it and asks it what it is. The outer error is one of this host, the inner one of the server.
fn attempt(config: &Config, hidden: Vec<PathBuf>) -> Result<Result<String, String>, String> {
    let half = match config.kernel.mode {
        KernelMode::Off => KernelHalf::start(&config.kernel).map_err(|error| error.to_string())?,
        // A daemon that runs keeps what it has.
        KernelMode::Required | KernelMode::Preferred => Arc::new(KernelHalf::try_out(&config.kernel)),
    };
    half.cage().hide(hidden);
    print::err(format_args!("cage: {}\n", half.report().claim));
    for promise in promises::broken(config, &half) {
        print::err(format_args!("not kept: {promise}\n"));
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("cannot start: {error}"))?;
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let watched = Arc::clone(&half);
        tokio::task::spawn_local(async move {
            let tell = |denied: Denied| {
                let (target, hook) = (denied.target(), denied.hook.name());
                tracing::warn!(
                    program = denied.comm,
                    pid = denied.pid,
                    hook,
                    "the kernel refused it {target}"
                );
            };
            let lose = |count: u64| {
                tracing::warn!("the kernel refused it {count} things more, too fast to be told one by one");
            };
            watched.cage().watch_denials(tell, lose).await;
        });
        let metrics = Metrics::new();
        let budget = Budget::new(&config.limits.memory);
        let (dial_ins, locks) = (DialIns::default(), ToolLocks::off(&metrics));
        let upstreams = Upstreams::new(config, &half, Backend::Epoll, &metrics, &dial_ins, &budget, &locks);
        let upstream = upstreams.iter().next().ok_or("there is no upstream")?;
        let interrupted = interrupted().map_err(|error| format!("signals cannot be heard: {error}"))?;
        let probed = tokio::select! {
            probed = upstream.probe() => probed,
            () = interrupted => {
                upstreams.end_all(END).await;
                return Err("interrupted; the server is ended".to_owned());
            }
        };
        let told = match probed {
            Ok(Some(facts)) => {
                let era = match facts.era {
                    Era::Modern => "modern",
                    Era::Legacy => "legacy",
                };
                Ok(format!("{}: it answers, and speaks {} ({era})", upstream.name, facts.revision))
            }
            Ok(None) => {
                Ok(format!("{}: it is asked with the first call, by its caller's own token", upstream.name))
            }
            Err(error) => Err(error.to_string()),
        };
        upstreams.end_all(END).await;
        Ok(told)
    })
}

/// Waits until somebody wants this command to end, so that no server outlives it.
fn interrupted() -> io::Result<impl Future<Output = ()>> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hang_up.recv() => {}
        }
    })
}
