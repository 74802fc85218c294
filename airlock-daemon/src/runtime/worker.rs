//! A worker: one thread, one runtime, its share of the connections.

use std::cell::Cell;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::{Notify, watch};

use super::backend::Backend;
use super::stream::BoxStream;

/// Where the process is in its life; workers watch it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Serving.
    Running,
    /// No new connections; calls in flight are finished.
    Draining,
}

/// Counts the connections of one worker, so that draining knows when the last has ended.
#[derive(Clone, Default)]
pub struct Connections(Rc<Count>);

#[derive(Default)]
struct Count {
    open: Cell<usize>,
    none: Notify,
}

/// One open connection.
pub struct Connection(Rc<Count>);

impl Connections {
    fn open(&self) -> Connection {
        self.0.open.set(self.0.open.get() + 1);
        Connection(Rc::clone(&self.0))
    }

    async fn all_closed(&self) {
        while self.0.open.get() > 0 {
            self.0.none.notified().await;
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.open.set(self.0.open.get() - 1);
        if self.0.open.get() == 0 {
            self.0.none.notify_one();
        }
    }
}

/// Runs one worker until the process drains: accepts on every listener and hands each stream to `serve` as a task of its own.
///
/// `serve` must end by itself when `phase` says [`Phase::Draining`]; connections still open `drain` later are dropped. Returns
/// what is left of `drain`.
pub async fn run<F, Fut>(
    backend: Backend,
    listeners: Vec<TcpListener>,
    mut phase: watch::Receiver<Phase>,
    drain: Duration,
    serve: F,
) -> Duration
where
    F: Fn(BoxStream, SocketAddr) -> Fut + Clone + 'static,
    Fut: Future<Output = ()> + 'static,
{
    let connections = Connections::default();
    let accepting: Vec<_> = listeners
        .into_iter()
        .map(|listener| {
            tokio::task::spawn_local(accept(backend, listener, connections.clone(), serve.clone()))
        })
        .collect();
    // The sender lives as long as the process; its end means the same.
    let _ = phase.wait_for(|phase| *phase == Phase::Draining).await;
    for task in accepting {
        task.abort();
    }
    let deadline = tokio::time::Instant::now() + drain;
    if tokio::time::timeout_at(deadline, connections.all_closed()).await.is_err() {
        tracing::warn!(
            open = connections.0.open.get(),
            "connections were still open at the end of the drain time"
        );
    }
    deadline.saturating_duration_since(tokio::time::Instant::now())
}

async fn accept<F, Fut>(backend: Backend, listener: TcpListener, connections: Connections, serve: F)
where
    F: Fn(BoxStream, SocketAddr) -> Fut + 'static,
    Fut: Future<Output = ()> + 'static,
{
    /// How long to wait when the process is out of descriptors: closing connections gives some back.
    const BREATH: Duration = Duration::from_millis(50);
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => {
            tracing::error!(%error, "a worker cannot use a listening socket");
            return;
        }
    };
    loop {
        // Accepting runs on epoll: tokio-uring cannot take over sockets of socket activation, and leaks accepted ones on cancel.
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) if is_transient(&error) => continue,
            Err(error) => {
                tracing::error!(%error, "cannot accept a connection");
                tokio::time::sleep(BREATH).await;
                continue;
            }
        };
        match stream.into_std().and_then(|stream| adopt(backend, stream)) {
            Ok(stream) => {
                let open = connections.open();
                let serving = serve(stream, peer);
                tokio::task::spawn_local(async move {
                    serving.await;
                    drop(open);
                });
            }
            Err(error) => tracing::warn!(%error, %peer, "a connection was lost before it was served"),
        }
    }
}

fn adopt(backend: Backend, stream: TcpStream) -> std::io::Result<BoxStream> {
    stream.set_nodelay(true)?;
    backend.tcp(stream)
}

/// Errors that concern one connection, not the listener (accept(2), "Error handling").
fn is_transient(error: &std::io::Error) -> bool {
    use std::io::ErrorKind;
    matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset | ErrorKind::Interrupted)
}
