//! The reply to a client, as HTTP gets it: a whole JSON answer, a stream of events, or nothing but a status.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::call::ask::unanswered;
use crate::call::start::{Event, Running, Started};
use crate::call::{list, waiting};
use crate::limits::kept::Kept;
use crate::limits::streams::Places;
use crate::mcp::envelope::Id;
use crate::mcp::jsonrpc;
use crate::mcp::object::Object;
use crate::mcp::revision::Era;
use crate::pipeline::methods::kind::List;
use crate::pipeline::refusal::Aim;
use crate::pipeline::request::requester::Requester;
use crate::pipeline::route::Endpoint;
use crate::pipeline::{Gateway, Refusal, limit, record, stopped, upstream};
use crate::upstream::UpstreamError;
use crate::upstream::message::ask::Ask;

use super::envelope::{self, Written};
use super::event_reader::Reader;
use super::event_store::EventStore;
use super::questions::SessionQuestion;
use super::session::Session;
use super::shape::Shape;

/// Events that may wait for a slow client on either side of its stream; what a call says beyond them before
/// its answer is dropped.
const EVENTS: usize = 16;

/// How long a client has to take the last message of a stream.
const LAST_MESSAGE_TIMEOUT: Duration = Duration::from_secs(30);

/// The time that a call may say nothing before its answer becomes an event stream: proxies between client and
/// gateway often cut an answer of which nothing comes for a minute.
pub(super) const SILENCE: Duration = Duration::from_secs(10);

/// An answer to a request that was let through.
pub enum Reply {
    /// `application/json`.
    Json(StatusCode, String),
    /// The same, charged to its principal until it is read.
    Kept(StatusCode, Kept),
    /// `text/event-stream`; each item is one message. The places are kept as long as the stream is open.
    Stream(mpsc::Receiver<Kept>, Places),
    /// `text/event-stream` of a legacy session, which a client can come back to.
    Read(Reader, Places),
    /// No body.
    Empty(StatusCode),
    /// `application/json`, and a new session.
    Opened(String, std::sync::Arc<str>),
}

impl Reply {
    /// A stream that ends before it said anything.
    fn nothing() -> Self {
        Self::Stream(mpsc::channel(1).1, Places::default())
    }
}

/// Places for the stream of a call. A call that gets none has begun already, so it is not refused: it is
/// answered without a stream.
pub(super) fn places(gateway: &Gateway, who: &Requester) -> Option<Places> {
    let places = limit::stream(gateway, &who.principal);
    if let Err(refusal) = &places {
        let correlation_id = &who.context.correlation_id;
        tracing::debug!(%correlation_id, "a call is answered without a stream: {}", refusal.reason);
    }
    places.ok()
}

/// Waits for the end of a call that has no stream: what it says is left out, and what it asks is declined.
pub(super) async fn quietly(running: &mut Running, first: Option<Event>) -> Event {
    let mut first = first;
    loop {
        let event = match first.take() {
            Some(event) => event,
            None => running.next().await,
        };
        match event {
            Event::Notification(..) => {}
            Event::Ask(ask) => {
                let answer = unanswered(&ask.method);
                ask.answer(answer);
            }
            last => return last,
        }
    }
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
    let listed = list::list(gateway, kind, who, endpoint, params).await?;
    let written = match listed {
        Ok(text) => {
            let write = move |id: &Id, text| {
                Shape::list(era, text).map(|text| (StatusCode::OK, jsonrpc::result(id, &text)))
            };
            envelope::written(id, text, write).await
        }
        Err(text) => error(id, era, text).await,
    };
    let upstream = match endpoint {
        Endpoint::One(name) => name,
        Endpoint::Merged => "",
    };
    written.map(|(status, text)| Reply::Json(status, text)).map_err(|detail| invalid(upstream, detail))
}

fn invalid(upstream: &str, detail: String) -> Refusal {
    upstream::failed(&UpstreamError::Protocol { upstream: upstream.to_owned(), detail })
}

/// A server's error object as a message.
async fn error(id: &Id, era: Era, text: String) -> Written {
    let write = move |id: &Id, text| {
        let (status, text) = Shape { era, cacheable: false }.error(text);
        Ok((status, jsonrpc::error(id, &text)))
    };
    envelope::written(id, text, write).await
}

