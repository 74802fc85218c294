//! Questions of a server in the course of a call: a legacy server's requests, a modern one's result that asks
//! (2026-07-28, "Multi round-trip requests"), and the error that sends a client to a URL.

use std::sync::Arc;

use serde_json::value::RawValue;
use tokio::time::timeout_at;

use crate::audit::RecordWait;
use crate::mcp::client::{ELICIT, ROOTS};
use crate::mcp::error::code;
use crate::mcp::object::Object;
use crate::mcp::revision::{Era, Revision};
use crate::mcp::{jsonrpc, strict};
use crate::pipeline::request::state::RequestState;
use crate::pipeline::{redact, tool_lock};
use crate::redaction::{Direction, Paths, Purpose, Sieve};
use crate::upstream::error::UpstreamError;
use crate::upstream::message::ask::{Answered, Ask, NO_ROOTS};
use crate::upstream::message::reply::Takes;
use crate::upstream::transport::handle::Pending;

use super::aside::{self, Aside};
use super::ask::Unasked;
use super::event::Event;
use super::required::{Entry, ROUNDS, Required};
use super::running::Running;
use super::sifted::{self, SiftedKind};
use super::talk::{ClientQuestion, Round, To};
use super::written::Answer;
use super::{ask, required};

/// The code of the error that sends a client to a URL, as written.
const URL_REQUIRED: &str = "-32042";

impl Running {
    /// The error by which a legacy server sends a client to a URL (2025-11-25, "URL mode elicitation"): a
    /// question like any other, in the words of one revision.
    pub(super) async fn sends_away(&self, error: &str) -> Option<Event> {
        let says = |error: &Object<'_>| error.get("code") == Some(URL_REQUIRED);
        if !error.contains(URL_REQUIRED) || !Object::parse(error).is_ok_and(|error| says(&error)) {
            return None;
        }
        if self.open.who.revision == Revision::V20251125 && self.may_send_away(error).await.is_some() {
            return None;
        }
        let reason = "the server needs an answer that cannot be asked for here";
        Some(Event::Error(jsonrpc::fault(code::INTERNAL_ERROR, reason)))
    }

    /// All URLs of such an error may be asked for, as they are.
    async fn may_send_away(&self, error: &str) -> Option<()> {
        let error = Object::parse(error).ok()?;
        let data = Object::parse(error.get("data")?).ok()?.get("elicitations")?.to_owned();
        let asked: Vec<&RawValue> = serde_json::from_str(&data).ok()?;
        strict::check(&data).ok()?;
        let mut wait = RecordWait::default();
        for one in asked {
            let obliged = self.may_ask((ELICIT, one.get()), &mut wait).await.ok()?;
            self.is_clean(&obliged, one.get()).then_some(())?;
        }
        Some(())
    }

    /// Checks a question of the server's and records it; see [`ask::check`].
    async fn may_ask(&self, question: (&str, &str), wait: &mut RecordWait) -> Result<Vec<Arc<str>>, Unasked> {
        ask::check(&self.open.gateway, &self.open.who, &self.upstream, question, wait).await
    }

    /// Takes a task that asks: its end is written once all its questions may be asked.
    pub(super) async fn task_asks(&mut self, result: String, questions: &[Entry]) -> Option<Event> {
        let (mut obliged, mut wait) = (Vec::new(), RecordWait::default());
        for Entry { method, params, .. } in questions {
            match self.may_ask((method, params), &mut wait).await {
                Ok(more) => obliged.extend(more),
                Err(_) => return Some(self.wrong("its task asks the client what may not be asked here")),
            }
        }
        Box::pin(self.said(Answer::Checked(result, obliged))).await
    }

