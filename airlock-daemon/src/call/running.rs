//! A call under way: the upstream's answer becomes the client's, and the upstream's questions go out and come
//! back.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::mcp::capability::Capability;
use crate::mcp::client::ClientCapability;
use crate::mcp::object::Object;
use crate::mcp::param_header::Mirrored;
use crate::mcp::revision::Era;
use crate::upstream::era::driver;
use crate::upstream::error::UpstreamError;
use crate::upstream::message::ask::{Answered, Ask};
use crate::upstream::message::reply::Reply;
use crate::upstream::pool::Upstream;
use crate::upstream::transport::handle::Pending;

use super::event::Event;
use super::means::Means;
use super::open::{Open, failed};
use super::sifted::SiftedKind;
use super::talk::{ClientQuestion, Talk};
use super::written::{Answer, Said, Shape, Writer, Writing};
use super::{rewrite, tasks, written};
use crate::pipeline::handle::task::Ids;
use crate::pipeline::methods::kind::{Call, Tasks, offered};
use crate::pipeline::record::Outcome;
use crate::pipeline::refusal::Aim;
use crate::pipeline::request::requester::Requester;
use crate::pipeline::request::state::{RequestState, Scope};
use crate::pipeline::{Gateway, mirror};
use crate::redaction::Found;
use crate::stops::Halt;

/// The notification by which a server reports how far it is.
const PROGRESS: &str = "notifications/progress";

/// A call that was let through and is under way.
pub struct Running {
    pub(super) open: Open,
    pub(super) kind: &'static Call,
    pub(super) merged: bool,
    pub(super) upstream: Arc<Upstream>,
    pub(super) pending: Pending,
    /// The end of it by an operator.
    pub(super) halt: Halt,
    /// The client's progress token.
    pub(super) token: Option<String>,
    /// The time by which the upstream must have answered, or have reported progress; moved on by the time
    /// that the client took.
    pub(super) deadline: Instant,
    /// The time by which it must have answered in any case; moved on likewise.
    pub(super) at_most: Instant,
    pub(super) era: Era,
    pub(super) shape: Shape,
    /// The means that the client has while it runs.
    pub(super) means: Means,
    /// The parameters that the upstream got.
    pub(super) sent: String,
    /// The headers in which arguments were repeated for it.
    pub(super) mirrored: Mirrored,
    /// The questions in the course of the call; most calls have none.
    pub(super) talk: Option<Box<Talk>>,
    pub(super) rounds: u8,
    /// A long result that is being read.
    pub(super) writing: Option<JoinHandle<written::Outcome>>,
}

enum CallStep {
    Reply(Option<Reply>),
    /// A long result was read.
    Written(written::Outcome),
    Late,
    Cancelled,
    Answered(ClientQuestion, Option<Answered>),
    /// Nobody answers any more: all of the questions, or those that have waited too long.
    Unanswered(bool),
}

/// Waits until the process drains.
pub async fn draining(mut phase: watch::Receiver<bool>) {
    // The sender lives as long as the gateway; its end means the same.
    let _ = phase.wait_for(|draining| *draining).await;
}

impl Running {
    /// The next thing that happens; after anything but a notification or a question the call has ended.
    /// Nothing is lost when this is dropped while it waits for the upstream or the client.
    pub async fn next(&mut self) -> Event {
        loop {
            if let Some(event) = self.next_until(None).await {
                return event;
            }
        }
    }

    /// The same; `None` where nothing happens until then. Nothing is lost by it.
    pub async fn next_until(&mut self, until: Option<Instant>) -> Option<Event> {
        let mut halt = self.halt.clone();
        tokio::select! {
            biased;
            order = halt.reached() => {
                // At once: the answer may wait for its client.
                self.pending.give_up();
                let event = Event::Stopped(order);
                self.conclude(&event);
                Some(event)
            }
            event = self.undisturbed(until) => event,
        }
    }

