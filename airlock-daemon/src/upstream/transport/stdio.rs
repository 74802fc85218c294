//! Servers that Airlock starts itself and speaks to over their standard input and output.

use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;

use crate::config::schema::{self, UpstreamKind};
use crate::kernel::spawner_process::table::Startable;
use crate::kernel::{Exit, KernelHalf, Refused, ServerCommand, ServerProcess};
use crate::observe::metrics::Held;
use crate::runtime::backend::Backend;

use super::handle::Link;
use super::link::{Parts, PipeLink};
use super::processes::RunningProcess;
use super::stderr::{self, LastWords};
use crate::upstream::credential::secret;
use crate::upstream::error::{How, UpstreamError};
use crate::upstream::hub::Hub;

/// How to start one process of an upstream.
pub struct Start<'a> {
    /// Its configuration.
    pub config: &'a schema::Upstream,
    /// Its name, shared.
    pub name: &'a Arc<str>,
    /// The cage it is put in.
    pub kernel: &'a Arc<KernelHalf>,
    /// How this worker moves bytes.
    pub backend: Backend,
    /// Longest message in bytes.
    pub limit: usize,
    /// Counts the process for as long as it runs.
    pub counted: (Held, RunningProcess),
    /// When an unused process is ended.
    pub idle: Option<Duration>,
    /// The listeners to it outside of calls.
    pub(in crate::upstream) hub: &'a Arc<Hub>,
}

impl Start<'_> {
    /// Starts a process in its cell and a link to it on the current worker.
    ///
    /// # Errors
    /// [`UpstreamError::Start`], with what to do about it.
    pub async fn open(self) -> Result<Link, UpstreamError> {
        let failed = |detail: String| UpstreamError::Start { upstream: self.name.to_string(), detail };
        let mut process = self.spawn().await.map_err(failed)?;
        let stdio =
            process.take_stdio().ok_or_else(|| failed("its standard input is already taken".into()))?;
        let handle = stdio.try_clone().map_err(|error| failed(error.to_string()))?;
        let exit = process.exit().map_err(|error| failed(error.to_string()))?;
        let stderr = process.take_stderr();
        let words = stderr.map(|stderr| stderr::log(self.backend, stderr, Arc::clone(self.name))).transpose();
        let words = words.map_err(|error| failed(error.to_string()))?;
        tracing::debug!(upstream = %self.name, pid = process.pid(), "a server process has started");
        let stream = self.backend.unix(stdio).map_err(|error| failed(error.to_string()))?;
        let process = Arc::new(Mutex::new(process));
        tokio::task::spawn_local(end_with_process(exit, Arc::downgrade(&process), handle));
        let (kernel, name) = (Arc::clone(self.kernel), Arc::clone(self.name));
        Ok(Link::Pipe(PipeLink::start(Parts {
            upstream: Arc::clone(self.name),
            stream,
            limit: self.limit,
            idle: self.idle,
            hub: Arc::clone(self.hub),
            end: Box::new(move || {
                let counted = self.counted;
                let ended = end(&process, words, || kernel.cage().refused_by_now(&name));
                drop(process);
                drop(counted);
                ended
            }),
        })))
    }

    /// fork and exec wait for the new program: off the worker's thread.
    async fn spawn(&self) -> Result<ServerProcess, String> {
        let command = command(self.config);
        let (kernel, pin, name) = (Arc::clone(self.kernel), self.config.pin.clone(), Arc::clone(self.name));
        tokio::task::spawn_blocking(move || kernel.cage().start_server(&name, &pin, command))
            .await
            .map_err(|error| error.to_string())?
    }
}

/// The servers of a configuration that are started, for the process that starts them.
pub fn startable(config: &schema::Config) -> Vec<Startable> {
    let started = config.upstreams.iter().filter(|upstream| upstream.kind == UpstreamKind::Stdio);
    started
        .map(|upstream| Startable {
            name: upstream.name.clone(),
            pin: upstream.pin.clone(),
            command: Box::new(command(upstream)),
        })
        .collect()
}

/// How a process of an upstream is started, with the secrets that its files hold when that is asked.
fn command(config: &schema::Upstream) -> impl Fn() -> Result<ServerCommand, String> + Send + Sync + use<> {
    let mut words = config.command.iter().cloned();
    let program = words.next().map(PathBuf::from);
    let args: Vec<String> = words.collect();
    let working_dir = config.working_dir.clone().unwrap_or_else(|| PathBuf::from("/"));
    let (env, secrets) = (config.env.clone(), config.env_from.clone());
    let (user, files) = (config.user.clone(), config.files.clone());
    move || {
        let mut env = env.clone();
        for (variable, file) in &secrets {
            env.insert(variable.clone(), secret::read(file)?);
        }
        Ok(ServerCommand {
            program: program.clone().ok_or("`command` is empty")?,
            args: args.clone(),
            env,
            working_dir: working_dir.clone(),
            user: user.clone(),
            files: files.clone(),
        })
    }
}

/// Ends a link with its process, however long a process that this one has started holds the other end of the
/// pipe: what is left in the cell is killed, and the reader finds the end behind all that the server has
/// said.
async fn end_with_process(exit: Exit, process: Weak<Mutex<ServerProcess>>, pipe: UnixStream) {
    if let Err(error) = exit.wait().await {
        tracing::debug!(%error, "the end of a process is not waited for any more");
        return;
    }
    let ended = tokio::task::spawn_blocking(move || {
        // Without the process, the link has ended it already.
        if let Some(process) = process.upgrade() {
            process.lock().exited();
        }
        let _ = pipe.shutdown(Shutdown::Both);
    });
    let _ = ended.await;
}

/// Kills a server, unless it has ended, and says how it ended: its exit status, what the kernel refused it,
/// and the last lines on its standard error.
fn end(
    process: &Mutex<ServerProcess>,
    words: Option<LastWords>,
    refused: impl FnOnce() -> Option<Refused>,
) -> How {
    let status = process.lock().kill();
    let status = status.map(|status| status.to_string());
    let words = words.map(LastWords::take).filter(|words| !words.is_empty());
    let refused = refused().map(|refused| format!("the kernel refused it {refused}"));
    How { status: [status, refused].into_iter().flatten().collect::<Vec<_>>().join(", "), words }
}
