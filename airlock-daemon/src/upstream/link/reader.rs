//! The reader of one link: answers go to their calls, everything else to whom it concerns.

use std::sync::Arc;
use std::time::Instant;

use serde_json::value::RawValue;
use tokio::sync::mpsc;

use crate::mcp::message::{self, Incoming};
use crate::mcp::object::Object;
use crate::runtime::pacer::Pacer;
use crate::runtime::stream::ReadHalf;

use super::super::asks::{Asks, Question, Taken};
use super::super::driver::META_SUBSCRIPTION;
use super::super::flood::{Flood, Verdict};
use super::super::frame::Lines;
use super::super::hub::Hub;
use super::{Command, MAX_NOTIFICATION, Reply, Shared, Takes, Waiting};

/// A message from this length on is read apart, in bytes: to look through it takes longer than others should
/// wait.
const LONG: usize = 256 * 1024;

/// The reader of one link.
pub(super) struct Reading {
    pub(super) upstream: Arc<str>,
    pub(super) waiting: Waiting,
    pub(super) shared: Arc<Shared>,
    pub(super) asks: Arc<Asks>,
    pub(super) hub: Arc<Hub>,
    pub(super) server: mpsc::WeakSender<Command>,
    pub(super) limit: usize,
}

/// Whose it is what a server says without naming a call.
enum Addressee {
    Call(mpsc::Sender<Reply>),
    /// Calls of several principals are in flight, and it may be any one's.
    Unknown,
    /// No call is in flight.
    Nobody,
}

impl Reading {
    pub(super) async fn run(&self, mut reader: ReadHalf) -> String {
        let mut lines = Lines::default();
        let mut flood = Flood::new(Instant::now());
        let mut pacer = Pacer::default();
        loop {
            match reader.read(lines.buffer()).await {
                Ok(0) => return String::new(),
                Ok(_) => {}
                Err(error) => return format!("its output cannot be read: {error}"),
            }
            pacer.rest();
            loop {
                match lines.next(self.limit) {
                    Ok(None) => break,
                    Ok(Some(line)) => {
                        let was_asked_for =
                            if line.len() >= LONG { self.long(line).await } else { self.message(line) };
                        if !was_asked_for {
                            match flood.one_more(Instant::now()) {
                                Verdict::Fine => {}
                                Verdict::Slow(pause, is_first) => {
                                    if is_first {
                                        tracing::warn!(upstream = %self.upstream,
                                            "the server says more than anybody asked for, and is read more slowly");
                                    }
                                    tokio::time::sleep(pause).await;
                                }
                                Verdict::End => {
                                    let reason = Flood::reason();
                                    tracing::warn!(upstream = %self.upstream, "the server is ended: {reason}");
                                    return reason;
                                }
                            }
                        }
                        pacer.breathe().await;
                    }
                    Err(_) => {
                        return format!(
                            "it sent a message longer than {} bytes (server.max_response_bytes)",
                            self.limit
                        );
                    }
                }
            }
        }
    }

    /// Takes in a long message; says whether somebody waits for it. It is read by a thread that nobody else
    /// waits for.
    async fn long(&self, line: &[u8]) -> bool {
        let line = line.to_vec();
        let reading = tokio::task::spawn_blocking(move || {
            let parsed = std::str::from_utf8(&line).ok().and_then(|text| message::parse(text).ok());
            match parsed {
                Some(Incoming::Answer { id, outcome }) => Ok((id, reply(outcome))),
                _ => Err(line),
            }
        });
        match reading.await {
            Ok(Ok((id, reply))) => self.answered(id, reply),
            Ok(Err(line)) => self.message(&line),
            // What is no answer for sure is rubbish.
            Err(_) => false,
        }
    }

    /// Hands an answer to its call; says whether there is one.
    fn answered(&self, id: u64, reply: Reply) -> bool {
        let waiter = self.waiting.borrow_mut().remove(&id);
        waiter.map(|waiter| deliver(waiter.replies, reply)).is_some()
    }

    /// Takes in a message; says whether somebody waits for it.
    fn message(&self, line: &[u8]) -> bool {
        let parsed = std::str::from_utf8(line).map_err(|_| "not UTF-8".to_owned()).and_then(message::parse);
        match parsed {
            Ok(Incoming::Answer { id, outcome }) => return self.answered(id, reply(outcome)),
            Ok(Incoming::TooDeep { id }) => {
                tracing::warn!(upstream = %self.upstream, "an answer of the server is nested too deep and was not passed on");
                return self.answered(id, Reply::too_deep());
            }
            Ok(Incoming::Notification { method, params }) => {
                self.notification(&method, params.map_or("{}", |p| p.get()));
            }
            Ok(Incoming::Request { id, method, params }) => {
                self.request(Question { id, method: &method, params });
            }
            Err(reason) => {
                let shown: String = String::from_utf8_lossy(line).chars().take(120).collect();
                if self.shared.rubbish.swap(Some(Arc::new(shown.clone()))).is_none() {
                    tracing::warn!(upstream = %self.upstream, line = shown, reason,
                        "a line on the server's standard output is not MCP and was passed over; servers must log to standard error");
                }
            }
        }
        false
    }

