//! The reader of one link: answers go to their calls, everything else to whom it concerns.

mod unfit;

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Instant;

use serde_json::value::RawValue;
use tokio::sync::mpsc;

use crate::limits::budget::level::Exhausted;
use crate::mcp::error::code;
use crate::mcp::message::Incoming;
use crate::mcp::object::Object;
use crate::mcp::{jsonrpc, message};
use crate::runtime::apart::{LONG, apart};
use crate::runtime::pacer::Pacer;
use crate::runtime::stream::ReadHalf;

use super::super::flood::{Flood, Verdict};
use super::super::frame::{Line, Lines};
use super::super::intake::Intake;
use super::super::long::{self, Owned};
use super::passing::{Envelope, Passing};
use super::shared::{Command, LinkShared, Waiting};
use crate::mcp::meta::META_SUBSCRIPTION;
use crate::upstream::error::UpstreamError;
use crate::upstream::hub::Hub;
use crate::upstream::message::asks::{Asks, ServerQuestion, Taken};
use crate::upstream::message::reply::{MAX_NOTIFICATION, Reply, Takes, number, progress_of};

/// Most characters of a line that is no message that are kept and shown.
const SHOWN: usize = 120;

/// A message this many times as long as any may be has no end.
const ENDLESS: usize = 16;

/// The reader of one link.
pub(super) struct Reading {
    pub(super) upstream: Arc<str>,
    pub(super) waiting: Waiting,
    pub(super) shared: Arc<LinkShared>,
    pub(super) asks: Arc<Asks>,
    pub(super) hub: Arc<Hub>,
    pub(super) server: mpsc::WeakSender<Command>,
    pub(super) limit: usize,
}

/// The owner of what a server says without naming a call.
enum Addressee {
    Call(mpsc::Sender<Reply>),
    /// Calls of several principals are in flight, and it may be any one's.
    Unknown,
    /// No call is in flight.
    Nobody,
}

/// How a message counts among those that nobody asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Counts {
    /// Somebody waits for it: not at all.
    Not,
    /// An answer for which nobody waits any more, which is no fault of the server's: as one, however long it
    /// is.
    Once,
    /// Nobody asked for it: by its length.
    ByLength,
}

