//! A worker: one thread, one runtime, its share of the connections.

use std::cell::Cell;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::{Notify, watch};

use super::backend::Backend;
use super::listener::Listener;
use super::stream::BoxStream;

/// The other end of an accepted connection.
#[derive(Debug)]
pub enum Remote {
    /// An address, and another descriptor of the socket by which it can be shut down.
    Tcp(SocketAddr, TcpStream),
    /// A process of this host, run by that user.
    Unix(u32),
}

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

/// Runs one worker until the process drains: accepts on every listener and hands each stream to `serve` as a
/// task of its own.
///
/// A TCP connection whose other end has gone without a word ends once it has acknowledged nothing for the
/// time `stalled`.
///
/// `serve` must end by itself when `phase` says [`Phase::Draining`]; connections still open `drain` later are
/// dropped. Returns what is left of `drain`.
pub async fn run<F, Fut>(
    backend: Backend,
    listeners: Vec<Listener>,
    stalled: Duration,
    mut phase: watch::Receiver<Phase>,
    drain: Duration,
    serve: F,
) -> Duration
where
    F: Fn(BoxStream, Remote) -> Fut + Clone + 'static,
    Fut: Future<Output = ()> + 'static,
{
    let connections = Connections::default();
    let accepting: Vec<_> = listeners
        .into_iter()
        .map(|listener| {
            tokio::task::spawn_local(accept(backend, listener, stalled, connections.clone(), serve.clone()))
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

async fn accept<F, Fut>(
    backend: Backend,
    listener: Listener,
    stalled: Duration,
    connections: Connections,
    serve: F,
) where
    F: Fn(BoxStream, Remote) -> Fut + 'static,
    Fut: Future<Output = ()> + 'static,
{
    /// How long to wait when the process is out of descriptors: closing connections gives some back.
    const DESCRIPTOR_PAUSE: Duration = Duration::from_millis(50);
    let source = match AcceptSocket::new(listener) {
        Ok(source) => source,
        Err(error) => {
            tracing::error!(%error, "a worker cannot use a listening socket");
            return;
        }
    };
    loop {
        match source.accept(backend, stalled).await {
            Ok(Ok((stream, remote))) => {
                let open = connections.open();
                let serving = serve(stream, remote);
                tokio::task::spawn_local(async move {
                    serving.await;
                    drop(open);
                });
            }
            Ok(Err(error)) => tracing::warn!(%error, "a connection was lost before it was served"),
            Err(error) if is_transient(&error) => {}
            Err(error) => {
                tracing::error!(%error, "cannot accept a connection");
                tokio::time::sleep(DESCRIPTOR_PAUSE).await;
            }
        }
    }
}

/// A listening socket on epoll: tokio-uring cannot take over sockets of socket activation, and leaks accepted
/// ones on cancel.
enum AcceptSocket {
    Tcp(tokio::net::TcpListener),
    Unix(tokio::net::UnixListener),
}

impl AcceptSocket {
    fn new(listener: Listener) -> io::Result<Self> {
        match listener {
            Listener::Tcp(listener) => tokio::net::TcpListener::from_std(listener).map(Self::Tcp),
            Listener::Unix(listener) => tokio::net::UnixListener::from_std(listener).map(Self::Unix),
        }
    }

    /// The next connection; the inner error is that connection's alone.
    async fn accept(
        &self,
        backend: Backend,
        stalled: Duration,
    ) -> io::Result<io::Result<(BoxStream, Remote)>> {
        match self {
            Self::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                let adopted = stream.into_std().and_then(|stream| {
                    let handle = stream.try_clone()?;
                    Ok((adopt(backend, stream, stalled)?, Remote::Tcp(peer, handle)))
                });
                Ok(adopted)
            }
            Self::Unix(listener) => {
                let (stream, _) = listener.accept().await?;
                // A client whose address cannot be told is not served.
                let adopted = stream.peer_cred().and_then(|credentials| {
                    let stream = backend.unix(stream.into_std()?)?;
                    Ok((stream, Remote::Unix(credentials.uid())))
                });
                Ok(adopted)
            }
        }
    }
}

fn adopt(backend: Backend, stream: TcpStream, stalled: Duration) -> io::Result<BoxStream> {
    stream.set_nodelay(true)?;
    let stalled = u32::try_from(stalled.as_millis()).unwrap_or(u32::MAX);
    // Where a sandbox refuses it, who is gone without a word is noticed later, by the kernel's own patience.
    let _ = rustix::net::sockopt::set_tcp_user_timeout(&stream, stalled);
    backend.tcp(stream)
}

/// Errors that concern one connection, not the listener (accept(2), "Error handling").
fn is_transient(error: &io::Error) -> bool {
    use io::ErrorKind;
    matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset | ErrorKind::Interrupted)
}
