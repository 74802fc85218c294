//! Calls of modern clients that wait for an answer to a legacy server's question.
//!
//! A legacy server asks in the middle of a call and waits; a modern client is asked by the end of its
//! request, and brings the answer with another one. In between the call is suspended: a task of the worker
//! that started it keeps it, and the retry finds it through a channel, from whichever worker it comes.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use crate::auth::principal::Identity;
use crate::limits::budget::Charge;
use crate::limits::budget::level::{Holding, What};
use crate::limits::fair::{Places, Seat, Shares};
use crate::upstream::error::{How, UpstreamError};
use crate::upstream::message::ask::Ask;

use super::ask::unanswered;
use super::open::Open;
use super::required::{self, Entry};
use super::running::{Event, Running, draining};
use super::talk::AT_A_TIME;
use crate::pipeline::Gateway;
use crate::pipeline::record::Outcome;
use crate::pipeline::refusal::Aim;
use crate::pipeline::requester::Requester;
use crate::pipeline::state::{RequestState, ResumeToken};

/// Most suspended calls.
const MAX: usize = 1_000;
/// Most suspended calls of one principal; the oldest makes room.
const MAX_EACH: usize = 16;
/// Events that may wait for the retry's client before the call is held back.
const EVENTS: usize = 16;

/// A client that has come back.
pub struct Retry {
    /// Its answers, by the keys it was given.
    pub answers: Vec<(String, String)>,
    /// The record of the retry, which is the record of the call from now on.
    pub open: Open,
    /// Takes what the call says.
    pub events: mpsc::Sender<Event>,
}

struct Entered {
    owner: Identity,
    since: Instant,
    way: mpsc::Sender<Retry>,
    _seat: Seat,
}

/// All suspended calls.
pub struct SuspendedCalls {
    all: Mutex<HashMap<ResumeToken, Entered>>,
    places: Places,
}

impl Default for SuspendedCalls {
    fn default() -> Self {
        let places = Places::new(Shares { total: MAX, per_tenant: None, per_principal: MAX_EACH });
        Self { all: Mutex::default(), places }
    }
}

/// A call that goes on where it was suspended; what it says comes through a channel.
pub struct Resumed {
    events: mpsc::Receiver<Event>,
    gateway: Arc<Gateway>,
    who: Requester,
    aim: Aim,
    patience: Duration,
    deadline: Instant,
}

/// A suspended call as something that can be given up: its task ends as soon as its place is gone.
struct Held {
    gateway: Weak<Gateway>,
    ticket: ResumeToken,
    bytes: AtomicUsize,
}

impl Holding for Held {
    fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    fn give_up(&self) -> usize {
        let left = self.gateway.upgrade().is_some_and(|gateway| gateway.suspended.leave(self.ticket));
        if left { self.bytes() } else { 0 }
    }
}

impl SuspendedCalls {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<ResumeToken, Entered>> {
        // Every change to the map is one call, so a panic elsewhere leaves it whole.
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes room for a call: the oldest of its principal goes where there are too many. `None` when others
    /// have all of them, or the kernel has no random numbers.
    fn enter(&self, owner: Identity) -> Option<(ResumeToken, mpsc::Receiver<Retry>)> {
        let ticket = ResumeToken::draw()?;
        let (way, retries) = mpsc::channel(1);
        let mut suspended = self.lock();
        let seat = if let Ok(seat) = self.places.enter(&owner) {
            seat
        } else {
            let own = suspended.iter().filter(|(_, entered)| entered.owner == owner);
            let oldest = own.min_by_key(|(_, entered)| entered.since).map(|(ticket, _)| *ticket);
            // Its task ends as soon as its place is gone.
            drop(suspended.remove(&oldest?));
            self.places.enter(&owner).ok()?
        };
        suspended.insert(ticket, Entered { owner, since: Instant::now(), way, _seat: seat });
        Some((ticket, retries))
    }

    /// Takes a call out, for its owner only. It can be taken once.
    pub fn take(&self, ticket: ResumeToken, owner: &Identity) -> Option<mpsc::Sender<Retry>> {
        let mut suspended = self.lock();
        suspended.get(&ticket).filter(|entered| entered.owner == *owner)?;
        suspended.remove(&ticket).map(|entered| entered.way)
    }

