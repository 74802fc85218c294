//! A session's event streams, and the questions that wait for its client.

use super::event_store::EventStore;
use super::session::Session;
use super::streams::{Asked, Streams};
use crate::call::ask::unanswered;
use crate::limits::budget::level::What;
use crate::mcp::client::ELICIT;
use crate::mcp::envelope::Id;
use crate::mcp::jsonrpc;
use crate::mcp::object::{Object, quote};
use crate::observe::metrics::Metrics;
use crate::upstream::message::ask::{Answered, Ask};
use parking_lot::MutexGuard;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Most questions that wait for one client.
pub(super) const MAX_ASKS: usize = 64;

/// A question of a call that the client has; with the call it is over.
pub(super) struct SessionQuestion {
    session: Arc<Session>,
    pub(super) id: Id,
}

impl Session {
    pub(super) fn streams(&self) -> MutexGuard<'_, Streams> {
        // Nothing in here panics half-way through a change.
        self.streams.lock()
    }

    /// The standing stream, made when it is first needed; `None` when the session has ended.
    pub fn standing(&self, metrics: &Arc<Metrics>) -> Option<Arc<EventStore>> {
        let mut streams = self.streams();
        if streams.over {
            return None;
        }
        if streams.standing.is_none() {
            streams.standing = EventStore::new(self.revision, &self.account, metrics);
        }
        streams.standing.clone()
    }

    /// A stream for a call; `None` when the session has ended.
    pub fn open_stream(&self, metrics: &Arc<Metrics>) -> Option<Arc<EventStore>> {
        let store = EventStore::new(self.revision, &self.account, metrics)?;
        let mut streams = self.streams();
        if streams.over {
            return None;
        }
        streams.calls.push(Arc::clone(&store));
        streams.tidy();
        Some(store)
    }

    /// The stream of an event id.
    pub fn stream(&self, id: u64) -> Option<Arc<EventStore>> {
        let streams = self.streams();
        streams.standing.iter().chain(&streams.calls).find(|store| store.id == id).cloned()
    }

    /// Takes away what has waited too long: streams that nobody came back for, and questions that nobody
    /// answers.
    pub fn sweep(&self) {
        let overdue: Vec<_> = {
            let now = Instant::now();
            let mut streams = self.streams();
            streams.tidy();
            streams.asks.extract_if(|_, asked| asked.until <= now || asked.ask.is_withdrawn()).collect()
        };
        for (_, Asked { ask, .. }) in overdue {
            let answer = unanswered(&ask.method);
            ask.answer(answer);
        }
    }

    /// Ends everything at once.
    pub(super) fn close(&self) {
        let streams = std::mem::replace(&mut *self.streams(), Streams { over: true, ..Streams::default() });
        for store in streams.standing.iter().chain(&streams.calls) {
            store.clear();
        }
    }

    /// Keeps a question until the client answers it, at most for `patience`; gives the request for the
    /// client, and its id.
    ///
    /// # Errors
    /// The question, where there are too many, the session has ended, or the kernel has no random numbers.
    pub(super) fn ask(&self, ask: Ask, patience: Duration) -> Result<(String, Id), Ask> {
        let (Ok(one), Ok(two)) = (getrandom::u64(), getrandom::u64()) else { return Err(ask) };
        let Ok(id) = Id::parse(&format!("\"airlock-{one:016x}{two:016x}\"")) else { return Err(ask) };
        let text = request(&id, &ask);
        let Ok(charge) = self.account.charge(What::Question, ask.params.len()) else { return Err(ask) };
        let mut streams = self.streams();
        // A question that its server has taken back makes room.
        streams.asks.retain(|_, asked| !asked.ask.is_withdrawn());
        if streams.over || streams.asks.len() >= MAX_ASKS {
            return Err(ask);
        }
        streams.asks.insert(id.clone(), Asked { ask, until: Instant::now() + patience, _charge: charge });
        drop(streams);
        Ok((text, id))
    }

    /// Gives the client's answer to whoever asked; false when nobody waits for it.
    pub fn answer(&self, id: &Id, answered: Answered) -> bool {
        let asked = self.streams().asks.remove(id);
        match asked {
            Some(Asked { ask, .. }) => {
                ask.answer(answered);
                true
            }
            None => false,
        }
    }
}

impl SessionQuestion {
    /// The question of this id; without this it would stay until [`Session::sweep`] finds it.
    pub(super) fn new(session: &Arc<Session>, id: Id) -> Self {
        Self { session: Arc::clone(session), id }
    }

    /// True until the client has answered.
    pub(super) fn is_open(&self) -> bool {
        self.session.streams().asks.contains_key(&self.id)
    }
}

impl Drop for SessionQuestion {
    fn drop(&mut self) {
        self.session.streams().asks.remove(&self.id);
    }
}

/// A server's question as a request of ours.
pub(super) fn request(id: &Id, ask: &Ask) -> String {
    let params = with_id(ask).unwrap_or_else(|| ask.params.clone());
    jsonrpc::request(id, &ask.method, &params)
}

/// A URL to visit has an id in the legacy era (2025-11-25, "URL mode"); servers of the modern era do not give
/// one.
pub(super) fn with_id(ask: &Ask) -> Option<String> {
    if ask.method != ELICIT {
        return None;
    }
    let mut params = Object::parse(&ask.params).ok()?;
    if params.string("mode").as_deref() != Some("url") || params.get("elicitationId").is_some() {
        return None;
    }
    let id = format!("airlock-{:016x}{:016x}", getrandom::u64().ok()?, getrandom::u64().ok()?);
    params.set("elicitationId", quote(&id));
    Some(params.write())
}
