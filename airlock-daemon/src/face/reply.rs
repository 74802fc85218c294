//! What a face gives to HTTP: a whole JSON answer, a stream of events, or nothing but a status.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use crate::mcp::envelope::Id;
use crate::mcp::object::Object;
use crate::mcp::revision::Era;
use crate::pipeline::call::{Event, Requester, Running, upstream_failed};
use crate::pipeline::kind::List;
use crate::pipeline::route::Endpoint;
use crate::pipeline::{Gateway, Refusal, list, record};
use crate::upstream::UpstreamError;

use super::shape::Shape;

/// Events that may wait for a slow client before the upstream's progress is held back.
const EVENTS: usize = 16;

/// How long a client has to take the last message of a stream.
const LAST_WORD: Duration = Duration::from_secs(30);

/// An answer to a request that was let through.
pub enum Reply {
    /// `application/json`.
    Json(StatusCode, String),
    /// `text/event-stream`; each item is one message.
    Stream(mpsc::Receiver<String>),
    /// No body.
    Empty(StatusCode),
    /// `application/json`, and a new session.
    Opened(String, std::sync::Arc<str>),
}

/// A JSON-RPC response with a result.
pub fn result(id: &Id, result: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#)
}

/// A JSON-RPC response with an upstream's error object.
pub fn error(id: &Id, error: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{error}}}"#)
}

fn notification(method: &str, params: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","method":{},"params":{params}}}"#, crate::mcp::object::quote(method))
}

/// Answers a list.
///
/// # Errors
/// A [`Refusal`] of any stage from the policy on.
pub async fn list(
    gateway: &Arc<Gateway>,
    kind: &'static List,
    who: &Requester,
    endpoint: &Endpoint,
    params: Object<'_>,
    id: &Id,
) -> Result<Reply, Refusal> {
    let era = who.revision.era();
    let listed = list::list(gateway, kind, who, endpoint, params).await.map_err(|r| r.id(Some(id)))?;
    let (status, text) = match listed {
        Ok(text) => {
            let text = Shape::list(era, text).map_err(|detail| invalid(endpoint, detail, id))?;
            (StatusCode::OK, result(id, &text))
        }
        Err(text) => {
            let (status, text) = Shape { era, cacheable: false }.error(text);
            (status, error(id, &text))
        }
    };
    Ok(Reply::Json(status, text))
}

fn invalid(endpoint: &Endpoint, detail: String, id: &Id) -> Refusal {
    let upstream = match endpoint {
        Endpoint::One(name) => name.clone(),
        Endpoint::Merged => String::new(),
    };
    upstream_failed(&UpstreamError::Protocol { upstream, detail }).id(Some(id))
}

/// Waits for a call: a result that comes first is a plain JSON answer; a notification that comes first opens a stream.
///
/// # Errors
/// When the upstream failed before anything was said.
pub async fn follow(mut running: Running, id: Id) -> Result<Reply, Refusal> {
    match running.next().await {
        Event::Notification(method, params) => {
            let (sender, stream) = mpsc::channel(EVENTS);
            tokio::task::spawn_local(pump(running, id, sender, notification(&method, &params)));
            Ok(Reply::Stream(stream))
        }
        Event::Cancelled => Ok(Reply::Stream(mpsc::channel(1).1)),
        last => finish(last, &id, &running).map(|(status, text)| Reply::Json(status, text)),
    }
}

/// The message that ends a call, with its HTTP status where nothing was said before.
fn finish(event: Event, id: &Id, running: &Running) -> Result<(StatusCode, String), Refusal> {
    match event {
        Event::Result(text) => Ok((StatusCode::OK, result(id, &text))),
        Event::Error(text) => {
            let shape = Shape { era: running.who().revision.era(), cacheable: false };
            let (status, text) = shape.error(text);
            Ok((status, error(id, &text)))
        }
        Event::Failed(failure) => {
            let mut refusal = upstream_failed(&failure).id(Some(id));
            refusal.aim = running.aim().clone();
            Err(refusal)
        }
        Event::Notification(..) | Event::Cancelled => Ok((StatusCode::OK, String::new())),
    }
}

/// Passes on what a call says until it ends, the client is gone, or does not read until the deadline.
async fn pump(mut running: Running, id: Id, client: mpsc::Sender<String>, first: String) {
    let mut message = first;
    loop {
        if !matches!(timeout_at(running.deadline(), client.send(message)).await, Ok(Ok(()))) {
            return left_alone(running).await;
        }
        let event = tokio::select! {
            event = running.next() => event,
            () = client.closed() => return left_alone(running).await,
        };
        match event {
            Event::Notification(method, params) => message = notification(&method, &params),
            Event::Cancelled => return,
            last => {
                let refused = |refusal: Refusal| {
                    let who = running.who();
                    record::refusal(running.gateway(), &who.context, Some(&who.principal), &refusal);
                    refusal.body(&who.context.correlation_id)
                };
                let text = finish(last, &id, &running).map_or_else(refused, |(_, text)| text);
                let _ = timeout_at(Instant::now() + LAST_WORD, client.send(text)).await;
                return;
            }
        }
    }
}

/// The client of a call is gone. For a modern one that cancels the call; a legacy one must say so itself (2025-11-25,
/// "Cancellation"), and until it does the call goes on to its end or its deadline.
async fn left_alone(mut running: Running) {
    if running.who().revision.era() == Era::Modern {
        return;
    }
    while let Event::Notification(..) = running.next().await {}
}
