//! One HTTP request to a server and everything that comes back for it.

use std::cell::Cell;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use http::{HeaderName, HeaderValue, Response, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::value::RawValue;
use tokio::sync::mpsc;

use crate::auth::principal::Token;
use crate::coding::Decoded;
use crate::limits::budget::Account;
use crate::mcp::message::{Incoming, Meant};
use crate::mcp::param_header::Mirrored;
use crate::mcp::{header, message};
use crate::runtime::apart::LONG;
use crate::runtime::pacer::Pacer;

use super::body::{BodyKind, broken, declared, error_of, is_session_gone, kind, no_room, read_all, too_long};
use super::connections::{self, Connection};
use super::outline::Outline;
use super::shared::{HttpShared, InFlight};
use super::sse::Events;
use crate::upstream::error::UpstreamError;
use crate::upstream::message::asks::ServerQuestion;
use crate::upstream::message::reply::{MAX_NOTIFICATION, Reply, Takes, cancelled, progress_of};
use crate::upstream::transport::flood::Flood;
use crate::upstream::transport::intake::Intake;
use crate::upstream::transport::long::{self, Owned};

/// Longest error page that is read, in bytes.
const ERROR_BODY: usize = 64 * 1024;
/// How long, and how many bytes, a server may add to a stream behind the answer before the connection is
/// given up.
const TAIL: (Duration, usize) = (Duration::from_millis(250), 64 * 1024);
/// Bounds of the pause before a broken stream is taken up again; the server's `retry` is obeyed between them.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));
/// That pause where the server names none.
const DEFAULT_RETRY: Duration = Duration::from_secs(1);

/// One request in flight; see [`super::HttpLink::request`].
pub(super) struct Exchange {
    pub(in crate::upstream) shared: Arc<HttpShared>,
    pub(in crate::upstream) id: u64,
    pub(in crate::upstream) takes: Takes,
    /// The principal of the request.
    pub(in crate::upstream) token: Option<Arc<Token>>,
    /// Where the answer is charged while it is read.
    pub(in crate::upstream) account: Option<Account>,
    pub(in crate::upstream::transport) replies: mpsc::Sender<Reply>,
    pub(in crate::upstream) answered: Cell<bool>,
    pub(in crate::upstream::transport) mirrored: Mirrored,
    pub(in crate::upstream) failure: Arc<OnceLock<UpstreamError>>,
    pub(super) _counted: InFlight,
}

/// Where a message came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Carrier {
    /// It is the whole body of the answer.
    Body,
    /// An event stream, on which others may come before the answer.
    Events,
}

/// The result of a stream.
enum Streamed {
    /// The answer was in it.
    Answered,
    /// It ended before.
    BrokenOff,
}

impl Exchange {
    /// Runs the exchange to its end, or until nobody waits for it.
    pub(in crate::upstream) async fn run(self, text: String) {
        let mut talk = Box::pin(self.talk(text));
        let finished = tokio::select! {
            biased;
            outcome = &mut talk => Some(outcome),
            () = self.replies.closed() => None,
        };
        match finished {
            Some(Ok(())) => {}
            Some(Err(error)) => {
                if matches!(error, UpstreamError::Unreachable { .. }) && !self.shared.has_session() {
                    // The next call opens a new link: it may be another server, of another era, by then. A
                    // session is kept: it may have outlived the trouble, and if not, the server says so.
                    self.shared.finish(error.clone());
                }
                let _ = self.failure.set(error);
            }
            None if self.answered.get() => {
                let _ = tokio::time::timeout(self.shared.endpoint.limits.call, talk).await;
            }
            None => {
                // The end of the connection is what a modern server is told by; a legacy one wants it in
                // words.
                drop(talk);
                if self.shared.is_legacy() {
                    self.shared.deliver(cancelled(self.id)).await;
                }
            }
        }
    }

