//! Streamable HTTP: each request is an exchange of its own, and a legacy session is an id that goes along.
//!
//! A link stands on no connection. A request runs as a task of the worker that makes it, over that worker's
//! pool; the link's only own task waits for its end, so that a legacy session is ended with `DELETE` on a
//! worker's thread.

mod body;
pub mod connections;
mod exchange;
mod outline;
mod requests;
pub(in crate::upstream) mod shared;
pub mod sse;
mod standalone;

use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use tokio::sync::{Notify, mpsc};

use crate::auth::principal::Token;
use crate::limits::budget::Account;
use crate::mcp::param_header::Mirrored;

use self::exchange::Exchange;
use super::connect::Endpoint;
use crate::upstream::credential::Presents;
use crate::upstream::error::UpstreamError;
use crate::upstream::hub::Hub;
use crate::upstream::message::briefing::Briefing;
use crate::upstream::message::reply::{Ending, REPLIES, Reply, Takes};
use shared::{HttpShared, InFlight, Mode};

/// A handle of a link; it ends when the last one is dropped.
#[derive(Clone)]
pub struct HttpLink {
    shared: Arc<HttpShared>,
    /// The principal whose requests go through this handle.
    token: Option<Arc<Token>>,
    account: Option<Account>,
    /// Only its being there matters.
    _hold: mpsc::Sender<Infallible>,
}

/// A call in flight.
pub struct HttpPending {
    replies: mpsc::Receiver<Reply>,
    failure: Arc<OnceLock<UpstreamError>>,
    /// Keeps the session as long as somebody waits.
    link: HttpLink,
}

impl HttpLink {
    /// A link on the current worker. `counted` is dropped when the link has ended, session and all; the link
    /// ends by itself when it was not used for `idle`.
    pub(in crate::upstream) fn start(
        endpoint: Arc<Endpoint>,
        presents: Option<Presents>,
        idle: Option<Duration>,
        hub: &Arc<Hub>,
        counted: impl Sized + 'static,
    ) -> Self {
        let (hold, handles) = mpsc::channel(1);
        let shared = Arc::new(HttpShared {
            endpoint,
            presents,
            mode: ArcSwap::from_pointee(Mode::Modern),
            next_id: AtomicU64::new(1),
            alive: AtomicBool::new(true),
            end: ArcSwapOption::empty(),
            lost: AtomicBool::new(false),
            in_flight: AtomicUsize::new(0),
            answering: AtomicUsize::new(0),
            briefing: Briefing::default(),
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
    pub(in crate::upstream) fn on_behalf_of(&self, token: Option<Arc<Token>>, account: Account) -> Self {
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
    pub(in crate::upstream) fn is_lost(&self) -> bool {
        self.shared.lost.load(Ordering::Acquire)
    }

    /// The messages that the server was told besides its calls.
    pub(in crate::upstream) fn briefing(&self) -> &Briefing {
        &self.shared.briefing
    }
}

impl HttpPending {
    /// The next message of the call; `None` when there will be no result.
    pub async fn next(&mut self) -> Option<Reply> {
        self.replies.recv().await
    }

    /// Lets its exchange tell the server that nobody waits any more, unless the result has come.
    pub(super) fn give_up(&mut self) {
        self.replies.close();
    }

    /// Why there is no result.
    pub fn ending(&self) -> Ending {
        match self.failure.get() {
            Some(error) => Ending { error: Some(error.clone()), ..Ending::default() },
            None => self.link.ending(),
        }
    }
}