    /// Takes a call's place away; says whether it was there.
    fn leave(&self, ticket: ResumeToken) -> bool {
        let entered = self.lock().remove(&ticket);
        entered.is_some()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.lock().len()
    }

    /// True where no call is suspended.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Suspends a call whose server has asked something, with the questions that came meanwhile; gives the result
/// that asks the client.
///
/// # Errors
/// The call, to go on: there was no room, and the server was told that nobody answers.
pub fn suspend(
    mut running: Running,
    first: Ask,
    later: &mut impl Iterator<Item = Ask>,
) -> Result<String, Box<Running>> {
    let mut asks = vec![first];
    while asks.len() < AT_A_TIME
        && let Some(more) = later.next().or_else(|| running.question())
    {
        asks.push(more);
    }
    let entries: Vec<_> = asks
        .iter()
        .enumerate()
        .map(|(place, ask)| Entry {
            key: (place + 1).to_string(),
            method: ask.method.clone(),
            params: ask.params.clone(),
        })
        .collect();
    let entered = running.gateway().suspended.enter(running.who().principal.identity().clone());
    let text = entered.as_ref().and_then(|(ticket, _)| {
        let keys = entries.iter().map(|entry| entry.key.clone()).collect();
        let state =
            running.seal(RequestState { keys, suspended: Some(*ticket), ..RequestState::default() })?;
        Some(required::write(&entries, &state))
    });
    let bytes = running.sent.len() + entries.iter().map(|entry| entry.params.len()).sum::<usize>();
    let account = running.gateway().budget.of(running.who().principal.identity());
    let charge = account.charge(What::Question, bytes).ok();
    if let Some((ticket, _)) = &entered
        && (text.is_none() || charge.is_none())
    {
        running.gateway().suspended.leave(*ticket);
    }
    let (Some((ticket, retries)), Some(text), Some(charge)) = (entered, text, charge) else {
        for ask in asks {
            let answer = unanswered(&ask.method);
            ask.answer(answer);
        }
        return Err(Box::new(running));
    };
    // This request is answered; the retry has a record of its own.
    running.open.end(Outcome::Ok, text.len(), None);
    let gateway = Arc::downgrade(running.gateway());
    let held = Arc::new(Held { gateway, ticket, bytes: AtomicUsize::new(bytes) });
    let weak = Arc::downgrade(&held);
    account.holds(weak);
    tokio::task::spawn_local(wait(running, (ticket, held, charge), asks, retries));
    Ok(text)
}

/// Keeps a call until its client comes back, and carries it on then.
async fn wait(
    mut running: Running,
    (ticket, held, mut charge): (ResumeToken, Arc<Held>, Charge),
    asks: Vec<Ask>,
    mut retries: mpsc::Receiver<Retry>,
) {
    let until = Instant::now() + running.patience();
    let phase = running.gateway().draining.subscribe();
    let draining = draining(phase);
    tokio::pin!(draining);
    let mut later = Vec::new();
    let mut last = None;
    let retry = loop {
        tokio::select! {
            biased;
            retry = retries.recv() => break retry,
            () = sleep_until(until) => break None,
            () = draining.as_mut() => break None,
            event = running.next(), if last.is_none() => match event {
                // The call bounds how many of them there are.
                Event::Ask(ask) => later.push(ask),
                Event::Notification(..) => {}
                event => {
                    let bytes = match &event {
                        Event::Result(text) | Event::Error(text) => text.len(),
                        _ => 0,
                    };
                    if charge.grow(bytes).is_err() {
                        break None;
                    }
                    held.bytes.fetch_add(bytes, Ordering::Relaxed);
                    last = Some(event);
                }
            },
        }
    };
    running.gateway().suspended.leave(ticket);
    drop(held);
    let Some(retry) = retry else {
        // Dropping the call tells the server that nobody waits.
        tracing::debug!(upstream = %running.upstream.name, "a suspended call has ended: its client did not come back, or its memory was needed");
        return;
    };
    let Retry { answers, open, events } = retry;
    running.open = open;
    for (place, ask) in asks.into_iter().enumerate() {
        let key = (place + 1).to_string();
        let given = answers.iter().find(|(name, _)| *name == key).map(|(_, answer)| Ok(answer.clone()));
        let answer = given.unwrap_or_else(|| unanswered(&ask.method));
        ask.answer(answer);
    }
    if let Some(event) = last {
        // It is over, and so is whatever it asked meanwhile.
        running.conclude(&event);
        let _ = events.send(event).await;
        return;
    }
    let mut later = later.into_iter();
    let mut waiting = later.next();
    loop {
        let event = if let Some(ask) = waiting.take() {
            Event::Ask(ask)
        } else {
            tokio::select! {
                event = running.next() => event,
                // The client of the retry has gone, which cancels the call.
                () = events.closed() => return,
            }
        };
        match event {
            Event::Ask(ask) => match suspend(running, ask, &mut later) {
                Ok(text) => {
                    let _ = events.send(Event::Result(text)).await;
                    return;
                }
                Err(call) => running = *call,
            },
            Event::Notification(..) => {
                if events.send(event).await.is_err() {
                    return;
                }
            }
            last => {
                let _ = events.send(last).await;
                return;
            }
        }
    }
}

impl Resumed {
    /// Hands a retry over to the suspended call; `None` when that has ended meanwhile.
    pub async fn hand_over(
        way: &mpsc::Sender<Retry>,
        answers: Vec<(String, String)>,
        open: Open,
        patience: Duration,
    ) -> Option<Self> {
        let (sender, events) = mpsc::channel(EVENTS);
        let (gateway, who, aim) = (Arc::clone(&open.gateway), open.who.clone(), open.aim.clone());
        way.send(Retry { answers, open, events: sender }).await.ok()?;
        Some(Self { events, gateway, who, aim, patience, deadline: Instant::now() + patience })
    }

