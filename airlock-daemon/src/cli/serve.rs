//! `airlock serve`: everything is set up in one thread, then the workers start, and the first thread keeps
//! the server.

mod closed;
mod control;
mod development;
mod failure;
mod setup;
mod touched;
mod workers;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use self::control::{Side, Signals, control};
use self::failure::Failure;
use self::setup::Server;
use self::workers::Workers;
use super::print;
use crate::audit::{Event, Record};
use crate::config::schema::Config;
use crate::config::{self, OnDisk};
use crate::kernel::keep_for_start;
use crate::kernel::spawner::Spawner;
use crate::kernel::spawner_process::table::Table;
use crate::observe::{logging, notify};
use crate::policy::vet::WORKER_STACK;
use crate::runtime::allocator;
use crate::runtime::listener::Listener;
use crate::runtime::worker::Phase;
use crate::upstream::transport::stdio::startable;

/// Arguments of `airlock serve`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The configuration file.
    #[arg(long, default_value = super::defaults::DEFAULT_CONFIG)]
    config: PathBuf,
}

/// Runs the command.
pub fn run(args: &Args) -> ExitCode {
    let (config, file) = match config::load_from_disk(&args.config) {
        Ok(loaded) => loaded,
        Err(diagnostics) => {
            print::err(format_args!("{diagnostics}"));
            return ExitCode::from(2);
        }
    };
    match serve(config, file, &args.config) {
        Ok(()) => {
            notify::flush();
            logging::flush();
            ExitCode::SUCCESS
        }
        Err(error) => {
            tracing::error!("{error}");
            logging::flush();
            print::err(format_args!("airlock: {error}\n"));
            ExitCode::FAILURE
        }
    }
}

fn serve(config: Config, on_disk: OnDisk, file: &Path) -> Result<(), Failure> {
    closed::close()?;
    allocator::set_up();
    // The process that starts servers is born before there is a thread, a key or a socket.
    let spawner = Spawner::fork(Table {
        servers: startable(&config),
        mode: config.kernel.mode,
        hidden: config::own_files(&config, file),
    })
    .map_err(|error| {
        format!("the process that starts servers: {error}; raise TasksMax= or the limit of processes")
    })?;
    keep_for_start()
        .map_err(|error| format!("capabilities cannot be given up: {error}; allow capset and prctl"))?;
    logging::init(&config.observability.log)?;
    closed::warn_of_swap();
    let server = Server::set_up(config, on_disk, spawner)?;
    let service = Arc::clone(&server.service);
    let addresses = server.addresses();
    // The first thing that can be asked of a service is to end: it is heard from here on.
    // A policy is compiled on its threads: with more room than the child had that tried it.
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().thread_stack_size(WORKER_STACK).build()?;
    let signals = {
        let _entered = runtime.enter();
        Signals::listen()?
    };
    let workers = Workers::new(server.workers);
    let mut threads = Vec::with_capacity(server.workers);
    for number in 0..server.workers {
        let listeners = server.listeners.iter().map(Listener::share).collect::<Result<_, _>>()?;
        threads.push(workers.start_worker(number, server.backend, listeners, Arc::clone(&service))?);
    }
    drop(server.listeners);

    let local = tokio::task::LocalSet::new();
    let side = Side {
        metrics: server.metrics,
        admin: server.admin,
        dial_ins: server.dial_ins,
        development: server.development,
    };
    let keeping = control(Arc::clone(&service), side, &addresses, &workers, signals);
    let result = local.block_on(&runtime, async {
        let result = keeping.await;
        notify::stopping("finishing calls in flight");
        tracing::info!("stopping: no new connections, calls in flight are finished");
        workers.phase.send_replace(Phase::Draining);
        // Nobody who looks for the socket from here on is to find one that is not listened on.
        drop(server.socket_file);
        service.gateway.draining.send_replace(true);
        // Keys and metrics are served on while calls are finished.
        workers.all_ended().await;
        result
    });
    for thread in threads {
        if thread.join().is_err() {
            tracing::error!("a worker panicked");
        }
    }
    let _ = service.gateway.audit.record_done(Record::new(Event::Stop));
    server.writer.join()?;
    if result.is_ok() {
        service.gateway.kernel.end();
    }
    result
}