impl Reading {
    pub(super) async fn run(&self, mut reader: ReadHalf) -> String {
        let mut lines = Lines::default();
        let mut flood = Flood::new(Instant::now());
        let mut pacer = Pacer::default();
        let mut passing: Option<(Passing, String)> = None;
        let mut intake = Intake::new(self.hub.account.as_ref());
        let mut exhausted = None;
        loop {
            match reader.read(lines.buffer()).await {
                Ok(0) => return String::new(),
                Ok(_) => {}
                // A server that ends with unread messages resets its socket, behind all that it has said: it
                // is an end as any other, and how the server ended says more.
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return String::new(),
                Err(error) => return format!("its output cannot be read: {error}"),
            }
            // A message for which there is no room is passed over as one that is too long.
            let mut limit = self.limit;
            if let Err(share) = intake.hold(lines.held()) {
                limit = limit.min(lines.held().saturating_sub(1));
                exhausted = Some(share);
            } else if passing.is_none() {
                exhausted = None;
            }
            while let Some(line) = lines.next(limit) {
                let (counts, bytes) = match line {
                    Line::Whole(line) if line.len() >= LONG => {
                        (self.long(vec![line.to_vec()]).await, line.len())
                    }
                    Line::Whole(line) => (self.message(line), line.len()),
                    Line::Long(parts) => {
                        let bytes = parts.iter().map(Vec::len).sum();
                        (self.long(parts).await, bytes)
                    }
                    Line::Piece(piece, is_last) => {
                        let (message, shown) =
                            passing.get_or_insert_with(|| (Passing::default(), beginning(piece)));
                        message.feed(piece);
                        let bytes = message.length();
                        if bytes / ENDLESS > self.limit {
                            return format!("it sent a message of more than {bytes} bytes");
                        }
                        let mut counts = Counts::Not;
                        if is_last {
                            counts = self.outsize(message, shown, exhausted.take());
                            passing = None;
                        }
                        (counts, bytes)
                    }
                };
                if counts != Counts::Not {
                    let bytes = if counts == Counts::ByLength { bytes } else { 0 };
                    match flood.one_more(Instant::now(), bytes) {
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
            // Less is held than before, which finds room.
            let _ = intake.hold(lines.held());
            pacer.breathe().await;
        }
    }

    /// Does what can be done about a message that is too long, or finds no room; says how it counts. The call
    /// that it answers fails, and no other.
    fn outsize(&self, passed: &Passing, shown: &str, exhausted: Option<Exhausted>) -> Counts {
        let error = || match exhausted {
            Some(exhausted) => UpstreamError::NoRoom { upstream: self.upstream.to_string(), exhausted },
            None => UpstreamError::too_large(&self.upstream, self.limit),
        };
        match passed.envelope() {
            Envelope::Answer(id) => {
                let waiter = self.waiting.borrow_mut().remove(&id);
                let Some(waiter) = waiter else { return Counts::Once };
                // Let go with this set, the call reads it.
                let _ = waiter.failure.set(error());
                Counts::Not
            }
            Envelope::Request(id) => {
                tracing::warn!(upstream = %self.upstream, bytes = passed.length(),
                    "a request of the server's is larger than `server.max_response_bytes` and was refused");
                let (code, limit) = (code::INVALID_REQUEST, self.limit);
                let fault = jsonrpc::fault(code, &format!("the request is larger than {limit} bytes"));
                let text = jsonrpc::error(id, &fault);
                if let Some(commands) = self.server.upgrade() {
                    let _ = commands.try_send(Command::Notify(text));
                }
                Counts::ByLength
            }
            Envelope::Other => {
                self.rubbish(shown, "it is larger than `server.max_response_bytes`");
                Counts::ByLength
            }
        }
    }

    /// Takes in a long message, of which these are the parts; says how it counts. It is read by a thread that
    /// nobody else waits for.
    async fn long(&self, parts: Vec<Vec<u8>>) -> Counts {
        let reading = apart(move || {
            let line = parts.concat();
            drop(parts);
            Owned::parse(&line).map_err(|reason| (beginning(&line), reason))
        });
        match reading.await {
            Ok(Ok(Owned::Answer { id, outcome: Ok(result) })) => {
                self.answered(id, Reply::Result(long::text(result)))
            }
            Ok(Ok(Owned::Answer { id, outcome: Err(error) })) => {
                self.answered(id, Reply::Error(long::text(error)))
            }
            Ok(Ok(message)) => self.take(message.borrowed()),
            Ok(Err((shown, reason))) => {
                self.rubbish(&shown, &reason);
                Counts::ByLength
            }
            // A message that is no answer for sure is rubbish.
            Err(_) => Counts::ByLength,
        }
    }

    fn awaits_list(&self, id: u64) -> bool {
        self.waiting.borrow().get(&id).is_some_and(|waiter| waiter.takes == Takes::List)
    }

    /// Hands an answer to its call; says how it counts.
    fn answered(&self, id: u64, reply: Reply) -> Counts {
        let waiter = self.waiting.borrow_mut().remove(&id);
        let Some(waiter) = waiter else { return Counts::Once };
        deliver(waiter.replies, reply);
        Counts::Not
    }

    /// Takes in a line; says how it counts.
    fn message(&self, line: &[u8]) -> Counts {
        let parsed = std::str::from_utf8(line).map_err(|_| "not UTF-8".to_owned()).and_then(message::parse);
        match parsed {
            Ok(message) => self.take(message),
            Err(reason) => {
                self.rubbish(&beginning(line), &reason);
                Counts::ByLength
            }
        }
    }

    /// Takes in a message; says how it counts.
    fn take(&self, message: Incoming<'_>) -> Counts {
        match message {
            Incoming::Answer { id, outcome } => return self.answered(id, reply(outcome)),
            Incoming::TooDeep { id, outcome: Ok(list) } if self.awaits_list(id) => {
                return self.answered(id, Reply::Result(list.get().to_owned()));
            }
            Incoming::TooDeep { id, .. } => {
                tracing::warn!(upstream = %self.upstream, "an answer of the server is nested too deep and was not passed on");
                return self.answered(id, Reply::too_deep());
            }
            Incoming::Unfit { id, error, fault } => return self.unfit(id, error, &fault),
            Incoming::Notification { method, params } => {
                self.notification(&method, params.map_or("{}", |p| p.get()));
            }
            Incoming::Request { id, method, params } => {
                self.request(ServerQuestion { id, method: &method, params });
            }
        }
        Counts::ByLength
    }

    /// Keeps the beginning of a line that is no message; the first one is told.
    fn rubbish(&self, shown: &str, reason: &str) {
        if self.shared.rubbish.swap(Some(Arc::new(shown.to_owned()))).is_none() {
            tracing::warn!(upstream = %self.upstream, line = shown, reason,
                "a line on the server's standard output is not MCP and was passed over; servers must log to standard error");
        }
    }

    /// Progress goes to the call whose number it carries; the caller puts the client's token back. Log
    /// messages carry none. The rest belongs to no call: a modern server names the subscription, a legacy one
    /// nothing.
    fn notification(&self, method: &str, params: &str) {
        self.hub.hear(method);
        if params.len() > MAX_NOTIFICATION {
            tracing::debug!(upstream = %self.upstream, method, bytes = params.len(), "a notification was too long");
            return;
        }
        let is_legacy = self.shared.briefing.declared().is_some();
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

    /// The newest call that takes what names no call; none where the server has worked for several
    /// principals.
    fn addressee(&self) -> Addressee {
        let waiting = self.waiting.borrow();
        let calls = || {
            waiting.iter().filter(|(_, call)| call.takes == Takes::Everything && !call.replies.is_closed())
        };
        if self.hub.several && self.shared.briefing.is_mixed() {
            return Addressee::Unknown;
        }
        let newest = calls().max_by_key(|(id, _)| **id);
        newest.map_or(Addressee::Nobody, |(_, call)| Addressee::Call(call.replies.clone()))
    }

    /// Answers a request of the server's, or has a client answer it.
    fn request(&self, question: ServerQuestion<'_>) {
        let declared = self.shared.briefing.declared().unwrap_or_default();
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

/// The beginning of a line, to be shown.
fn beginning(line: &[u8]) -> String {
    // No character is longer than four bytes.
    let head = line.get(..4 * SHOWN).unwrap_or(line);
    String::from_utf8_lossy(head).chars().take(SHOWN).collect()
}

fn reply(outcome: Result<&RawValue, &RawValue>) -> Reply {
    match outcome {
        Ok(result) => Reply::Result(result.get().to_owned()),
        Err(error) => Reply::Error(error.get().to_owned()),
    }
}

/// The subscription that a notification of a modern server belongs to: the number of our request.
fn subscription_of(params: &str) -> Option<u64> {
    let params = Object::parse(params).ok()?;
    number(params.get("_meta")?, META_SUBSCRIPTION)
}

/// Hands over a call's last reply. A channel full of progress gets it as soon as there is room.
fn deliver(replies: mpsc::Sender<Reply>, reply: Reply) {
    if let Err(mpsc::error::TrySendError::Full(reply)) = replies.try_send(reply) {
        tokio::task::spawn_local(async move {
            let _ = replies.send(reply).await;
        });
    }
}

#[cfg(test)]
mod tests;
