//! The state that an HTTP link shares with its requests.

use super::super::connect::Endpoint;
use super::super::intake::Intake;
use super::connections;
use super::outline::Outline;
use crate::mcp::revision::Revision;
use crate::upstream::credential::Presents;
use crate::upstream::era::legacy;
use crate::upstream::error::UpstreamError;
use crate::upstream::hub::Hub;
use crate::upstream::message::ask::Ask;
use crate::upstream::message::asks::{Asks, ServerQuestion, Taken};
use crate::upstream::message::briefing::Briefing;
use arc_swap::{ArcSwap, ArcSwapOption};
use bytes::Bytes;
use http::{HeaderValue, Method, Request};
use http_body_util::Full;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::{Notify, mpsc};

/// The state that all requests of a link share.
pub(crate) struct HttpShared {
    pub(crate) endpoint: Arc<Endpoint>,
    /// The credential of each request.
    pub(crate) presents: Option<Presents>,
    /// The headers of each request.
    pub(crate) mode: ArcSwap<Mode>,
    pub(super) next_id: AtomicU64,
    pub(super) alive: AtomicBool,
    pub(super) end: ArcSwapOption<UpstreamError>,
    /// The server has forgotten the session.
    pub(super) lost: AtomicBool,
    pub(super) in_flight: AtomicUsize,
    pub(super) answering: AtomicUsize,
    pub(super) briefing: Briefing,
    /// True once the log knows that the server says what is no message.
    pub(super) is_rubbish_told: AtomicBool,
    pub(super) asks: Arc<Asks>,
    pub(crate) hub: Arc<Hub>,
    /// Told when a legacy handshake is over.
    pub(crate) ready: Notify,
}

/// How far the handshake has come, and with which era.
pub(crate) enum Mode {
    /// No request but those of a handshake was sent, or the server is modern.
    Modern,
    /// `initialize` was answered.
    Legacy {
        /// The server's name of the session; some have none.
        session: Option<HeaderValue>,
        /// The revision it chose.
        revision: HeaderValue,
    },
}

/// Counts a request as long as it runs, for the idle limit.
pub(crate) struct InFlight(Arc<HttpShared>);

impl InFlight {
    pub(super) fn new(shared: &Arc<HttpShared>) -> Self {
        shared.in_flight.fetch_add(1, Ordering::AcqRel);
        Self(Arc::clone(shared))
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::AcqRel);
    }
}

impl HttpShared {
    /// Waits for the end of all handles, or of patience.
    pub(super) async fn until_unused(&self, mut handles: mpsc::Receiver<Infallible>, idle: Option<Duration>) {
        let Some(idle) = idle else {
            let _ = handles.recv().await;
            return;
        };
        let mut before = self.next_id.load(Ordering::Relaxed);
        while tokio::time::timeout(idle, handles.recv()).await.is_err() {
            let now = self.next_id.load(Ordering::Relaxed);
            let wanted = self.in_flight.load(Ordering::Acquire) > 0 || self.hub.is_attended();
            if now == before && !wanted {
                self.finish(self.endpoint.closed("was not used, so its session was ended"));
                return;
            }
            before = now;
        }
    }

    /// Takes no more requests.
    pub(crate) fn finish(&self, why: UpstreamError) {
        self.end.store(Some(Arc::new(why)));
        self.alive.store(false, Ordering::Release);
    }

    /// The server does not know the session any more, so there is nothing to end either.
    pub(crate) fn session_gone(&self) -> UpstreamError {
        let error = self.endpoint.closed("has ended the session; the next call opens another");
        self.mode.store(Arc::new(Mode::Modern));
        self.lost.store(true, Ordering::Release);
        self.finish(error.clone());
        error
    }

    /// Ends a legacy session; a server may refuse that (405).
    pub(super) async fn farewell(&self) {
        self.alive.store(false, Ordering::Release);
        if !self.has_session() {
            return;
        }
        let request = self.build(Method::DELETE, Bytes::new(), |_| {});
        let _ = tokio::time::timeout(SESSION_DELETE_TIMEOUT, self.finish_exchange(request)).await;
    }

