//! Streamable HTTP: each request is an exchange of its own, and a legacy session is an id that goes along.
//!
//! A link stands on no connection. A request runs as a task of the worker that makes it, over that worker's
//! pool; the link's only own task waits for its end, so that a legacy session is ended with `DELETE` on a
//! worker's thread.

mod outline;
mod requests;

use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use bytes::Bytes;
use http::{HeaderValue, Method, Request};
use http_body_util::Full;
use tokio::sync::{Notify, mpsc};

use crate::auth::principal::Token;
use crate::limits::budget::Account;
use crate::mcp::param_header::Mirrored;
use crate::mcp::revision::Revision;

use super::ask::Ask;
use super::asks::{Asks, Question, Taken};
use super::connect::Endpoint;
use super::credential::Presents;
use super::error::UpstreamError;
use super::exchange::Exchange;
use super::hub::Hub;
use super::intake::Intake;
use super::link::{Ending, REPLIES, Reply, Takes, Told};
use super::{connections, legacy, standalone};
pub(super) use outline::Outline;

/// How long ending a session may take.
const FAREWELL: Duration = Duration::from_secs(2);
/// Longest answer to a message that wants none, in bytes.
const COURTESY: usize = 64 * 1024;
/// Answers to requests of a server that may be under way at once; it gets none beyond.
const MAX_ANSWERS: usize = 16;

/// A handle of a link; it ends when the last one is dropped.
#[derive(Clone)]
pub struct HttpLink {
    shared: Arc<Shared>,
    /// The principal whose requests go through this handle.
    token: Option<Arc<Token>>,
    account: Option<Account>,
    /// Only its being there matters.
    _hold: mpsc::Sender<Infallible>,
}

/// The state that all requests of a link share.
pub(super) struct Shared {
    pub(super) endpoint: Arc<Endpoint>,
    /// The credential of each request.
    presents: Option<Presents>,
    /// The headers of each request.
    mode: ArcSwap<Mode>,
    next_id: AtomicU64,
    alive: AtomicBool,
    end: ArcSwapOption<UpstreamError>,
    /// The server has forgotten the session.
    lost: AtomicBool,
    in_flight: AtomicUsize,
    answering: AtomicUsize,
    told: Told,
    /// True once the log knows that the server says what is no message.
    is_rubbish_told: AtomicBool,
    asks: Arc<Asks>,
    pub(super) hub: Arc<Hub>,
    /// Told when a legacy handshake is over.
    pub(super) ready: Notify,
}

/// How far the handshake has come, and with which era.
pub(super) enum Mode {
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

/// A call in flight.
pub struct HttpPending {
    replies: mpsc::Receiver<Reply>,
    failure: Arc<OnceLock<UpstreamError>>,
    /// Keeps the session as long as somebody waits.
    link: HttpLink,
}

/// Counts a request as long as it runs, for the idle limit.
pub(super) struct InFlight(Arc<Shared>);

impl InFlight {
    fn new(shared: &Arc<Shared>) -> Self {
        shared.in_flight.fetch_add(1, Ordering::AcqRel);
        Self(Arc::clone(shared))
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::AcqRel);
    }
}

impl HttpLink {
    /// A link on the current worker. `counted` is dropped when the link has ended, session and all; the link
    /// ends by itself when it was not used for `idle`.
    pub(super) fn start(
        endpoint: Arc<Endpoint>,
        presents: Option<Presents>,
        idle: Option<Duration>,
        hub: &Arc<Hub>,
        counted: impl Sized + 'static,
    ) -> Self {
        let (hold, handles) = mpsc::channel(1);
        let shared = Arc::new(Shared {
            endpoint,
            presents,
            mode: ArcSwap::from_pointee(Mode::Modern),
            next_id: AtomicU64::new(1),
            alive: AtomicBool::new(true),
            end: ArcSwapOption::empty(),
            lost: AtomicBool::new(false),
            in_flight: AtomicUsize::new(0),
            answering: AtomicUsize::new(0),
            told: Told::default(),
            is_rubbish_told: AtomicBool::new(false),
            asks: Arc::default(),
            hub: Arc::clone(hub),
            ready: Notify::new(),
        });
        tokio::task::spawn_local({
            let shared = Arc::clone(&shared);
            async move {
                let listening = tokio::task::spawn_local(standalone::run(Arc::clone(&shared)));
                shared.until_unused(handles, idle).await;
                listening.abort();
                shared.asks.withdraw_all();
                shared.farewell().await;
                drop(counted);
            }
        });
        Self { shared, token: None, account: None, _hold: hold }
    }

    /// A handle whose requests are made for the principal of `token`, and their answers charged to `account`.
    pub(super) fn on_behalf_of(&self, token: Option<Arc<Token>>, account: Account) -> Self {
        Self { token, account: Some(account), ..self.clone() }
    }

    /// True where the link can take a request.
    pub fn is_alive(&self) -> bool {
        self.shared.alive.load(Ordering::Acquire)
    }

    /// The cause of the link's end, once it has ended.
    pub fn ending(&self) -> Ending {
        let error = self.shared.end.load_full().map(|error| error.as_ref().clone());
        Ending { error, ..Ending::default() }
    }

