//! What a face gives to HTTP: a whole JSON answer, a stream of events, or nothing but a status.

use std::sync::Arc;

use http::StatusCode;
use tokio::sync::mpsc;

use crate::mcp::envelope::Id;
use crate::mcp::object::Object;
use crate::pipeline::call::{Event, Requester, Running, upstream_failed};
use crate::pipeline::kind::List;
use crate::pipeline::refusal::{Aim, Refusal};
use crate::pipeline::route::Endpoint;
use crate::pipeline::{Gateway, list, record};
use crate::upstream::UpstreamError;

use super::shape::Shape;

/// Events that may wait for a slow client before the upstream's progress is held back.
const EVENTS: usize = 16;

/// An answer to a request that was let through.
pub enum Reply {
    /// `application/json`.
    Json(StatusCode, String),
    /// `text/event-stream`; each item is one message.
    Stream(mpsc::Receiver<String>),
    /// No body.
    Empty(StatusCode),
    /// `application/json`, and a new session.
    Opened(String, Arc<str>),
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
/// `shape` writes what the upstream says as the client's era wants it.
///
/// # Errors
/// When the upstream failed before anything was said.
pub async fn follow(mut running: Running, id: Id, shape: Shape) -> Result<Reply, Refusal> {
    let first = running.next().await;
    let aim = running.aim().clone();
    match first {
        Event::Notification(method, params) => {
            let (sender, stream) = mpsc::channel(EVENTS);
            tokio::task::spawn_local(pump(running, id, shape, sender, notification(&method, &params)));
            Ok(Reply::Stream(stream))
        }
        Event::Cancelled => Ok(Reply::Stream(mpsc::channel(1).1)),
        other => finish(other, &id, &aim, shape).map(|(status, text)| Reply::Json(status, text)),
    }
}

/// The message that ends a call, with its HTTP status where nothing was said before.
fn finish(event: Event, id: &Id, aim: &Aim, shape: Shape) -> Result<(StatusCode, String), Refusal> {
    let failed = |failure| {
        let mut refusal: Refusal = upstream_failed(&failure).id(Some(id));
        refusal.aim = aim.clone();
        refusal
    };
    match event {
        Event::Result(text, era) => match shape.result(text, era) {
            Ok(text) => Ok((StatusCode::OK, result(id, &text))),
            Err(detail) => {
                let upstream = aim.upstream.as_deref().unwrap_or_default().to_owned();
                Err(failed(UpstreamError::Protocol { upstream, detail }))
            }
        },
        Event::Error(text) => {
            let (status, text) = shape.error(text);
            Ok((status, error(id, &text)))
        }
        Event::Failed(failure) => Err(failed(failure)),
        Event::Notification(..) | Event::Cancelled => Ok((StatusCode::OK, String::new())),
    }
}

/// Passes on what a call says until it ends or the client is gone.
async fn pump(mut running: Running, id: Id, shape: Shape, client: mpsc::Sender<String>, first: String) {
    let mut message = first;
    loop {
        if client.send(message).await.is_err() {
            // The client is gone: what that means for the upstream is for `Running` to know.
            return;
        }
        let event = tokio::select! {
            event = running.next() => event,
            () = client.closed() => return,
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
                let text = finish(last, &id, running.aim(), shape).map_or_else(refused, |(_, text)| text);
                let _ = client.send(text).await;
                return;
            }
        }
    }
}