    /// Progress goes to the call whose number it carries; the caller puts the client's token back. Log messages carry none.
    /// The rest belongs to no call: a modern server names the subscription, a legacy one nothing.
    fn notification(&self, method: &str, params: &str) {
        if params.len() > MAX_NOTIFICATION {
            tracing::debug!(upstream = %self.upstream, method, bytes = params.len(), "a notification was too long");
            return;
        }
        let is_legacy = self.shared.told.declared().is_some();
        let reply = || Reply::Notification(method.to_owned(), params.to_owned());
        let taken = match method {
            "notifications/progress" => {
                let waiting = self.waiting.borrow();
                progress_of(method, params)
                    .and_then(|id| waiting.get(&id))
                    .map(|waiter| waiter.replies.try_send(reply()))
                    .is_some()
            }
            "notifications/message" => match self.addressee() {
                Addressee::Call(call) => call.try_send(reply()).is_ok(),
                Addressee::Nobody if is_legacy => {
                    self.hub.publish(method, params);
                    true
                }
                Addressee::Nobody | Addressee::Unknown => false,
            },
            "notifications/cancelled" if is_legacy => {
                self.asks.cancelled(params);
                true
            }
            // A modern server ends a subscription so.
            "notifications/cancelled" => number(params, "requestId").is_some_and(|id| self.unsubscribe(id)),
            _ if is_legacy => {
                self.hub.publish(method, params);
                true
            }
            _ => self.subscribed(params, reply),
        };
        if !taken {
            tracing::debug!(upstream = %self.upstream, method, "a notification that belongs to no call was dropped");
        }
    }

    /// Hands a notification to the subscription that it names.
    fn subscribed(&self, params: &str, reply: impl FnOnce() -> Reply) -> bool {
        let waiting = self.waiting.borrow();
        let waiter = subscription_of(params).and_then(|id| waiting.get(&id));
        waiter
            .filter(|waiter| waiter.takes == Takes::Changes)
            .is_some_and(|waiter| waiter.replies.try_send(reply()).is_ok())
    }

    fn unsubscribe(&self, id: u64) -> bool {
        let mut waiting = self.waiting.borrow_mut();
        waiting.get(&id).is_some_and(|waiter| waiter.takes == Takes::Changes) && waiting.remove(&id).is_some()
    }

    /// The newest call that takes what names no call; none where the server has worked for several principals.
    fn addressee(&self) -> Addressee {
        let waiting = self.waiting.borrow();
        let calls = || {
            waiting.iter().filter(|(_, call)| call.takes == Takes::Everything && !call.replies.is_closed())
        };
        if self.hub.several && self.shared.told.is_mixed() {
            return Addressee::Unknown;
        }
        let newest = calls().max_by_key(|(id, _)| **id);
        newest.map_or(Addressee::Nobody, |(_, call)| Addressee::Call(call.replies.clone()))
    }

    /// Answers a request of the server's, or has a client answer it.
    fn request(&self, question: Question<'_>) {
        let declared = self.shared.told.declared().unwrap_or_default();
        let taken = self.asks.take(question, declared, |ask| match self.addressee() {
            Addressee::Call(call) => {
                // A call that is too busy to take it drops it, which is an answer too.
                let _ = call.try_send(Reply::Ask(ask));
                true
            }
            Addressee::Nobody => self.hub.ask(ask),
            Addressee::Unknown => false,
        });
        match taken {
            Taken::Answer(text) => {
                if let Some(commands) = self.server.upgrade() {
                    // A server that asks faster than it reads gets no answer rather than unbounded memory.
                    let _ = commands.try_send(Command::Notify(text));
                }
            }
            Taken::Waits(waiting) => {
                let server = self.server.clone();
                tokio::task::spawn_local(async move {
                    if let Some(text) = waiting.message().await
                        && let Some(commands) = server.upgrade()
                    {
                        let _ = commands.send(Command::Notify(text)).await;
                    }
                });
            }
        }
    }
}

fn reply(outcome: Result<&RawValue, &RawValue>) -> Reply {
    match outcome {
        Ok(result) => Reply::Result(result.get().to_owned()),
        Err(error) => Reply::Error(error.get().to_owned()),
    }
}

/// The call that a progress notification belongs to: our number is its token.
pub(in super::super) fn progress_of(method: &str, params: &str) -> Option<u64> {
    if method != "notifications/progress" {
        return None;
    }
    number(params, "progressToken")
}

/// The subscription that a notification of a modern server belongs to: the number of our request.
fn subscription_of(params: &str) -> Option<u64> {
    let params = Object::parse(params).ok()?;
    number(params.get("_meta")?, META_SUBSCRIPTION)
}

fn number(object: &str, member: &str) -> Option<u64> {
    Object::parse(object).ok()?.get(member)?.parse().ok()
}

/// Hands over a call's last reply. A channel full of progress gets it as soon as there is room.
fn deliver(replies: mpsc::Sender<Reply>, reply: Reply) {
    if let Err(mpsc::error::TrySendError::Full(reply)) = replies.try_send(reply) {
        tokio::task::spawn_local(async move {
            let _ = replies.send(reply).await;
        });
    }
}
