//! A server's result in the words of its client: resources and tasks by the endpoint's names, the rest by the
//! client's era.

use std::sync::Arc;

use tokio::task::JoinHandle;

use crate::mcp::object::Object;
use crate::mcp::revision::Era;
use crate::upstream::pool::Upstream;

use super::required::{Entry, Required};
use super::sifted::SiftedKind;
use super::{required, rewrite, sifted};
use crate::pipeline::Gateway;
use crate::pipeline::handle::task::Ids;
use crate::pipeline::methods::kind::{Call, Tasks};
use crate::pipeline::request::requester::Requester;
use crate::pipeline::request::state::may_ask;
use crate::redaction::{Barred, Found, Purpose, Sieve};
use crate::runtime::apart::{LONG, apart};

/// The end of a call as its server says it.
pub(super) enum Answer {
    /// A result.
    Result(String),
    /// A task that asks, by the endpoint's names, and what the policy obliges to for its questions, which
    /// may be asked.
    Checked(String, Vec<Arc<str>>),
    /// An error object.
    Error(String),
}

/// The kind of an answer: the end of the call, or questions.
pub(super) enum Said {
    /// The end of the call, in the client's words.
    Result(String),
    /// The server's error object.
    Error(String),
    /// A modern server's questions.
    Asks(Required),
    /// A task that asks, by the endpoint's names, and its questions, which are still to be checked.
    TaskAsks(String, Vec<Entry>),
    /// It may not pass.
    Barred(Barred),
}

/// An answer, or why there is none, for the operator; and what detectors have found in it.
pub(super) type Outcome = (Result<Said, String>, Found);

/// An answer that is there at once, or is being written.
pub(super) enum Writing {
    Done(Outcome),
    Apart(JoinHandle<Outcome>),
}

/// Whose result it is, and for whom.
#[derive(Clone, Copy)]
pub(super) struct Writer<'a> {
    pub(super) gateway: &'a Arc<Gateway>,
    pub(super) sieve: Option<&'a Arc<Sieve>>,
    pub(super) who: &'a Requester,
    pub(super) upstream: &'a Arc<Upstream>,
    pub(super) kind: &'static Call,
    /// True where the client is at the merged endpoint.
    pub(super) merged: bool,
    /// True where the client may see tasks.
    pub(super) names_tasks: bool,
    /// The server's era.
    pub(super) era: Era,
    pub(super) shape: Shape,
}

impl Writer<'_> {
    /// Writes an answer: a short one now, a long one in a thread of its own.
    pub(super) fn write(self, answer: Answer) -> Writing {
        let (Answer::Result(text) | Answer::Checked(text, _) | Answer::Error(text)) = &answer;
        if text.len() < LONG {
            return Writing::Done(self.written(answer));
        }
        let sieve = self.sieve.cloned();
        let (gateway, who, upstream) =
            (Arc::clone(self.gateway), self.who.clone(), Arc::clone(self.upstream));
        let Self { kind, merged, names_tasks, era, shape, .. } = self;
        Writing::Apart(apart(move || {
            let (gateway, who, upstream) = (&gateway, &who, &upstream);
            let sieve = sieve.as_ref();
            Writer { gateway, sieve, who, upstream, kind, merged, names_tasks, era, shape }.written(answer)
        }))
    }

    fn written(self, answer: Answer) -> Outcome {
        let mut found = Found::default();
        let said = match answer {
            Answer::Result(result) => self.result(result, &mut found),
            Answer::Checked(result, obliged) => self.checked(result, &obliged, &mut found),
            Answer::Error(error) => Ok(match self.sift(SiftedKind::Plain, error, &mut found) {
                Ok(error) => Said::Error(error),
                Err(barred) => Said::Barred(barred),
            }),
        };
        (said, found)
    }

    fn sift(self, kind: SiftedKind, text: String, found: &mut Found) -> Result<String, Barred> {
        sifted::message_here(self.sieve.map(|sieve| &**sieve), kind, text, found)
    }

    fn result(self, result: String, found: &mut Found) -> Result<Said, String> {
        let may_ask = self.era == Era::Modern && may_ask(self.kind);
        let kind = if may_ask && required::read(&result)?.is_some() {
            SiftedKind::Questions
        } else if self.names_tasks {
            SiftedKind::Task
        } else {
            SiftedKind::Result
        };
        let result = match self.sift(kind, result, found) {
            Ok(result) => result,
            Err(barred) => return Ok(Said::Barred(barred)),
        };
        if kind == SiftedKind::Questions
            && let Some(required) = required::read(&result)?
        {
            return Ok(Said::Asks(required));
        }
        let upstream = &self.upstream.name;
        let result = if self.merged { rewrite::result(upstream, self.kind.uris, result)? } else { result };
        let result = if self.names_tasks {
            let ids = Ids::new(&self.gateway.sealer, &self.who.principal, upstream, self.merged);
            ids.result(self.kind, self.who.capabilities, result)?
        } else {
            result
        };
        let questions = self.questions(&result)?;
        if !questions.is_empty() {
            return Ok(Said::TaskAsks(result, questions));
        }
        (self.shape)(result, self.era).map(Said::Result)
    }

    /// The questions of a task, if the result is one: they are the policy's business like all others.
    fn questions(self, result: &str) -> Result<Vec<Entry>, String> {
        if self.kind.tasks == Tasks::Nowhere || !result.contains("inputRequests") {
            return Ok(Vec::new());
        }
        let object = Object::parse(result).map_err(|error| format!("its result is no object: {error}"))?;
        required::entries(&object)
    }

    /// A task's result with the redaction that the policy obliges to for its questions.
    fn checked(self, result: String, obliged: &[Arc<str>], found: &mut Found) -> Result<Said, String> {
        let purpose = Purpose { upstream: &self.upstream.name, tool: None, obliged };
        let sieve =
            self.gateway.redaction.sieve(&self.who.principal, purpose).filter(|_| !obliged.is_empty());
        match sifted::message_here(sieve.as_deref(), SiftedKind::Task, result, found) {
            Ok(result) => (self.shape)(result, self.era).map(Said::Result),
            Err(barred) => Ok(Said::Barred(barred)),
        }
    }
}

/// Writes an upstream's result as the client's era wants it; an error says what is wrong with the result.
pub type Shape = fn(String, Era) -> Result<String, String>;