    /// Takes a modern server's questions: those that Airlock answers itself, or the policy for the client,
    /// are left out of what the client gets.
    pub(super) async fn required(&mut self, required: Required) -> Option<Event> {
        let Required { entries: asked, state } = required;
        let mut round = Round { answers: Vec::new(), state };
        let mut entries = Vec::with_capacity(asked.len());
        let mut wait = RecordWait::default();
        for mut entry in asked {
            if entry.method == ROOTS {
                round.answers.push((entry.key, NO_ROOTS.to_owned()));
                continue;
            }
            let unasked = match self.may_ask((&entry.method, &entry.params), &mut wait).await {
                Ok(obliged) => match self.obliged(&obliged, entry.params).await {
                    Some(params) => {
                        entry.params = params;
                        entries.push(entry);
                        continue;
                    }
                    None => ask::unanswered(&entry.method),
                },
                Err(refused @ Unasked::Refused(_)) => refused.answer(&entry.method),
                Err(Unasked::NotDeclared | Unasked::Malformed(_)) => {
                    let detail =
                        "it asks for something that the client has not declared, or that is no question";
                    return Some(self.wrong(detail));
                }
            };
            match unasked {
                Ok(answer) => round.answers.push((entry.key, answer)),
                Err(error) => return Some(Event::Error(error)),
            }
        }
        if entries.is_empty() && !(round.answers.is_empty() && self.open.who.revision.era() == Era::Modern) {
            return self.again(round).await;
        }
        if self.open.who.revision.era() == Era::Modern {
            let keys = entries.iter().map(|entry| entry.key.clone()).collect();
            let state = RequestState {
                keys,
                upstream: round.state,
                answered: round.answers,
                ..RequestState::default()
            };
            return Some(match self.seal(state) {
                Some(state) => Event::Result(required::write(&entries, &state)),
                None => self.wrong("its requestState is too long"),
            });
        }
        let patience = self.patience();
        let talk = self.talk.get_or_insert_default();
        for Entry { key, method, params } in entries {
            // A round is bounded, and no question of another one is open.
            let _ = talk.ask(To::Round(key), &method, &params, patience);
        }
        talk.round = Some(round);
        None
    }

    /// A legacy server asks.
    pub(super) async fn asked(&mut self, mut asked: Ask) {
        let Ok(params) = self.open.sift(SiftedKind::Plain, std::mem::take(&mut asked.params)).await else {
            let answer = ask::unanswered(&asked.method);
            return asked.answer(answer);
        };
        asked.params = params;
        let question = (asked.method.as_str(), asked.params.as_str());
        match self.may_ask(question, &mut RecordWait::default()).await {
            Ok(obliged) => {
                let method = asked.method.clone();
                let Some(params) = self.obliged(&obliged, std::mem::take(&mut asked.params)).await else {
                    return asked.answer(ask::unanswered(&method));
                };
                asked.params.clone_from(&params);
                let asked = self.answered_as(&obliged, asked).await;
                let named = self.ids().map_or(Ok(params.clone()), |ids| ids.said(&method, params));
                let Ok(params) = named else { return asked.answer(ask::unanswered(&method)) };
                let patience = self.patience();
                let talk = self.talk.get_or_insert_default();
                if let Err(To::Server(asked)) = talk.ask(To::Server(asked), &method, &params, patience) {
                    asked.answer(ask::unanswered(&method));
                }
            }
            Err(unasked) => {
                let answer = unasked.answer(&asked.method);
                asked.answer(answer);
            }
        }
    }

    /// A question's parameters once more, with the redaction that the policy obliges to for it; none where
    /// they may not pass so.
    async fn obliged(&mut self, obliged: &[Arc<str>], params: String) -> Option<String> {
        let sieve = self.more(obliged).await;
        sifted::message(sieve.as_ref(), SiftedKind::Plain, params, &mut self.open.found).await.ok()
    }

    /// A question whose answer is redacted as the policy obliges to for the question.
    async fn answered_as(&self, obliged: &[Arc<str>], asked: Ask) -> Ask {
        let sieve = self.more(obliged).await;
        aside::answered(sieve, asked, (&self.open.gateway, &self.open.who, &self.upstream))
    }

    /// Looks through what the policy obliges to more than the call; none where it does not.
    async fn more(&self, obliged: &[Arc<str>]) -> Option<Arc<Sieve>> {
        if obliged.is_empty() {
            return None;
        }
        let (gateway, who) = (&self.open.gateway, &self.open.who);
        Aside::to(gateway, who, &self.upstream, self.kind.method).sieve(obliged).await
    }

    /// True for parameters in which nothing is found that the policy obliges to redact.
    fn is_clean(&self, obliged: &[Arc<str>], params: &str) -> bool {
        let purpose = Purpose { upstream: &self.upstream.name, tool: None, obliged };
        let redaction = &self.open.gateway.redaction;
        let sieve = redaction.sieve(&self.open.who.principal, purpose).filter(|_| !obliged.is_empty());
        sieve.is_none_or(|sieve| {
            let sifted = sieve.sift(Direction::Response, params, Paths::default());
            sifted.is_ok_and(|sifted| sifted.text.is_none())
        })
    }