    /// The next thing that happens where no operator stops the call.
    async fn undisturbed(&mut self, until: Option<Instant>) -> Option<Event> {
        loop {
            if let Some(ask) = self.question() {
                return Some(Event::Ask(ask));
            }
            let step = match until {
                // A step that has not come yet is waited for again.
                Some(until) => timeout_at(until, self.step()).await.ok()?,
                None => self.step().await,
            };
            let event = match step {
                CallStep::Cancelled => Some(Event::Cancelled),
                CallStep::Late => Some(Event::Failed(self.late())),
                CallStep::Reply(None) => Some(Event::Failed(self.upstream.ended(&self.pending.ending()))),
                CallStep::Reply(Some(Reply::Result(result))) => self.said(Answer::Result(result)).await,
                CallStep::Written(outcome) => self.written(outcome).await,
                CallStep::Reply(Some(Reply::Error(error))) => self.said(Answer::Error(error)).await,
                CallStep::Reply(Some(Reply::Ask(ask))) => {
                    self.asked(ask).await;
                    None
                }
                CallStep::Reply(Some(Reply::Notification(method, params))) => {
                    self.puts_off(&method);
                    let Ok(params) = self.open.sift(SiftedKind::Notification, params).await else { continue };
                    if let Some(notification) = self.heard(method, params) {
                        return Some(notification);
                    }
                    None
                }
                CallStep::Answered(question, answered) => self.answered(question, answered).await,
                CallStep::Unanswered(all) => self.unanswered(all).await,
            };
            if let Some(event) = event {
                self.conclude(&event);
                return Some(event);
            }
        }
    }

    /// Progress begins the deadline anew, up to a point; the link lets through no progress but that of this
    /// call.
    fn puts_off(&mut self, method: &str) {
        if method == PROGRESS {
            let put_off = (Instant::now() + self.upstream.timeout).min(self.at_most);
            self.deadline = self.deadline.max(put_off);
        }
    }

    pub(super) fn late(&self) -> UpstreamError {
        if self.deadline >= self.at_most {
            self.upstream.late_in_all(self.kind.method)
        } else {
            self.upstream.late(self.kind.method)
        }
    }

    /// A question that is to go to the client; [`Running::next`] gives them out too.
    pub fn question(&mut self) -> Option<Ask> {
        self.talk.as_mut().and_then(|talk| talk.outgoing())
    }

    async fn step(&mut self) -> CallStep {
        if let Some(writing) = &mut self.writing {
            let lost = |_| (Err("its result could not be read".to_owned()), Found::default());
            let outcome = writing.await.unwrap_or_else(lost);
            self.writing = None;
            return CallStep::Written(outcome);
        }
        let told = self.means.cancelled();
        let Some((talk, until)) = self.talk.as_mut().and_then(|talk| talk.until().map(|until| (talk, until)))
        else {
            return tokio::select! {
                reply = timeout_at(self.deadline, self.pending.next()) => reply.map_or(CallStep::Late, CallStep::Reply),
                () = told => CallStep::Cancelled,
            };
        };
        let asks_again = talk.round.is_some();
        let phase = self.open.gateway.draining.subscribe();
        tokio::select! {
            reply = self.pending.next(), if !asks_again => CallStep::Reply(reply),
            (question, answered) = talk.next() => CallStep::Answered(question, answered),
            () = told => CallStep::Cancelled,
            () = sleep_until(until) => CallStep::Unanswered(false),
            () = draining(phase) => CallStep::Unanswered(true),
        }
    }

    /// Records how the call ended, the first time.
    pub(super) fn conclude(&mut self, event: &Event) {
        match event {
            Event::Result(text) => self.open.end(Outcome::Ok, text.len(), None),
            Event::Error(text) => self.open.end(Outcome::Error, text.len(), None),
            Event::Failed(error) => self.open.end(failed(error), 0, Some(error)),
            Event::Cancelled | Event::Stopped(_) => self.open.end(Outcome::Cancelled, 0, None),
            Event::Notification(..) | Event::Ask(_) => {}
        }
    }

    /// The part of a notification that the client hears.
    fn heard(&self, method: String, params: String) -> Option<Event> {
        match method.as_str() {
            PROGRESS => self.named(method, driver::restore_token(&params, self.token.as_deref())?),
            "notifications/message" if self.open.who.hears(&params) => self.named(method, params),
            _ => None,
        }
    }

    /// A notification with the client's names of tasks; `None` when it is about one that is not the client's.
    fn named(&self, method: String, params: String) -> Option<Event> {
        let params = match self.ids() {
            Some(ids) => ids.said(&method, params).ok()?,
            None => params,
        };
        Some(Event::Notification(method, params))
    }

