//! One connection: hyper reads the requests, the routes answer them.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioTimer;
use tokio::sync::watch;

use crate::pipeline::context::Peer;
use crate::runtime::stream::BoxStream;
use crate::runtime::worker::Phase;

use super::{Service, routes};

/// Longest head of a request in bytes.
const MAX_HEAD: usize = 64 * 1024;

/// Serves a connection until it ends, or until the process drains and the request in flight is answered.
pub async fn serve(
    service: Arc<Service>,
    stream: BoxStream,
    peer: SocketAddr,
    mut phase: watch::Receiver<Phase>,
) {
    let _open = service.gateway.metrics.connection();
    let timeouts = &service.gateway.config.server.timeouts;
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(timeouts.header.0).max_buf_size(MAX_HEAD);
    let answers = {
        let service = Rc::new(Arc::clone(&service));
        service_fn(move |request| {
            let service = Rc::clone(&service);
            async move { Ok::<_, Infallible>(routes::route(&service, Peer::tcp(peer), request).await) }
        })
    };
    let mut connection = pin!(http.serve_connection(stream, answers));
    let result = tokio::select! {
        result = connection.as_mut() => result,
        // The sender lives as long as the process; its end means the same.
        _ = phase.wait_for(|phase| *phase == Phase::Draining) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        tracing::trace!(%peer, %error, "a connection ended in the middle of a request");
    }
}