    async fn talk(&self, text: String) -> Result<(), UpstreamError> {
        let shared = &self.shared;
        let endpoint = &shared.endpoint;
        let outline = Outline::mirroring(&text, &self.mirrored);
        let (response, connection) = shared.send(shared.post(text, &outline), self.token.as_ref()).await?;
        let status = response.status();
        if !status.is_success() {
            return self.refused(response, connection).await;
        }
        let session = (outline.method == "initialize")
            .then(|| response.headers().get(HeaderName::from_static(header::SESSION_ID)).cloned());
        let mut response = response;
        let mut connection = connection;
        match kind(&response) {
            BodyKind::Json => {
                let limit = endpoint.limits.message;
                if declared(&response).is_some_and(|length| length > limit as u64) {
                    return Err(too_long(endpoint));
                }
                let mut intake = Intake::new(self.account.as_ref());
                let body = read_all(endpoint, response.into_body(), limit, &mut intake).await?;
                let mut flood = Flood::new(Instant::now());
                self.message(body, Carrier::Body, session.as_ref(), &mut flood).await?;
                connections::keep(endpoint, connection);
                if self.answered.get() {
                    Ok(())
                } else {
                    Err(endpoint.wrong("its answer is to another request"))
                }
            }
            BodyKind::Events => {
                let mut events = Events::default();
                loop {
                    match self.stream(response, connection, &mut events, session.as_ref()).await? {
                        Streamed::Answered => return Ok(()),
                        Streamed::BrokenOff => (response, connection) = self.resume(&mut events).await?,
                    }
                }
            }
            BodyKind::Other(kind) => {
                Err(endpoint
                    .wrong(format!("it answers {status} with {kind} instead of JSON or an event stream")))
            }
        }
    }

    /// A status other than 2xx: a JSON-RPC error where the body is one.
    async fn refused(
        &self,
        response: Response<Decoded>,
        connection: Connection,
    ) -> Result<(), UpstreamError> {
        let shared = &self.shared;
        let status = response.status();
        let limit = ERROR_BODY.min(shared.endpoint.limits.message);
        let mut intake = Intake::new(self.account.as_ref());
        let body = read_all(&shared.endpoint, response.into_body(), limit, &mut intake).await;
        if body.is_ok() {
            connections::keep(&shared.endpoint, connection);
        }
        let error = body.ok().and_then(|body| error_of(&body));
        if shared.has_session() && is_session_gone(status, error.as_deref()) {
            return Err(shared.session_gone());
        }
        // A server's words to a gateway that it does not let in are not for the client.
        if status == StatusCode::UNAUTHORIZED {
            return Err(shared.wants_credential());
        }
        if let Some(error) = error {
            self.deliver(Reply::Error(error)).await;
            return Ok(());
        }
        let remark = if status.is_redirection() { ", and redirects are not followed" } else { "" };
        Err(shared.endpoint.wrong(format!("it answers with HTTP status {status}{remark}")))
    }

    /// Reads an event stream until the answer has come.
    async fn stream(
        &self,
        response: Response<Decoded>,
        connection: Connection,
        events: &mut Events,
        session: Option<&Option<HeaderValue>>,
    ) -> Result<Streamed, UpstreamError> {
        let endpoint = &self.shared.endpoint;
        let mut body = response.into_body();
        let mut flood = Flood::new(Instant::now());
        let mut pacer = Pacer::default();
        let mut intake = Intake::new(self.account.as_ref());
        loop {
            let data = match body.frame().await {
                None => {
                    connections::keep(endpoint, connection);
                    return Ok(Streamed::BrokenOff);
                }
                Some(Err(error)) if !error.is_transport() => {
                    return Err(broken(endpoint, "event stream", &error));
                }
                Some(Err(error)) => {
                    tracing::debug!(upstream = %endpoint.upstream, %error, "an event stream broke off");
                    return Ok(Streamed::BrokenOff);
                }
                Some(Ok(frame)) => frame.into_data().unwrap_or_default(),
            };
            let messages = events.messages(&data, endpoint.limits.message).map_err(|_| too_long(endpoint))?;
            intake.hold(body.held() + events.held()).map_err(|exhausted| no_room(endpoint, exhausted))?;
            for message in messages {
                self.message(message, Carrier::Events, session, &mut flood).await?;
                pacer.breathe().await;
            }
            if self.answered.get() {
                if tokio::time::timeout(TAIL.0, read_all(endpoint, body, TAIL.1, &mut intake))
                    .await
                    .is_ok_and(|rest| rest.is_ok())
                {
                    connections::keep(endpoint, connection);
                }
                return Ok(Streamed::Answered);
            }
        }
    }

