//! One connection: its other end is found out, TLS begins where it is configured, then hyper reads the
//! requests and the routes answer them.

use std::cell::Cell;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::TokioTimer;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use crate::observe::metrics::Metrics;
use crate::pipeline::request::context::Peer;
use crate::runtime::proxy_protocol::Parsed;
use crate::runtime::room::{Full, OfOne};
use crate::runtime::stream::{BoxStream, Stream, read_some};
use crate::runtime::watched::{Activity, Watched};
use crate::runtime::worker::{Phase, Remote};
use crate::runtime::{proxy_protocol, tls};

use super::body::Body;
use super::cors::Readers;
use super::frames::Counted;
use super::framing::Framed;
use super::streams::{Local, Streams};
use super::{Service, endpoint, routes};

/// Longest head of a request in bytes. hyper looks at the length between two reads, so one may be almost
/// twice as long.
const MAX_HEAD: usize = 64 * 1024;
/// The same in HTTP/2, where each field counts 32 bytes more (RFC 9113, section 6.5.2).
const MAX_HEAD_LIST: u32 = 64 * 1024;

/// HTTP/2: requests of one connection at a time.
const MAX_STREAMS: u32 = 100;
/// HTTP/2: bytes of a request's body that may come unasked. A request that is larger is slowed down, not
/// refused.
const STREAM_WINDOW: u32 = 256 * 1024;
/// HTTP/2: the same for all requests of a connection.
const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// HTTP/2: bytes of one frame, the least that a server must take.
const MAX_FRAME: u32 = 16 * 1024;
/// HTTP/2: bytes of answers that wait for the client to take them, for each request.
const MAX_SEND_BUFFER: usize = 256 * 1024;
/// HTTP/2: requests that a client may take back before they were looked at, and faults of its own, until the
/// connection ends ("rapid reset").
const MAX_RESETS: usize = 50;

/// The other end of a connection, once it is known.
struct Client {
    service: Arc<Service>,
    peer: Peer,
    /// It is a proxy that names the client in each request.
    names_clients: bool,
}

impl Client {
    /// Answers one request, and tells the browser which pages may read the answer.
    async fn answer(&self, fault: Option<&'static str>, request: Request<Incoming>) -> Response<Body> {
        let readers = Readers::of(&self.service.gateway.origins, &request);
        let mut response = self.answer_to(fault, request).await;
        readers.tell(&mut response);
        response
    }

    async fn answer_to(&self, fault: Option<&'static str>, request: Request<Incoming>) -> Response<Body> {
        let mut peer = self.peer.clone();
        if self.names_clients {
            peer = match self.service.door.proxies.client(&self.peer, request.headers()) {
                Ok(client) => client,
                Err(refusal) => return endpoint::turn_away(&self.service, peer, &refusal),
            };
        }
        routes::route(&self.service, peer, fault, request).await
    }
}

/// Serves a connection until it ends, or until the process drains and the requests in flight are answered.
pub async fn serve(service: Arc<Service>, stream: BoxStream, remote: Remote, phase: watch::Receiver<Phase>) {
    let metrics = &service.gateway.metrics;
    let Ok(_place) = service.door.room.enter() else {
        return metrics.edge.connection_ended(Full::All.word());
    };
    let _open = metrics.connection();
    let (is_tcp, shown) = match &remote {
        Remote::Tcp(address, _) => (true, format!("{address}")),
        Remote::Unix(uid) => (false, format!("uid {uid}")),
    };
    let (peer, watched, _of_one) = match introduce(&service, stream, remote).await {
        Ok(introduced) => introduced,
        Err(reason) => {
            tracing::debug!(remote = shown, reason, "a connection was refused");
            return metrics.edge.connection_ended(reason);
        }
    };
    let timeouts = &service.gateway.config.server.timeouts;
    let names_clients = peer.proxy.is_none()
        && peer.address.is_some_and(|address| service.door.proxies.names_clients(address));
    let mut client = Client { service: Arc::clone(&service), peer, names_clients };
    let watch = Watch::new(watched.activity(), timeouts.idle.0);
    let tls = if is_tcp { service.door.tls.as_deref() } else { None };
    let Some(tls) = tls else {
        return http_1(client, watched, watch, phase).await;
    };
    let secured = match timeout(timeouts.header.0, tls.accept(watched)).await {
        Ok(Ok(secured)) => secured,
        Ok(Err(error)) => {
            tracing::debug!(remote = shown, %error, "a TLS handshake failed");
            return metrics.edge.handshake_failed(tls::failure(&error));
        }
        Err(_) => return metrics.edge.handshake_failed("timeout"),
    };
    client.peer.certificate = secured.certificate;
    client.peer.certificate_digest = secured.certificate_digest;
    if secured.is_h2 {
        http_2(client, secured.stream, watch, phase).await;
    } else {
        http_1(client, secured.stream, watch, phase).await;
    }
}