    /// The upstream's error, by the names of the endpoint.
    async fn refused(&self, error: String) -> Event {
        mirror::refused(&self.upstream, &error);
        if let Some(event) = self.sends_away(&error).await {
            return event;
        }
        Event::Error(if self.merged {
            rewrite::error(&self.upstream.name, self.kind.uris, error)
        } else {
            error
        })
    }

    /// An answer: the end, or a modern server's questions. A long one is read meanwhile, and comes with a
    /// later step.
    pub(super) async fn said(&mut self, answer: Answer) -> Option<Event> {
        let writer = Writer {
            gateway: &self.open.gateway,
            sieve: self.open.sieve.as_ref(),
            who: &self.open.who,
            upstream: &self.upstream,
            kind: self.kind,
            merged: self.merged,
            names_tasks: self.names_tasks(),
            era: self.era,
            shape: self.shape,
        };
        match writer.write(answer) {
            Writing::Done(outcome) => self.written(outcome).await,
            Writing::Apart(writing) => {
                self.writing = Some(writing);
                None
            }
        }
    }

    async fn written(&mut self, (outcome, found): written::Outcome) -> Option<Event> {
        self.open.found.add(found);
        match outcome {
            Ok(Said::Result(text)) => {
                if let Some(ids) = self.ids().filter(|_| self.kind.tasks == Tasks::Created) {
                    tasks::keep(&self.open, &ids, &self.upstream, &self.halt, &text);
                }
                Some(Event::Result(text))
            }
            Ok(Said::Error(error)) => Some(self.refused(error).await),
            Ok(Said::Barred(barred)) => Some(Event::Error(self.open.instead(&barred))),
            Ok(Said::Asks(required)) => self.required(required).await,
            Ok(Said::TaskAsks(result, questions)) => self.task_asks(result, &questions).await,
            Err(detail) => Some(self.wrong(detail)),
        }
    }

    pub(super) fn wrong(&self, detail: impl Into<String>) -> Event {
        let upstream = self.upstream.name.to_string();
        Event::Failed(UpstreamError::Protocol { upstream, detail: detail.into() })
    }

    /// Seals what a modern client is to bring back for this call.
    pub(super) fn seal(&self, state: RequestState) -> Option<String> {
        let params = Object::parse(&self.sent).ok()?;
        let subject = self.kind.subject(&params).ok()?;
        let endpoint = if self.merged { "/mcp".to_owned() } else { format!("/mcp/{}", self.upstream.name) };
        let scope = Scope {
            endpoint: &endpoint,
            upstream: &self.upstream.name,
            method: self.kind.method,
            target: subject.as_ref().map_or("", |subject| &subject.name),
            arguments: self.kind.arguments(&params).ok()?.map_or("{}", |arguments| arguments.get()),
        };
        state.seal(&self.open.gateway, &self.open.who, &scope, self.patience())
    }

    /// How long a client may take to answer.
    pub(super) fn patience(&self) -> Duration {
        self.open.gateway.config.server.timeouts.input.0
    }

    /// How tasks are named in what the server says, where it has any for this client.
    pub fn ids(&self) -> Option<Ids<'_>> {
        let who = &self.open.who;
        self.names_tasks()
            .then(|| Ids::new(&self.open.gateway.sealer, &who.principal, &self.upstream.name, self.merged))
    }

    /// True where the server may name tasks to this client.
    fn names_tasks(&self) -> bool {
        let who = &self.open.who;
        self.kind.tasks == Tasks::Itself
            || who.capabilities.has(ClientCapability::Tasks)
            || self
                .upstream
                .facts_for(who.revision.era())
                .is_some_and(|facts| offered(Capability::Tasks, &facts, who.revision))
    }

    /// The gateway that runs the call.
    pub fn gateway(&self) -> &Arc<Gateway> {
        &self.open.gateway
    }

    /// The sender of the call.
    pub fn who(&self) -> &Requester {
        &self.open.who
    }

    /// The upstream, the method and the target of the call.
    pub fn aim(&self) -> &Aim {
        &self.open.aim
    }

    /// When the call ends at the latest, if its client is not asked anything.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }
}
