//! HTTP connections of one worker: opened when needed, kept for the next request, closed when nobody needs
//! them.
//!
//! A connection never leaves the thread whose ring or epoll moves its bytes, so each worker has a pool of its
//! own.

use std::cell::RefCell;
use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until, timeout};

use crate::coding::{Decoded, decoded};

use crate::upstream::error::UpstreamError;
use crate::upstream::transport::connect::Endpoint;

/// Connections that one worker keeps for one upstream. Under load the answers of a whole turn of the ring
/// come at once: what is beyond this bound is closed and opened again for the next calls, which costs more
/// than the calls.
const MAX_IDLE: usize = 256;
/// How long a connection just given back may need to be ready again.
const READY_TIMEOUT: Duration = Duration::from_millis(100);
/// A server that says when it closes a connection is believed, with this much to spare.
const MARGIN: Duration = Duration::from_secs(1);

/// One connection; dropping it closes it, which is also how a request in flight is cancelled.
pub struct Connection {
    sender: SendRequest<Full<Bytes>>,
    task: AbortHandle,
    keep: Option<Duration>,
}

struct Idle {
    connection: Connection,
    until: Instant,
}

thread_local! {
    static IDLE: RefCell<HashMap<u64, Vec<Idle>>> = RefCell::default();
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Sends a request, on a kept connection where there is one. A kept connection that turns out to be closed
/// costs another attempt only when not a byte of the request was written; otherwise the server may have acted
/// on it.
///
/// # Errors
/// When no connection can be had, or it ends before the response.
pub async fn send(
    endpoint: &Endpoint,
    mut request: Request<Full<Bytes>>,
) -> Result<(Response<Decoded>, Connection), UpstreamError> {
    while let Some(mut connection) = take(endpoint.key) {
        if !matches!(timeout(READY_TIMEOUT, connection.sender.ready()).await, Ok(Ok(()))) {
            continue;
        }
        match connection.sender.try_send_request(request).await {
            Ok(response) => return Ok(told(response, connection)),
            Err(mut error) => match error.take_message() {
                Some(unsent) => request = unsent,
                None => return Err(broken(endpoint, &error.into_error())),
            },
        }
    }
    let mut connection = open(endpoint).await?;
    match connection.sender.send_request(request).await {
        Ok(response) => Ok(told(response, connection)),
        Err(error) => Err(broken(endpoint, &error)),
    }
}

/// Gives a connection back whose response was read to its end.
pub fn keep(endpoint: &Endpoint, connection: Connection) {
    let keep = connection.keep.unwrap_or(endpoint.limits.idle).min(endpoint.limits.idle);
    if connection.sender.is_closed() || keep.is_zero() {
        return;
    }
    let until = Instant::now() + keep;
    let key = endpoint.key;
    let first = IDLE.with_borrow_mut(|pools| {
        let first = !pools.contains_key(&key);
        let pool = pools.entry(key).or_default();
        if pool.len() < MAX_IDLE {
            pool.push(Idle { connection, until });
        }
        first
    });
    if first {
        tokio::task::spawn_local(sweep(key));
    }
}

/// The connection that was used last: it is the least likely to be closed by now.
fn take(key: u64) -> Option<Connection> {
    IDLE.with_borrow_mut(|pools| {
        let pool = pools.get_mut(&key)?;
        while let Some(Idle { connection, until }) = pool.pop() {
            if !connection.sender.is_closed() && until > Instant::now() {
                return Some(connection);
            }
        }
        None
    })
}

/// Closes connections of one pool when their time is over, until none is left.
async fn sweep(key: u64) {
    loop {
        let now = Instant::now();
        let next = IDLE.with_borrow_mut(|pools| {
            let pool = pools.get_mut(&key)?;
            pool.retain(|idle| idle.until > now && !idle.connection.sender.is_closed());
            let next = pool.iter().map(|idle| idle.until).min();
            if next.is_none() {
                pools.remove(&key);
            }
            next
        });
        match next {
            Some(next) => sleep_until(next).await,
            None => return,
        }
    }
}

async fn open(endpoint: &Endpoint) -> Result<Connection, UpstreamError> {
    let stream = endpoint.connect().await?;
    let (sender, connection) = http1::handshake(stream).await.map_err(|error| broken(endpoint, &error))?;
    let task = tokio::task::spawn_local(async move {
        // Whoever waits for a response is told by its own error.
        let _ = connection.await;
    });
    Ok(Connection { sender, task: task.abort_handle(), keep: None })
}

/// Notes how long the server keeps the connection: `Keep-Alive: timeout=5`.
fn told(response: Response<Incoming>, mut connection: Connection) -> (Response<Decoded>, Connection) {
    let seconds =
        response.headers().get("keep-alive").and_then(|value| value.to_str().ok()).and_then(|value| {
            value.split(',').find_map(|part| part.trim().strip_prefix("timeout=")?.parse().ok())
        });
    if let Some(seconds) = seconds {
        connection.keep = Some(Duration::from_secs(seconds).saturating_sub(MARGIN));
    }
    if response
        .headers()
        .get(header::CONNECTION)
        .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"close"))
    {
        connection.keep = Some(Duration::ZERO);
    }
    (decoded(response), connection)
}

fn broken(endpoint: &Endpoint, error: &hyper::Error) -> UpstreamError {
    if error.is_parse() {
        endpoint.wrong(format!("its answer is not HTTP ({error})"))
    } else {
        endpoint.closed(format!("closed the connection before it answered ({error})"))
    }
}