    /// Sends a request from the current worker; its headers are read off the text, so that they agree with
    /// it.
    pub fn request(&self, takes: Takes, write: impl FnOnce(u64) -> String) -> Option<HttpPending> {
        self.request_mirrored(takes, Mirrored::default(), write)
    }

    /// The same with headers that repeat arguments, for a modern server.
    pub fn request_mirrored(
        &self,
        takes: Takes,
        mirrored: Mirrored,
        write: impl FnOnce(u64) -> String,
    ) -> Option<HttpPending> {
        if !self.is_alive() {
            return None;
        }
        let id = self.shared.next_id.fetch_add(1, Ordering::Relaxed);
        let (sender, replies) = mpsc::channel(REPLIES);
        let pending = HttpPending { replies, failure: Arc::default(), link: self.clone() };
        let exchange = Exchange {
            shared: Arc::clone(&self.shared),
            id,
            takes,
            token: self.token.clone(),
            account: self.account.clone(),
            replies: sender,
            answered: std::cell::Cell::new(false),
            mirrored,
            failure: Arc::clone(&pending.failure),
            _counted: InFlight::new(&self.shared),
        };
        tokio::task::spawn_local(exchange.run(write(id)));
        Some(pending)
    }

    /// Sends a notification and waits until it was taken; lost when the server does not.
    pub async fn notify(&self, text: String) {
        // No notification from client to server is left in the modern era.
        if self.shared.is_legacy() {
            self.shared.deliver(text).await;
            // The first one ends the handshake.
            self.shared.ready.notify_one();
        }
    }

    /// True where the server has forgotten the session.
    pub(super) fn is_lost(&self) -> bool {
        self.shared.lost.load(Ordering::Acquire)
    }

    /// The messages that the server was told besides its calls.
    pub(super) fn told(&self) -> &Told {
        &self.shared.told
    }
}

impl HttpPending {
    /// The next message of the call; `None` when there will be no result.
    pub async fn next(&mut self) -> Option<Reply> {
        self.replies.recv().await
    }

    /// Why there is no result.
    pub fn ending(&self) -> Ending {
        match self.failure.get() {
            Some(error) => Ending { error: Some(error.clone()), ..Ending::default() },
            None => self.link.ending(),
        }
    }
}

impl Shared {
    /// Waits for the end of all handles, or of patience.
    async fn until_unused(&self, mut handles: mpsc::Receiver<Infallible>, idle: Option<Duration>) {
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
    pub(super) fn finish(&self, why: UpstreamError) {
        self.end.store(Some(Arc::new(why)));
        self.alive.store(false, Ordering::Release);
    }

    /// The server does not know the session any more, so there is nothing to end either.
    pub(super) fn session_gone(&self) -> UpstreamError {
        let error = self.endpoint.closed("has ended the session; the next call opens another");
        self.mode.store(Arc::new(Mode::Modern));
        self.lost.store(true, Ordering::Release);
        self.finish(error.clone());
        error
    }

    /// Ends a legacy session; a server may refuse that (405).
    async fn farewell(&self) {
        self.alive.store(false, Ordering::Release);
        if !self.has_session() {
            return;
        }
        let request = self.build(Method::DELETE, Bytes::new(), |_| {});
        let _ = tokio::time::timeout(FAREWELL, self.finish_exchange(request)).await;
    }

    pub(super) fn is_legacy(&self) -> bool {
        matches!(**self.mode.load(), Mode::Legacy { .. })
    }

    pub(super) fn has_session(&self) -> bool {
        matches!(**self.mode.load(), Mode::Legacy { session: Some(_), .. })
    }

    /// Notes what the answer to `initialize` says.
    pub(super) fn initialized(&self, result: &str, session: Option<HeaderValue>) {
        let revision = legacy::facts(result).and_then(|facts| HeaderValue::from_str(&facts.revision).ok());
        let revision = revision.unwrap_or_else(|| HeaderValue::from_static(Revision::LATEST_LEGACY.as_str()));
        self.mode.store(Arc::new(Mode::Legacy { session, revision }));
    }

    /// Sends a message that has no answer.
    pub(super) async fn deliver(&self, text: String) {
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
    pub(super) fn request(self: &Arc<Self>, question: Question<'_>, offer: impl FnOnce(Ask) -> bool) {
        match self.asks.take(question, self.told.declared().unwrap_or_default(), offer) {
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
    pub(super) fn rubbish(&self, reason: &str) {
        let upstream = &self.endpoint.upstream;
        if self.is_rubbish_told.swap(true, Ordering::AcqRel) {
            tracing::debug!(%upstream, reason, "an event on a stream of the server is not MCP and was passed over");
        } else {
            tracing::warn!(%upstream, reason, "an event on a stream of the server is not MCP and was passed over");
        }
    }

    /// The server has cancelled a request of its own.
    pub(super) fn cancelled(&self, params: &str) {
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
        if super::body::read_all(&self.endpoint, response.into_body(), COURTESY, &mut Intake::default())
            .await
            .is_ok()
        {
            connections::keep(&self.endpoint, connection);
        }
        Ok(status)
    }
}