/// Finds out who is at the other end, and whether there is room for one more of that address; otherwise says
/// why not.
async fn introduce(
    service: &Service,
    stream: BoxStream,
    remote: Remote,
) -> Result<(Peer, Watched, Option<OfOne>), &'static str> {
    let door = &service.door;
    let (peer, socket) = match remote {
        Remote::Unix(uid) => return Ok((Peer::unix(uid), Watched::new(stream, Vec::new()), None)),
        Remote::Tcp(address, socket) => (Peer::tcp(address), socket),
    };
    let Some(address) = peer.address else { return Ok((peer, Watched::new(stream, Vec::new()), None)) };
    let of = |address, socket| door.room.of(address, socket).map(Some).map_err(Full::word);
    if !door.proxies.trusts(address) {
        return Ok((peer, Watched::new(stream, Vec::new()), of(address, Some(socket))?));
    }
    // A connection of a trusted proxy is never shut down for what one of its clients did.
    drop(socket);
    if !door.proxies.speaks_first(address) {
        return Ok((peer, Watched::new(stream, Vec::new()), None));
    }
    let limit = service.gateway.config.server.timeouts.header.0;
    let Ok(Ok((watched, source))) = timeout(limit, proxy_header(stream)).await else {
        tracing::warn!(
            %address,
            "a trusted proxy sent no good PROXY header: let it send one (version 1 or 2), or set `server.proxy_protocol: off`"
        );
        return Err("proxy_header");
    };
    let Some(source) = source else { return Ok((peer, watched, None)) };
    let of_one = of(source.ip(), None)?;
    Ok((peer.behind(source.ip()), watched, of_one))
}

/// Reads the PROXY header in front of a connection, and not a byte of what follows is lost.
async fn proxy_header(mut stream: BoxStream) -> io::Result<(Watched, Option<SocketAddr>)> {
    let mut bytes = [0; proxy_protocol::MAX_HEADER];
    let mut filled = 0;
    loop {
        let count = read_some(&mut stream, bytes.get_mut(filled..).unwrap_or_default()).await?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        filled += count;
        let read = bytes.get(..filled).unwrap_or_default();
        if let Parsed::Whole { length, source } = proxy_protocol::parse(read).map_err(io::Error::other)? {
            let early = read.get(length..).unwrap_or_default().to_vec();
            return Ok((Watched::new(stream, early), source));
        }
    }
}

async fn http_1<S: Stream>(client: Client, stream: S, watch: Watch, phase: watch::Receiver<Phase>) {
    let mut http = http1::Builder::new();
    let header = client.service.gateway.config.server.timeouts.header.0;
    http.timer(TokioTimer::new()).header_read_timeout(header).max_buf_size(MAX_HEAD);
    let metrics = Arc::clone(&client.service.gateway.metrics);
    let client = Rc::new(client);
    let stream = Framed::new(stream);
    let (heads, number) = (stream.heads(), Cell::new(0));
    let answers = service_fn(move |request| {
        number.set(number.get() + 1);
        let fault = heads.fault(number.get());
        let client = Rc::clone(&client);
        async move { Ok::<_, Infallible>(client.answer(fault, request).await) }
    });
    let connection = http.serve_connection(stream, answers);
    run(connection, http1::Connection::graceful_shutdown, watch, None, phase, &metrics).await;
}

