//! The admin interface: HTTP on a unix socket of this host, for root and for the daemon's own user, served by
//! the control thread.

mod blocks;
mod order;
mod stops;
mod tools;

use std::convert::Infallible;
use std::io;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::Deserialize;

use crate::audit::{Event, Record};
use crate::config::schema::AdminListen;
use crate::config::units::FileMode;
use crate::pipeline::{Gateway, record};
use crate::runtime::listen_error::ListenError;
use crate::runtime::unix_socket::{self, SocketFile};
use crate::stops::Operator;

use super::body::{Body, json};
use super::nowhere::not_found;
use super::status::Started;
use super::{Service, status};

/// Its socket; removed when it is dropped.
#[derive(Debug)]
pub struct AdminSocket {
    listener: UnixListener,
    _file: SocketFile,
}

impl AdminSocket {
    /// Opens the socket for nobody but its owner and root. A socket that was not asked for is left out where
    /// it cannot be opened, which the log tells: its directory is the service's, and the daemon on a
    /// developer's machine need not be that service.
    ///
    /// # Errors
    /// [`ListenError`], with the remedy.
    pub fn open(at: &AdminListen) -> Result<Option<Self>, ListenError> {
        let Some(path) = at.socket() else { return Ok(None) };
        if *at == AdminListen::Unsaid && !path.parent().is_some_and(Path::is_dir) {
            tracing::info!(
                "no admin interface: {} has no directory; `airlock status` needs one",
                path.display()
            );
            return Ok(None);
        }
        match unix_socket::open(path, FileMode(0o600), "observability.admin_listen") {
            Ok((listener, file)) => Ok(Some(Self { listener, _file: file })),
            Err(error) if *at == AdminListen::Unsaid => {
                tracing::warn!("no admin interface: {error}");
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}

/// Serves until the process ends.
///
/// # Errors
/// When the listener cannot be used.
pub async fn serve(socket: AdminSocket, service: Arc<Service>, started: Started) -> io::Result<()> {
    /// How long a client may take to send its head.
    const HEAD: Duration = Duration::from_secs(5);
    let listener = tokio::net::UnixListener::from_std(socket.listener.try_clone()?)?;
    let own = rustix::process::geteuid().as_raw();
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "the admin interface cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let by = match stream.peer_cred() {
            Ok(peer) if peer.uid() == 0 || peer.uid() == own => Operator { uid: peer.uid(), pid: peer.pid() },
            Ok(peer) => {
                tracing::warn!(uid = peer.uid(), "the admin interface is for root and the daemon's own user");
                record::not_an_operator(&service.gateway, peer.uid());
                continue;
            }
            Err(_) => continue,
        };
        let service = Arc::clone(&service);
        tokio::task::spawn_local(async move {
            let answers = service_fn(|request| {
                let service = Arc::clone(&service);
                async move { Ok::<_, Infallible>(answer(&service, started, request, by).await) }
            });
            let mut http = http1::Builder::new();
            http.timer(TokioTimer::new()).header_read_timeout(HEAD);
            if let Err(error) = http.serve_connection(TokioIo::new(stream), answers).await {
                tracing::trace!(%error, "an admin connection ended early");
            }
        });
    }
}

async fn answer(
    service: &Arc<Service>,
    started: Started,
    request: Request<Incoming>,
    by: Operator,
) -> Response<Body> {
    let gateway = &service.gateway;
    match (request.method(), request.uri().path()) {
        (&Method::GET, "/status") => {
            let service = Arc::clone(service);
            // It reads files and asks the name service. Every part of it is text, numbers and lists.
            let told = tokio::task::spawn_blocking(move || {
                serde_json::to_string(&status::of(&service, started)).unwrap_or_default()
            });
            json(StatusCode::OK, told.await.unwrap_or_default())
        }
        (&Method::GET, "/tools") => tools::list(gateway).await,
        (&Method::GET, "/stops") => stops::list(gateway),
        (&Method::GET, "/blocks") => blocks::list(&gateway.limits),
        (&Method::POST | &Method::DELETE, _) => ordered(gateway, request, by).await,
        _ => not_found(),
    }
}

/// Carries out an order, and records it.
async fn ordered(gateway: &Arc<Gateway>, request: Request<Incoming>, by: Operator) -> Response<Body> {
    let (head, body) = request.into_parts();
    let body = match order::read(body).await {
        Ok(body) => body,
        Err(refused) => return refused,
    };
    let said: Said = serde_json::from_slice(&body).unwrap_or_default();
    let mut target = said.name.or(said.address);
    let (order, answer) = match (head.method, head.uri.path()) {
        (Method::POST, "/tools/approve") => {
            ("tools approve", tools::order(gateway, &body, false, by.uid).await)
        }
        (Method::POST, "/tools/lock") => ("tools lock", tools::order(gateway, &body, true, by.uid).await),
        (Method::POST, "/stops") => ("stop", stops::stop(gateway, &body, by).await),
        (Method::POST, "/stops/resume") => ("resume", stops::resume(gateway, &body, by).await),
        (Method::POST, "/blocks") => ("block add", blocks::add(&gateway.limits, &body, by.uid)),
        (Method::DELETE, path) => match path.strip_prefix("/blocks/") {
            Some(address) => {
                let address = address.replace("%2F", "/");
                let answer = blocks::remove(&gateway.limits, &address, by.uid);
                target = Some(address);
                ("block remove", answer)
            }
            None => return not_found(),
        },
        _ => return not_found(),
    };
    let order = Record {
        method: Some(order.into()),
        upstream: said.upstream.map(Into::into),
        target: target.map(Into::into),
        status: Some(answer.status().as_u16()),
        ..Record::new(Event::AdminCommand)
    };
    record::ordered(gateway, Some(by.uid), order);
    answer
}

/// The parts of an order that its record names.
#[derive(Default, Deserialize)]
struct Said {
    upstream: Option<String>,
    name: Option<String>,
    address: Option<String>,
}