    /// The next thing that happens; see [`Running::next`].
    pub async fn next(&mut self) -> Event {
        let event = self.events.recv().await;
        self.deadline = Instant::now() + self.patience;
        event.unwrap_or_else(|| {
            Event::Failed(UpstreamError::Ended {
                upstream: self.aim.upstream.as_deref().unwrap_or_default().to_owned(),
                how: How::plain("with the worker that it ran on"),
                remedy: String::new(),
            })
        })
    }

    /// The gateway that runs the call.
    pub fn gateway(&self) -> &Arc<Gateway> {
        &self.gateway
    }

    /// The sender of the retry.
    pub fn who(&self) -> &Requester {
        &self.who
    }

    /// The upstream, the method and the target of the call.
    pub fn aim(&self) -> &Aim {
        &self.aim
    }

    /// Until when its client may leave an event untaken.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::principal::Principal;

    fn identity(subject: &str) -> Identity {
        Principal::named(subject, None).identity().clone()
    }

    #[test]
    fn a_call_is_taken_once_and_by_its_owner() {
        let suspended = SuspendedCalls::default();
        let alice = identity("alice");
        let (ticket, _retries) = suspended.enter(alice.clone()).expect("room");
        assert!(suspended.take(ticket, &identity("mallory")).is_none());
        assert!(suspended.take(ticket, &alice).is_some());
        assert!(suspended.take(ticket, &alice).is_none() && suspended.is_empty());
    }

    #[tokio::test]
    async fn the_oldest_of_a_principal_makes_room_and_nobody_elses_does() {
        let suspended = SuspendedCalls::default();
        let alice = identity("alice");
        let (_, mut first) = suspended.enter(alice.clone()).expect("room");
        let mut all = Vec::new();
        for _ in 1..=MAX_EACH {
            all.push(suspended.enter(alice.clone()).expect("room"));
        }
        assert_eq!(suspended.len(), MAX_EACH);
        assert!(first.recv().await.is_none(), "the oldest has ended");
        for number in 0.. {
            if suspended.len() == MAX {
                break;
            }
            all.push(suspended.enter(identity(&number.to_string())).expect("room"));
        }
        assert!(suspended.enter(identity("mallory")).is_none());
        assert!(suspended.enter(alice).is_some());
        assert_eq!(suspended.len(), MAX);
    }
}