async fn http_2<S: Stream>(client: Client, stream: S, watch: Watch, phase: watch::Receiver<Phase>) {
    let mut http = http2::Builder::new(Local);
    http.timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(MAX_FRAME)
        .max_header_list_size(MAX_HEAD_LIST)
        .max_send_buf_size(MAX_SEND_BUFFER)
        .max_pending_accept_reset_streams(MAX_RESETS)
        .max_local_error_reset_streams(MAX_RESETS)
        .keep_alive_interval(watch.period)
        .keep_alive_timeout(watch.period);
    let metrics = Arc::clone(&client.service.gateway.metrics);
    let client = Rc::new(client);
    let streams = Rc::new(Streams::default());
    let answers = {
        let streams = Rc::clone(&streams);
        service_fn(move |request| {
            let client = Rc::clone(&client);
            let stream = streams.open();
            async move { Ok::<_, Infallible>(client.answer(None, request).await.map(|body| stream.carry(body))) }
        })
    };
    let connection = http.serve_connection(Counted::new(stream, Rc::clone(&watch.flooded)), answers);
    run(connection, http2::Connection::graceful_shutdown, watch, Some(&streams), phase, &metrics).await;
}

/// When and how a connection is looked at.
struct Watch {
    activity: Rc<Activity>,
    /// Twice that time without a sign of life is the end.
    period: Duration,
    last: Option<u64>,
    /// Frames that carry nothing came in floods.
    flooded: Rc<Cell<bool>>,
}

impl Watch {
    fn new(activity: Rc<Activity>, idle: Duration) -> Self {
        Self { activity, period: idle / 2, last: None, flooded: Rc::default() }
    }

    /// True where the client has taken nothing of what waits for it since this was asked the last time.
    fn is_stalled(&mut self) -> bool {
        let now = self.activity.waiting();
        now.is_some() && std::mem::replace(&mut self.last, now) == now
    }
}

/// Carries a connection to its end.
async fn run<C: Future<Output = hyper::Result<()>>>(
    connection: C,
    shut_down: impl Fn(Pin<&mut C>),
    mut watch: Watch,
    streams: Option<&Streams>,
    mut phase: watch::Receiver<Phase>,
    metrics: &Metrics,
) {
    let mut connection = pin!(connection);
    let mut look = pin!(sleep(watch.period));
    let mut draining = false;
    let mut ending = false;
    let result = loop {
        tokio::select! {
            biased;
            result = connection.as_mut() => break result,
            // The sender lives as long as the process; its end means the same.
            _ = phase.wait_for(|phase| *phase == Phase::Draining), if !draining => {
                draining = true;
                shut_down(connection.as_mut());
            }
            () = look.as_mut() => {
                if watch.is_stalled() || streams.is_some_and(Streams::is_stalled) {
                    tracing::debug!("a connection ends: its client takes nothing of what it is sent");
                    return metrics.edge.connection_ended("stalled");
                }
                if ending {
                    return;
                }
                if streams.is_some_and(Streams::is_idle) {
                    metrics.edge.connection_ended("idle");
                    ending = true;
                    shut_down(connection.as_mut());
                }
                look.as_mut().reset(Instant::now() + watch.period);
            }
        }
    };
    if watch.flooded.get() {
        tracing::debug!("a connection ends: its client floods it with frames that carry nothing");
        metrics.edge.connection_ended("frame_flood");
    } else if let Err(error) = result {
        tracing::trace!(%error, "a connection ended in the middle of a request");
    }
}