    /// The client has answered, or nobody will.
    pub(super) async fn answered(
        &mut self,
        question: ClientQuestion,
        answered: Option<Answered>,
    ) -> Option<Event> {
        let answered = match answered {
            Some(answered) => self.may_pass(answered).await,
            None => None,
        };
        let answered = answered.unwrap_or_else(|| ask::unanswered(&question.method));
        match (question.to, answered) {
            (To::Server(ask), answered) => {
                let answered = self.brought(answered);
                ask.answer(answered.unwrap_or_else(|| ask::unanswered(&question.method)));
            }
            (To::Round(key), Ok(answer)) => {
                if let Some(round) = self.talk.as_mut().and_then(|talk| talk.round.as_mut()) {
                    round.answers.push((key, answer));
                }
            }
            // A modern server knows answers only: without one there is nothing to go on with.
            (To::Round(_), Err(error)) => return Some(Event::Error(error)),
        }
        let talk = self.talk.as_mut()?;
        let rested = talk.rested();
        self.deadline += rested;
        self.at_most += rested;
        if !talk.is_quiet() {
            return None;
        }
        let round = talk.round.take()?;
        self.again(round).await
    }

    /// An answer as the server may have it; `None` where it may not. Answers that a modern client brings
    /// back were looked through with its request.
    async fn may_pass(&mut self, answered: Answered) -> Option<Answered> {
        let Some(sieve) = &self.open.sieve else { return Some(answered) };
        let (answered, found) = redact::answered(sieve, answered).await.ok()?;
        self.open.found.add(found);
        Some(answered)
    }

    /// An answer by the server's own names of tasks; `None` where it names one that is not the client's.
    fn brought(&self, answered: Answered) -> Option<Answered> {
        match (self.ids(), answered) {
            (Some(ids), Ok(answer)) => {
                let mut object = Object::parse(&answer).ok()?;
                ids.brought(&mut object).ok()?;
                Some(Ok(object.write()))
            }
            (_, answered) => Some(answered),
        }
    }

    pub(super) async fn unanswered(&mut self, all: bool) -> Option<Event> {
        let overdue = self.talk.as_mut().map(|talk| talk.overdue(all)).unwrap_or_default();
        for question in overdue {
            if let Some(event) = self.answered(question, None).await {
                return Some(event);
            }
        }
        None
    }

    /// Sends the request once more, with what was answered.
    async fn again(&mut self, round: Round) -> Option<Event> {
        if self.rounds >= ROUNDS {
            return Some(self.wrong(format!("it asks for input more than {ROUNDS} times in one call")));
        }
        self.rounds += 1;
        let sent = {
            let Ok(mut params) = Object::parse(&self.sent) else {
                return Some(self.wrong("its request cannot be sent again"));
            };
            required::answer(&mut params, &round.answers, round.state.as_deref());
            params.write()
        };
        let resent = timeout_at(self.deadline, self.resend(&sent)).await;
        match resent.unwrap_or_else(|_| Err(self.late())) {
            Ok(pending) => self.pending = pending,
            Err(error) => return Some(Event::Failed(error)),
        }
        None
    }

    async fn resend(&self, sent: &str) -> Result<Pending, UpstreamError> {
        let (link, facts) = self.upstream.link(&self.open.who.caller()).await?;
        if facts.era != Era::Modern {
            let detail = "it changed its era in the middle of a call".to_owned();
            return Err(UpstreamError::Protocol { upstream: self.upstream.name.to_string(), detail });
        }
        Box::pin(self.looked_at(sent)).await?;
        let write = |id: u64| jsonrpc::request(id, self.kind.method, &numbered(sent, id));
        let pending = link.request_mirrored(Takes::Everything, self.mirrored.clone(), write).await;
        pending.ok_or_else(|| self.upstream.ended(&link.ending()))
    }
}

impl Running {
    /// Looks at the target of a call that goes on where nothing is known of it: its server may have been
    /// started anew since it asked, and may be another by now.
    async fn looked_at(&self, sent: &str) -> Result<(), UpstreamError> {
        let params = Object::parse(sent).ok();
        let target = params.and_then(|params| self.kind.subject(&params).ok()?);
        let own = target.as_ref().map(|target| (target.noun, &*target.name));
        let (upstream, who, method) = (&self.upstream, &self.open.who, self.kind.method);
        if tool_lock::is_unseen(upstream, who, method, own)
            && tool_lock::look(upstream, who, method, own).await?.is_err()
        {
            let detail = "it is not what it was when it asked, and its target is held back".to_owned();
            return Err(UpstreamError::Protocol { upstream: upstream.name.to_string(), detail });
        }
        Ok(())
    }
}

/// The parameters with our number as progress token, where they have one.
fn numbered(sent: &str, id: u64) -> String {
    let renumber = || {
        let mut params = Object::parse(sent).ok()?;
        let meta = params.get("_meta")?.to_owned();
        let mut meta = Object::parse(&meta).ok()?;
        meta.get("progressToken")?;
        meta.set("progressToken", id.to_string());
        params.set("_meta", meta.write());
        Some(params.write())
    };
    renumber().unwrap_or_else(|| sent.to_owned())
}
