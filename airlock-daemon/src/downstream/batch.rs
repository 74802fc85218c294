//! Several messages in one body, which 2025-03-26 has and no other revision: each is checked, allowed and
//! recorded by itself.

use std::cell::{Cell, OnceCell};
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::auth::principal::Principal;
use crate::call::start::{Event, Running};
use crate::limits::streams::Places;
use crate::mcp::envelope::Id;
use crate::pipeline::{Gateway, Refusal, limit};

use super::event_store::EventStore;
use super::reply::{self, Reply, SILENCE};
use super::session::Served;

/// Where the messages of a batch speak before their answers: on one stream, made when the first of them does.
pub struct BatchStream {
    gateway: Arc<Gateway>,
    session: Served,
    principal: Arc<Principal>,
    store: OnceCell<Option<Arc<EventStore>>>,
    /// The places of the stream, until it is read.
    places: Cell<Places>,
    /// There was no place for a stream.
    is_silent: Cell<bool>,
    opened: Notify,
}

impl BatchStream {
    /// For a batch of this session.
    pub fn new(gateway: &Arc<Gateway>, session: Served, principal: &Arc<Principal>) -> Self {
        Self {
            gateway: Arc::clone(gateway),
            session,
            principal: Arc::clone(principal),
            store: OnceCell::new(),
            places: Cell::default(),
            is_silent: Cell::new(false),
            opened: Notify::new(),
        }
    }

    /// Waits for a call to its end.
    ///
    /// # Errors
    /// When the upstream failed before anything was said.
    pub async fn follow(&self, mut running: Running, id: Id) -> Result<Reply, Refusal> {
        let first = running.next_until(Some(Instant::now() + SILENCE)).await;
        let first = match first {
            None | Some(Event::Notification(..) | Event::Ask(_))
                if self.store().is_none() && self.is_silent.get() =>
            {
                Some(reply::quietly(&mut running, first).await)
            }
            first => first,
        };
        let said = match first {
            None | Some(Event::Notification(..) | Event::Ask(_)) => match self.store() {
                Some(store) => reply::carry(&self.session, &mut running, &id, store, first).await,
                None => None,
            },
            Some(Event::Cancelled) => None,
            Some(last) => {
                let (status, text) = reply::finish(last, &id, running.who(), running.aim()).await?;
                return Ok(Reply::Json(status, text));
            }
        };
        Ok(said.map_or(Reply::Empty(StatusCode::ACCEPTED), |text| Reply::Json(StatusCode::OK, text)))
    }

    fn store(&self) -> Option<&Arc<EventStore>> {
        let open = || {
            let Ok(places) = limit::stream(&self.gateway, &self.principal) else {
                self.is_silent.set(true);
                return None;
            };
            self.places.set(places);
            let store = self.session.open_stream(&self.gateway.metrics);
            self.opened.notify_one();
            store
        };
        self.store.get_or_init(open).as_ref()
    }
}

/// Serves the messages all at once: their answers in their order, or on one stream where one of them speaks
/// before its answer.
pub async fn gather<F>(stream: &Rc<BatchStream>, parts: Vec<Bytes>, one: impl Fn(Bytes) -> F) -> Reply
where
    F: Future<Output = Option<String>> + 'static,
{
    let mut answers: Vec<Option<String>> = parts.iter().map(|_| None).collect();
    let mut running = JoinSet::new();
    for (place, part) in parts.into_iter().enumerate() {
        let serving = one(part);
        running.spawn_local(async move { (place, serving.await) });
    }
    loop {
        let done = tokio::select! {
            biased;
            () = stream.opened.notified() => break,
            done = running.join_next() => done,
        };
        match done {
            Some(Ok((place, answer))) => {
                if let Some(slot) = answers.get_mut(place) {
                    *slot = answer;
                }
            }
            // One that panicked has no answer; the others are not to blame.
            Some(Err(_)) => {}
            None => return whole(answers),
        }
    }
    let Some(store) = stream.store().cloned() else { return Reply::Empty(StatusCode::ACCEPTED) };
    let reader = store.read(&stream.session, Some(0), None);
    let instead = limit::given_up().body("");
    tokio::task::spawn_local(async move {
        while let Some(done) = running.join_next().await {
            if let Ok((place, answer)) = done
                && let Some(slot) = answers.get_mut(place)
            {
                *slot = answer;
            }
        }
        // All of them as one message: the last one of a stream is never dropped, whoever does not read.
        match list(answers) {
            Some(answers) => store.finish(answers, instead),
            None => store.end(),
        }
    });
    let places = stream.places.take();
    reader.map_or(Reply::Empty(StatusCode::ACCEPTED), |reader| Reply::Read(reader, places))
}

fn whole(answers: Vec<Option<String>>) -> Reply {
    list(answers).map_or(Reply::Empty(StatusCode::ACCEPTED), |answers| Reply::Json(StatusCode::OK, answers))
}

/// The answers in the order of their requests, as one message; `None` where no request wanted one.
fn list(answers: Vec<Option<String>>) -> Option<String> {
    let answers: Vec<_> = answers.into_iter().flatten().collect();
    (!answers.is_empty()).then(|| format!("[{}]", answers.join(",")))
}
