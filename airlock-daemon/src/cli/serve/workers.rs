//! The workers: where they are in their lives, and what each does.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::http::{Service, connection};
use crate::policy::vet::WORKER_STACK;
use crate::runtime::backend::Backend;
use crate::runtime::listener::Listener;
use crate::runtime::worker::{self, Phase, Remote};

/// How long servers have at shutdown, more than the grace that each one has.
const MAX_END_OF_SERVERS: Duration = Duration::from_secs(5);

/// The workers: where they are in their lives, seen from outside and from each other.
#[derive(Clone)]
pub(super) struct Workers {
    size: usize,
    pub(super) phase: Arc<watch::Sender<Phase>>,
    /// How many have no connection left.
    drained: Arc<watch::Sender<usize>>,
    /// How many have ended, however.
    ended: Arc<watch::Sender<usize>>,
}

impl Workers {
    pub(super) fn new(size: usize) -> Self {
        let phase = Arc::new(watch::Sender::new(Phase::Running));
        Self { size, phase, drained: Arc::default(), ended: Arc::default() }
    }

    /// Starts one of them.
    pub(super) fn start_worker(
        &self,
        number: usize,
        backend: Backend,
        listeners: Vec<Listener>,
        service: Arc<Service>,
    ) -> std::io::Result<std::thread::JoinHandle<()>> {
        let thread = std::thread::Builder::new().name(format!("worker-{number}")).stack_size(WORKER_STACK);
        let guard = WorkerGuard { workers: self.clone(), is_drained: Cell::new(false) };
        thread.spawn(move || {
            let timeouts = &service.gateway.config.server.timeouts;
            let (drain, stalled) = (timeouts.drain.0, timeouts.idle.0);
            let life = async {
                let phase = guard.workers.phase.subscribe();
                if number == 0 {
                    probe_all(&service, &phase);
                }
                let serve = {
                    let (service, phase) = (Arc::clone(&service), phase.clone());
                    move |stream, remote: Remote| {
                        connection::serve(Arc::clone(&service), stream, remote, phase.clone())
                    }
                };
                let left = worker::run(backend, listeners, stalled, phase, drain, serve).await;
                guard.drained();
                guard.workers.all_drained(left).await;
                service.gateway.upstreams.end_all(MAX_END_OF_SERVERS).await;
            };
            if let Err(error) = backend.run(life) {
                tracing::error!(%error, "a worker could not start");
            }
        })
    }

    /// Waits until no worker has a connection left, or `limit` has passed: servers live on the worker that
    /// started them.
    async fn all_drained(&self, limit: Duration) {
        let mut drained = self.drained.subscribe();
        let _ = tokio::time::timeout(limit, drained.wait_for(|count| *count >= self.size)).await;
    }

    pub(super) async fn all_ended(&self) {
        let _ = self.ended.subscribe().wait_for(|count| *count >= self.size).await;
    }

    /// Waits until one has ended, which none may before the process drains.
    pub(super) async fn one_ended(&self) {
        let _ = self.ended.subscribe().wait_for(|count| *count > 0).await;
    }
}

/// A worker's place in the workers; given up also by a panic.
struct WorkerGuard {
    workers: Workers,
    is_drained: Cell<bool>,
}

impl WorkerGuard {
    fn drained(&self) {
        if !self.is_drained.replace(true) {
            self.workers.drained.send_modify(|count| *count += 1);
        }
    }
}

impl Drop for WorkerGuard {
    fn drop(&mut self) {
        self.drained();
        self.workers.ended.send_modify(|count| *count += 1);
    }
}

/// Asks every upstream what it is, each in a task of its own on this worker.
fn probe_all(service: &Arc<Service>, phase: &watch::Receiver<Phase>) {
    for upstream in service.gateway.upstreams.iter() {
        let (upstream, mut phase) = (Arc::clone(upstream), phase.clone());
        tokio::task::spawn_local(async move {
            tokio::select! {
                () = upstream.introduce() => {}
                _ = phase.wait_for(|phase| *phase == Phase::Draining) => {}
            }
        });
    }
}
