//! The stream on which a legacy HTTP server says what belongs to no call: a GET that stays open while
//! somebody subscribes (2025-11-25, "Listening for Messages from the Server").

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::value::RawValue;
use tokio::time::Instant;

use crate::mcp::message::{self, Incoming};
use crate::runtime::apart::LONG;
use crate::runtime::pacer::Pacer;

use super::body::{BodyKind, broken, kind, no_room, read_all, too_long};
use super::connections;
use super::shared::HttpShared;
use super::sse::Events;
use crate::upstream::backoff::Backoff;
use crate::upstream::error::UpstreamError;
use crate::upstream::message::asks::ServerQuestion;
use crate::upstream::message::reply::MAX_NOTIFICATION;
use crate::upstream::transport::flood::Flood;
use crate::upstream::transport::intake::Intake;
use crate::upstream::transport::long;

/// A stream that held for so long had nothing wrong with it.
const SOUND_AFTER: Duration = Duration::from_mins(1);
/// The longest pause that a server's `retry` may demand.
const MAX_RETRY: Duration = Duration::from_mins(1);
/// Longest error page that is read to keep the connection, in bytes.
const ERROR_BODY: usize = 64 * 1024;

/// How an attempt to listen ended.
enum End {
    /// The server offers no such stream, or the session is over.
    Never,
    /// It broke off, or could not be opened.
    Broken,
}

/// Listens for as long as somebody subscribes; ended with the link.
pub(in crate::upstream) async fn run(shared: Arc<HttpShared>) {
    shared.ready.notified().await;
    let mut backoff = Backoff::default();
    let mut events = Events::default();
    let mut is_broken = false;
    loop {
        shared.hub.wanted().await;
        let begun = Instant::now();
        let before = events.last_id().to_vec();
        let end = tokio::select! {
            end = listen(&shared, &mut events, is_broken) => end,
            // Closing the connection ends the stream; nothing is lost, as nobody listens.
            () = shared.hub.unwanted() => {
                events = Events::default();
                continue;
            }
        };
        is_broken = true;
        match end {
            Ok(End::Never) => return,
            Ok(End::Broken) => {}
            Err(error) => tracing::debug!("{error}"),
        }
        // A server that wants to be polled ends its streams early (2025-11-25, "Listening for messages").
        if begun.elapsed() >= SOUND_AFTER || events.last_id() != before {
            backoff.reset();
        }
        let pause = backoff.pause().max(events.retry().unwrap_or_default().min(MAX_RETRY));
        events.reconnect();
        tokio::time::sleep(pause).await;
    }
}

/// Listens once. `is_again` where a stream has broken off before: one that the server does not resume has not
/// said what fell between them.
async fn listen(shared: &Arc<HttpShared>, events: &mut Events, is_again: bool) -> Result<End, UpstreamError> {
    let endpoint = &shared.endpoint;
    let last = HeaderValue::from_bytes(events.last_id()).ok().filter(|last| !last.is_empty());
    let resumes = last.is_some();
    let (response, connection) = shared.send(shared.listen(last), None).await?;
    let status = response.status();
    match (status, kind(&response)) {
        (StatusCode::OK, BodyKind::Events) if is_again && !resumes => shared.hub.was_unheard(),
        (StatusCode::OK, BodyKind::Events) => {}
        (StatusCode::NOT_FOUND, _) if shared.has_session() => {
            shared.session_gone();
            return Ok(End::Never);
        }
        _ => {
            let mut intake = Intake::new(shared.hub.account.as_ref());
            if read_all(endpoint, response.into_body(), ERROR_BODY, &mut intake).await.is_ok() {
                connections::keep(endpoint, connection);
            }
            tracing::debug!(upstream = %endpoint.upstream, %status, "the server has no stream for what belongs to no call");
            if resumes && status != StatusCode::METHOD_NOT_ALLOWED {
                // It may not know the event any more: what was missed is lost, what comes is not.
                *events = Events::default();
                return Ok(End::Broken);
            }
            // A server that still takes the last stream for open says 409.
            let later = status.is_server_error() && status != StatusCode::NOT_IMPLEMENTED;
            let later = later || matches!(status, StatusCode::CONFLICT | StatusCode::TOO_MANY_REQUESTS);
            return Ok(if later { End::Broken } else { End::Never });
        }
    }
    let mut body = response.into_body();
    let mut flood = Flood::new(Instant::now().into_std());
    let mut pacer = Pacer::default();
    let mut intake = Intake::new(shared.hub.account.as_ref());
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| broken(endpoint, "event stream", &error))?;
        let data = frame.into_data().unwrap_or_default();
        let whole = events.messages(&data, endpoint.limits.message).map_err(|_| too_long(endpoint))?;
        intake.hold(body.held() + events.held()).map_err(|exhausted| no_room(endpoint, exhausted))?;
        for one in whole {
            messages(shared, one, &mut flood, &mut pacer).await?;
        }
    }
    connections::keep(endpoint, connection);
    Ok(End::Broken)
}

/// Takes in one message, or a batch of them as 2025-03-26 allows. A message that is none is passed over: no
/// call depends on it. All of it counts, and each part of a batch.
async fn messages(
    shared: &Arc<HttpShared>,
    bytes: Vec<u8>,
    flood: &mut Flood,
    pacer: &mut Pacer,
) -> Result<(), UpstreamError> {
    let endpoint = &shared.endpoint;
    let length = bytes.len();
    if length >= LONG {
        for part in long::read(bytes).await {
            match part {
                Ok(part) => message(shared, Ok(part.borrowed())),
                Err(reason) => message(shared, Err(reason)),
            }
            pacer.breathe().await;
            flood.count(endpoint, 0).await?;
        }
    } else if let Ok(text) = std::str::from_utf8(&bytes) {
        if text.trim_start().starts_with('[')
            && let Ok(batch) = serde_json::from_str::<Vec<&RawValue>>(text)
        {
            for one in batch {
                message(shared, message::parse(one.get()));
                pacer.breathe().await;
                flood.count(endpoint, 0).await?;
            }
        } else {
            message(shared, message::parse(text));
            pacer.breathe().await;
        }
    } else {
        message(shared, Err("not UTF-8".to_owned()));
    }
    flood.count(endpoint, length).await
}

fn message(shared: &Arc<HttpShared>, parsed: Result<Incoming<'_>, String>) {
    match parsed {
        Ok(Incoming::Notification { method, params }) => {
            let params = params.map_or("{}", RawValue::get);
            shared.hub.hear(&method);
            if params.len() > MAX_NOTIFICATION {
                tracing::debug!(upstream = %shared.endpoint.upstream, method, "a notification was too long");
            } else if method == "notifications/cancelled" {
                shared.cancelled(params);
            } else if method != "notifications/progress" {
                shared.hub.publish(&method, params);
            }
        }
        Ok(Incoming::Request { id, method, params }) => {
            shared.request(ServerQuestion { id, method: &method, params }, |ask| shared.hub.ask(ask));
        }
        Ok(Incoming::Answer { .. } | Incoming::TooDeep { .. } | Incoming::Unfit { .. }) => {}
        Err(reason) => shared.rubbish(&reason),
    }
}