    /// A legacy server may end a stream early and expect the client to come back for the rest.
    async fn resume(&self, events: &mut Events) -> Result<(Response<Decoded>, Connection), UpstreamError> {
        let shared = &self.shared;
        let endpoint = &shared.endpoint;
        let last = HeaderValue::from_bytes(events.last_id()).ok().filter(|last| !last.is_empty());
        let (Some(last), true) = (last, shared.is_legacy()) else {
            return Err(endpoint.closed("ended its answer before the result"));
        };
        events.reconnect();
        tokio::time::sleep(events.retry().unwrap_or(DEFAULT_RETRY).clamp(RETRY.0, RETRY.1)).await;
        let (response, connection) = shared.send(shared.listen(Some(last)), self.token.as_ref()).await?;
        match (response.status(), kind(&response)) {
            (StatusCode::OK, BodyKind::Events) => Ok((response, connection)),
            (StatusCode::NOT_FOUND, _) if shared.has_session() => Err(shared.session_gone()),
            (status, _) => Err(endpoint.closed(format!(
                "ended its answer before the result and answers {status} when asked for the rest"
            ))),
        }
    }

    /// Takes in one message, or a batch of them as 2025-03-26 allows. All of it counts, and each part of a
    /// batch besides. In an event stream, what is no message is passed over.
    async fn message(
        &self,
        bytes: Vec<u8>,
        from: Carrier,
        session: Option<&Option<HeaderValue>>,
        flood: &mut Flood,
    ) -> Result<(), UpstreamError> {
        let length = bytes.len();
        if length >= LONG {
            let mut pacer = Pacer::default();
            for part in long::read(bytes).await {
                match part {
                    Ok(Owned::Answer { id, outcome }) if self.awaits(id) => {
                        let outcome = outcome.map(long::text).map_err(long::text);
                        self.answer(outcome, session).await;
                    }
                    Ok(part) => self.one(part.borrowed(), session).await?,
                    Err(reason) => self.no_message(from, &reason)?,
                }
                pacer.breathe().await;
                self.count(flood, 0).await?;
            }
            return self.count(flood, length).await;
        }
        match std::str::from_utf8(&bytes) {
            Err(_) => self.no_message(from, "not UTF-8")?,
            Ok(text) if text.trim_start().starts_with('[') => {
                let mut pacer = Pacer::default();
                match serde_json::from_str::<Vec<&RawValue>>(text) {
                    Err(error) => self.no_message(from, &format!("not JSON: {error}"))?,
                    Ok(batch) => {
                        for one in batch {
                            self.text(one.get(), from, session).await?;
                            pacer.breathe().await;
                            self.count(flood, 0).await?;
                        }
                    }
                }
            }
            Ok(text) => self.text(text, from, session).await?,
        }
        self.count(flood, length).await
    }

    async fn text(
        &self,
        text: &str,
        from: Carrier,
        session: Option<&Option<HeaderValue>>,
    ) -> Result<(), UpstreamError> {
        match message::parse(text) {
            Ok(message) => self.one(message, session).await,
            Err(reason) => self.no_message(from, &reason),
        }
    }

    /// Text that is no message: noted where it is an event, an error in the place of the answer.
    fn no_message(&self, from: Carrier, reason: &str) -> Result<(), UpstreamError> {
        match from {
            Carrier::Events => {
                self.shared.rubbish(reason);
                Ok(())
            }
            Carrier::Body => Err(self.shared.endpoint.wrong(format!("its message is {reason}"))),
        }
    }

    /// Counts what came before the answer; who says too much is left unread for a while, or given up.
    async fn count(&self, flood: &mut Flood, bytes: usize) -> Result<(), UpstreamError> {
        if self.answered.get() {
            return Ok(());
        }
        flood.count(&self.shared.endpoint, bytes).await
    }

