//! Servers that Airlock starts itself and speaks to over their standard input and output.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::config::schema;
use crate::kernel::{KernelHalf, ServerCommand, ServerProcess};
use crate::observe::metrics::Held;
use crate::runtime::backend::Backend;

use super::error::UpstreamError;
use super::hub::Hub;
use super::link::{Link, Parts, PipeLink};
use super::pool::RunningProcess;
use super::secret;
use super::stderr;

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
    /// Who hears what it says outside of calls.
    pub(super) hub: &'a Arc<Hub>,
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
        if let Some(stderr) = process.take_stderr() {
            stderr::log(self.backend, stderr, Arc::clone(self.name))
                .map_err(|error| failed(error.to_string()))?;
        }
        tracing::debug!(upstream = %self.name, pid = process.pid(), "a server process has started");
        let stream = self.backend.unix(stdio).map_err(|error| failed(error.to_string()))?;
        Ok(Link::Pipe(PipeLink::start(Parts {
            upstream: Arc::clone(self.name),
            stream,
            limit: self.limit,
            idle: self.idle,
            hub: Arc::clone(self.hub),
            end: Box::new(move || {
                let counted = self.counted;
                let status = process.kill().map(|status| status.to_string()).unwrap_or_default();
                drop(counted);
                status
            }),
        })))
    }

    /// fork and exec wait for the new program: off the worker's thread.
    async fn spawn(&self) -> Result<ServerProcess, String> {
        let mut env = self.config.env.clone();
        let mut words = self.config.command.iter().cloned();
        let command = ServerCommand {
            program: words.next().map(PathBuf::from).ok_or("`command` is empty")?,
            args: words.collect(),
            env: BTreeMap::new(),
            working_dir: self.config.working_dir.clone().unwrap_or_else(|| PathBuf::from("/")),
            user: self.config.user.clone(),
            files: self.config.files.clone(),
        };
        let secrets = self.config.env_from.clone();
        let (kernel, pin, name) = (Arc::clone(self.kernel), self.config.pin.clone(), Arc::clone(self.name));
        tokio::task::spawn_blocking(move || {
            for (variable, file) in secrets {
                env.insert(variable, secret::read(&file)?);
            }
            let command = ServerCommand { env, ..command };
            let cell = kernel.cell(&name, &pin).map_err(|error| error.to_string())?;
            cell.spawn(&command).map_err(|error| error.to_string())
        })
        .await
        .map_err(|error| error.to_string())?
    }
}