/// Waits for a call of a modern client: a result that comes first is a plain JSON answer; a notification that
/// comes first, or [`SILENCE`], opens a stream. Every client takes both: one that does not is refused before.
///
/// # Errors
/// When the upstream failed before anything was said.
pub async fn follow(mut call: Started, id: Id) -> Result<Reply, Refusal> {
    let mut quiet_until = Some(Instant::now() + SILENCE);
    let mut is_silent = false;
    loop {
        let event = call.next_until(quiet_until).await;
        // A call that is still quiet has nothing to say: its stream begins empty.
        let first = match &event {
            None => Some(String::new()),
            Some(Event::Notification(method, params)) if !is_silent => {
                Some(jsonrpc::notification(method, params))
            }
            Some(_) => None,
        };
        if let Some(first) = first {
            let Some(places) = places(call.gateway(), call.who()) else {
                (is_silent, quiet_until) = (true, None);
                continue;
            };
            let (sender, stream) = mpsc::channel(EVENTS);
            tokio::task::spawn_local(pump(call, id, sender, first));
            return Ok(Reply::Stream(stream, places));
        }
        let Some(event) = event else { continue };
        match event {
            Event::Notification(..) => {}
            Event::Ask(ask) => match suspend(call, ask) {
                Ok(text) => return Ok(Reply::Json(StatusCode::OK, jsonrpc::result(&id, &text))),
                Err(goes_on) => call = *goes_on,
            },
            Event::Cancelled => return Ok(Reply::nothing()),
            last => {
                return finish(last, &id, call.who(), call.aim())
                    .await
                    .map(|(status, text)| Reply::Json(status, text));
            }
        }
    }
}

/// Ends the request with the question; the call waits for the client to come back.
///
/// # Errors
/// The call, to go on: the question found no place, and its server was told so.
fn suspend(call: Started, ask: Ask) -> Result<String, Box<Started>> {
    match call {
        Started::Running(running) => waiting::suspend(running, ask, &mut std::iter::empty())
            .map_err(|running| Box::new(Started::Running(*running))),
        // A call that goes on elsewhere is suspended there; no question comes from it.
        resumed @ Started::Resumed(_) => {
            let answer = unanswered(&ask.method);
            ask.answer(answer);
            Err(Box::new(resumed))
        }
    }
}

/// Waits for a call of a legacy client: a message that comes before the result, or [`SILENCE`], opens a
/// stream of the session's.
///
/// # Errors
/// When the upstream failed before anything was said.
pub async fn follow_in(session: &Arc<Session>, mut running: Running, id: Id) -> Result<Reply, Refusal> {
    match running.next_until(Some(Instant::now() + SILENCE)).await {
        first @ (None | Some(Event::Notification(..) | Event::Ask(_))) => {
            let Some(places) = places(running.gateway(), running.who()) else {
                let last = quietly(&mut running, first).await;
                return ended(last, &id, &running).await;
            };
            let Some(store) = session.open_stream(&running.gateway().metrics) else {
                // The session has ended meanwhile, and the call with it.
                return Ok(Reply::nothing());
            };
            let reader = store.read(session, Some(0), None);
            tokio::task::spawn_local({
                let (session, store) = (Arc::clone(session), Arc::clone(&store));
                async move {
                    match carry(&session, &mut running, &id, &store, first).await {
                        Some(text) => store.finish(text, given_up(&running, &id)),
                        None => store.end(),
                    }
                }
            });
            Ok(reader.map_or_else(Reply::nothing, |reader| Reply::Read(reader, places)))
        }
        Some(last) => ended(last, &id, &running).await,
    }
}

/// The answer to a legacy client's call that said nothing before its end.
async fn ended(last: Event, id: &Id, running: &Running) -> Result<Reply, Refusal> {
    if matches!(last, Event::Cancelled) {
        return Ok(Reply::nothing());
    }
    finish(last, id, running.who(), running.aim()).await.map(|(status, text)| Reply::Json(status, text))
}