    async fn one(
        &self,
        message: Incoming<'_>,
        session: Option<&Option<HeaderValue>>,
    ) -> Result<(), UpstreamError> {
        let shared = &self.shared;
        match message {
            Incoming::Answer { id, outcome } if self.awaits(id) => {
                let text = |value: &RawValue| value.get().to_owned();
                self.answer(outcome.map(text).map_err(text), session).await;
            }
            Incoming::TooDeep { id, outcome } if self.awaits(id) => {
                let reply = match outcome {
                    Ok(list) if self.takes == Takes::List => Reply::Result(list.get().to_owned()),
                    _ => Reply::too_deep(),
                };
                self.deliver(reply).await;
            }
            // All that comes here is for this request; an error without an id is what a server answers to
            // what it cannot read (JSON-RPC 2.0, section 5).
            Incoming::Unfit { id: Meant::Nobody, error: Some(error), .. } if !self.answered.get() => {
                self.deliver(Reply::Error(error.get().to_owned())).await;
            }
            Incoming::Unfit { id, fault, .. }
                if !self.answered.get() && !matches!(id, Meant::Call(other) if other != self.id) =>
            {
                return Err(shared.endpoint.wrong(fault));
            }
            Incoming::Notification { method, params } => {
                self.notification(&method, params.map_or("{}", |params| params.get()));
            }
            Incoming::Request { id, method, params } if shared.is_legacy() => {
                shared.request(ServerQuestion { id, method: &method, params }, |ask| match self.takes {
                    Takes::Everything => {
                        // A call that is too busy to take it drops it, which is an answer too.
                        let _ = self.replies.try_send(Reply::Ask(ask));
                        true
                    }
                    Takes::Result | Takes::List | Takes::Changes => shared.hub.ask(ask),
                });
            }
            Incoming::Answer { .. }
            | Incoming::TooDeep { .. }
            | Incoming::Unfit { .. }
            | Incoming::Request { .. } => {
                tracing::debug!(upstream = %shared.endpoint.upstream, "a message that belongs to no call was dropped");
            }
        }
        Ok(())
    }

    /// True where the answer to a request with this number is waited for.
    fn awaits(&self, id: u64) -> bool {
        id == self.id && !self.answered.get()
    }

    async fn answer(&self, outcome: Result<String, String>, session: Option<&Option<HeaderValue>>) {
        let reply = match outcome {
            Ok(result) => {
                if let Some(session) = session {
                    self.shared.initialized(&result, session.clone());
                }
                Reply::Result(result)
            }
            Err(error) => Reply::Error(error),
        };
        self.deliver(reply).await;
    }

    /// Messages on the stream of a call are the call's, but for changes: those of a legacy server are for who
    /// subscribed.
    fn notification(&self, method: &str, params: &str) {
        let shared = &self.shared;
        shared.hub.hear(method);
        if params.len() > MAX_NOTIFICATION {
            tracing::debug!(upstream = %shared.endpoint.upstream, method, "a notification was too long");
            return;
        }
        let is_ours = match method {
            "notifications/progress" => progress_of(method, params) == Some(self.id),
            "notifications/cancelled" if shared.is_legacy() => return shared.cancelled(params),
            _ if self.takes == Takes::Changes => true,
            _ if is_change(method) => {
                if shared.is_legacy() {
                    return shared.hub.publish(method, params);
                }
                false
            }
            _ => self.takes == Takes::Everything,
        };
        if is_ours {
            let _ = self.replies.try_send(Reply::Notification(method.to_owned(), params.to_owned()));
        } else {
            tracing::debug!(upstream = %shared.endpoint.upstream, method, "a notification that belongs to no call was dropped");
        }
    }

    async fn deliver(&self, reply: Reply) {
        self.answered.set(true);
        // Nobody waits any more when this fails.
        let _ = self.replies.send(reply).await;
    }
}

/// True where a notification is about the server and not about a call.
fn is_change(method: &str) -> bool {
    matches!(
        method,
        "notifications/tools/list_changed"
            | "notifications/prompts/list_changed"
            | "notifications/resources/list_changed"
            | "notifications/resources/updated"
            | "notifications/elicitation/complete"
            | "notifications/tasks/status"
    )
}