    pub(crate) fn is_legacy(&self) -> bool {
        matches!(**self.mode.load(), Mode::Legacy { .. })
    }

    pub(crate) fn has_session(&self) -> bool {
        matches!(**self.mode.load(), Mode::Legacy { session: Some(_), .. })
    }

    /// Notes what the answer to `initialize` says.
    pub(crate) fn initialized(&self, result: &str, session: Option<HeaderValue>) {
        let revision = legacy::facts(result).and_then(|facts| HeaderValue::from_str(&facts.revision).ok());
        let revision = revision.unwrap_or_else(|| HeaderValue::from_static(Revision::LATEST_LEGACY.as_str()));
        self.mode.store(Arc::new(Mode::Legacy { session, revision }));
    }

    /// Sends a message that has no answer.
    pub(crate) async fn deliver(&self, text: String) {
        let outline = Outline::read(&text);
        let request = self.post(text, &outline);
        let sent = tokio::time::timeout(self.endpoint.limits.call, self.finish_exchange(request)).await;
        match sent {
            Ok(Ok(status)) if status.is_success() => {}
            Ok(Ok(status)) => {
                tracing::debug!(upstream = %self.endpoint.upstream, %status, "the server refuses a message");
            }
            Ok(Err(error)) => tracing::debug!("{error}"),
            Err(_) => {
                tracing::debug!(upstream = %self.endpoint.upstream, "the server did not take a message in time");
            }
        }
    }

    /// Answers a request of the server's, or has a client answer it; `offer` finds one.
    pub(crate) fn request(self: &Arc<Self>, question: ServerQuestion<'_>, offer: impl FnOnce(Ask) -> bool) {
        match self.asks.take(question, self.briefing.declared().unwrap_or_default(), offer) {
            Taken::Answer(text) => self.answer(text),
            Taken::Waits(waiting) => {
                // A client that thinks about an answer still uses the session.
                let counted = InFlight::new(self);
                tokio::task::spawn_local(async move {
                    if let Some(text) = waiting.message().await {
                        counted.0.deliver(text).await;
                    }
                });
            }
        }
    }

    /// Passes over what is no message on an event stream; the first one is told. No call depends on it.
    pub(crate) fn rubbish(&self, reason: &str) {
        let upstream = &self.endpoint.upstream;
        if self.is_rubbish_told.swap(true, Ordering::AcqRel) {
            tracing::debug!(%upstream, reason, "an event on a stream of the server is not MCP and was passed over");
        } else {
            tracing::warn!(%upstream, reason, "an event on a stream of the server is not MCP and was passed over");
        }
    }

    /// The server has cancelled a request of its own.
    pub(crate) fn cancelled(&self, params: &str) {
        self.asks.cancelled(params);
    }

    /// Sends an answer, unless the server asks faster than it listens.
    fn answer(self: &Arc<Self>, text: String) {
        if self.answering.fetch_add(1, Ordering::AcqRel) >= MAX_ANSWERS {
            self.answering.fetch_sub(1, Ordering::AcqRel);
            return;
        }
        let shared = Arc::clone(self);
        tokio::task::spawn_local(async move {
            shared.deliver(text).await;
            shared.answering.fetch_sub(1, Ordering::AcqRel);
        });
    }

    /// Sends a request whose response matters only by its status.
    async fn finish_exchange(
        &self,
        request: Request<Full<Bytes>>,
    ) -> Result<http::StatusCode, UpstreamError> {
        let (response, connection) = self.send(request, None).await?;
        let status = response.status();
        if super::body::read_all(
            &self.endpoint,
            response.into_body(),
            MAX_EMPTY_ANSWER,
            &mut Intake::default(),
        )
        .await
        .is_ok()
        {
            connections::keep(&self.endpoint, connection);
        }
        Ok(status)
    }
}

/// How long ending a session may take.
pub(super) const SESSION_DELETE_TIMEOUT: Duration = Duration::from_secs(2);

/// Longest answer to a message that wants none, in bytes.
pub(super) const MAX_EMPTY_ANSWER: usize = 64 * 1024;

/// Answers to requests of a server that may be under way at once; it gets none beyond.
pub(super) const MAX_ANSWERS: usize = 16;