/// Writes the messages and the questions of a call to a stream of its session; gives the message that ends
/// it, which a cancelled call does not have. A client that goes away has not cancelled anything (2025-11-25,
/// "Cancellation").
pub(super) async fn carry(
    session: &Arc<Session>,
    running: &mut Running,
    id: &Id,
    store: &EventStore,
    first: Option<Event>,
) -> Option<String> {
    let patience = running.gateway().config.server.timeouts.input.0;
    let mut questions = Vec::new();
    let mut first = first;
    let last = loop {
        let event = match first.take() {
            Some(event) => event,
            None => running.next().await,
        };
        match event {
            Event::Notification(method, params) => store.push(jsonrpc::notification(&method, &params)),
            Event::Ask(ask) => match session.ask(ask, patience) {
                Ok((text, id)) => {
                    questions.retain(SessionQuestion::is_open);
                    questions.push(SessionQuestion::new(session, id));
                    store.push(text);
                }
                Err(ask) => {
                    let answer = unanswered(&ask.method);
                    ask.answer(answer);
                }
            },
            last => break last,
        }
    };
    for question in questions.iter().filter(|question| question.is_open()) {
        let params = format!(r#"{{"requestId":{},"reason":"the call has ended"}}"#, question.id);
        store.push(jsonrpc::notification("notifications/cancelled", &params));
    }
    if matches!(last, Event::Cancelled) {
        return None;
    }
    Some(last_word(last, id, running.gateway(), running.who(), running.aim()).await)
}

/// The message that ends a stream.
pub(super) async fn last_word(last: Event, id: &Id, gateway: &Gateway, who: &Requester, aim: &Aim) -> String {
    let refused = |refusal: Refusal| {
        record::refusal(gateway, &who.context, Some(&who.principal), &refusal);
        refusal.body(&who.context.correlation_id)
    };
    finish(last, id, who, aim).await.map_or_else(refused, |(_, text)| text)
}

/// The message that ends a call, with its HTTP status where nothing was said before.
pub(super) async fn finish(
    event: Event,
    id: &Id,
    who: &Requester,
    aim: &Aim,
) -> Result<(StatusCode, String), Refusal> {
    let written = match event {
        Event::Result(text) => {
            let write = |id: &Id, text: String| Ok((StatusCode::OK, jsonrpc::result(id, &text)));
            envelope::written(id, text, write).await
        }
        Event::Error(text) => error(id, who.revision.era(), text).await,
        Event::Stopped(order) => return Err(stopped::refusal(&order).id(Some(id)).about(aim)),
        Event::Failed(failure) => return Err(upstream::failed(&failure).id(Some(id)).about(aim)),
        Event::Notification(..) | Event::Ask(_) | Event::Cancelled => Ok((StatusCode::OK, String::new())),
    };
    written.map_err(|detail| {
        invalid(aim.upstream.as_deref().unwrap_or_default(), detail).id(Some(id)).about(aim)
    })
}

/// The message in place of the answer to a call of a session whose memory is used up.
fn given_up(running: &Running, id: &Id) -> String {
    let refusal = limit::given_up().id(Some(id)).about(running.aim());
    refusal.body(&running.who().context.correlation_id)
}

/// Passes on what a modern client's call says until it ends, or the client is gone or does not read until the
/// deadline, which cancels it. The call is listened to whether the client reads or not: what waits for the
/// client is charged to it here, and would be nobody's where it came from.
async fn pump(mut call: Started, id: Id, client: mpsc::Sender<Kept>, first: String) {
    let account = call.gateway().budget.of(call.who().principal.identity());
    let mut waiting = VecDeque::new();
    let mut message = first;
    let last = loop {
        if !message.is_empty() {
            let kept = Kept::new(&account, message, None).ok().filter(|_| waiting.len() < EVENTS);
            match kept {
                Some(kept) => waiting.push_back(kept),
                None => call.gateway().metrics.messages_dropped(1),
            }
            message = String::new();
        }
        let deadline = call.deadline();
        let event = {
            let mut next = pin!(call.next());
            loop {
                tokio::select! {
                    event = next.as_mut() => break event,
                    room = client.reserve(), if !waiting.is_empty() => {
                        let (Ok(room), Some(message)) = (room, waiting.pop_front()) else { return };
                        room.send(message);
                    }
                    () = client.closed() => return,
                    () = sleep_until(deadline), if !waiting.is_empty() => return,
                }
            }
        };
        match event {
            Event::Ask(ask) => match suspend(call, ask) {
                // The call is in other hands from here on.
                Ok(text) => {
                    let text = jsonrpc::result(&id, &text);
                    break Kept::new(&account, text, None).unwrap_or_else(|_| Kept::lost(&account));
                }
                Err(goes_on) => call = *goes_on,
            },
            Event::Notification(method, params) => message = jsonrpc::notification(&method, &params),
            Event::Cancelled => return,
            last => {
                let text = last_word(last, &id, call.gateway(), call.who(), call.aim()).await;
                let instead = limit::given_up().id(Some(&id)).about(call.aim());
                break Kept::or_instead(&account, text, instead.body(&call.who().context.correlation_id));
            }
        }
    };
    let all = async {
        for message in waiting.into_iter().chain([last]) {
            if client.send(message).await.is_err() {
                return;
            }
        }
    };
    let _ = timeout_at(Instant::now() + LAST_MESSAGE_TIMEOUT, all).await;
}
