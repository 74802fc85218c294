//! A call of a modern client that waits for the answer to a legacy server's question.
//!
//! A legacy server asks in the middle of a call and waits; a modern client is asked by the end of its
//! request, and brings the answer with another one. In between the call is suspended: a task of the worker
//! that started it keeps it, and its [`SuspendedCalls`] lead the retry to it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use crate::limits::budget::Charge;
use crate::limits::budget::level::What;
use crate::upstream::error::{How, UpstreamError};
use crate::upstream::message::ask::Ask;

use super::ask::unanswered;
use super::event::Event;
use super::open::Open;
use super::required::{self, Entry};
use super::running::{Running, draining};
use super::suspended::{Held, Retry, SuspendedCalls};
use super::talk::AT_A_TIME;
use crate::pipeline::Gateway;
use crate::pipeline::record::Outcome;
use crate::pipeline::refusal::Aim;
use crate::pipeline::request::requester::Requester;
use crate::pipeline::request::state::{RequestState, ResumeToken};

/// Events that may wait for the retry's client before the call is held back.
const EVENTS: usize = 16;

/// A call that goes on where it was suspended; what it says comes through a channel.
pub struct Resumed {
    events: mpsc::Receiver<Event>,
    gateway: Arc<Gateway>,
    who: Requester,
    aim: Aim,
    patience: Duration,
    deadline: Instant,
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
    let calls = running.means.suspended().map(Arc::clone);
    let owner = running.who().principal.identity().clone();
    let entered =
        calls.and_then(|calls| calls.enter(owner).map(|(ticket, retries)| (calls, ticket, retries)));
    let text = entered.as_ref().and_then(|(_, ticket, _)| {
        let keys = entries.iter().map(|entry| entry.key.clone()).collect();
        let state =
            running.seal(RequestState { keys, suspended: Some(*ticket), ..RequestState::default() })?;
        Some(required::write(&entries, &state))
    });
    let bytes = running.sent.len() + entries.iter().map(|entry| entry.params.len()).sum::<usize>();
    let account = running.gateway().budget.of(running.who().principal.identity());
    let charge = account.charge(What::Question, bytes).ok();
    if let Some((calls, ticket, _)) = &entered
        && (text.is_none() || charge.is_none())
    {
        calls.leave(*ticket);
    }
    let (Some((calls, ticket, retries)), Some(text), Some(charge)) = (entered, text, charge) else {
        for ask in asks {
            let answer = unanswered(&ask.method);
            ask.answer(answer);
        }
        return Err(Box::new(running));
    };
    // This request is answered; the retry has a record of its own.
    running.open.end(Outcome::Ok, text.len(), None);
    let held = calls.held(ticket, bytes);
    let weak = Arc::downgrade(&held);
    account.holds(weak);
    let place = SuspendedPlace { calls, ticket, held, charge };
    tokio::task::spawn_local(wait(running, place, asks, retries));
    Ok(text)
}

/// The place of a call among those that are suspended, and the memory that it has there.
struct SuspendedPlace {
    calls: Arc<SuspendedCalls>,
    ticket: ResumeToken,
    held: Arc<Held>,
    charge: Charge,
}

/// Keeps a call until its client comes back, and carries it on then.
async fn wait(
    mut running: Running,
    SuspendedPlace { calls, ticket, held, mut charge }: SuspendedPlace,
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
                // The retry would be refused as well.
                Event::Stopped(_) => break None,
                event => {
                    let bytes = match &event {
                        Event::Result(text) | Event::Error(text) => text.len(),
                        _ => 0,
                    };
                    if charge.grow(bytes).is_err() {
                        break None;
                    }
                    held.grow(bytes);
                    last = Some(event);
                }
            },
        }
    };
    calls.leave(ticket);
    drop(held);
    let Some(retry) = retry else {
        // Dropping the call tells the server that nobody waits.
        tracing::debug!(upstream = %running.upstream.name, "a suspended call has ended: its client did not come back, its memory was needed, or it is stopped");
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
