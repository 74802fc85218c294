//! The end of tasks by an operator. A task runs on at its server once its call is answered, so a stop that
//! reaches the call would not end it: it is kept in mind, and cancelled there.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use crate::audit::Event;
use crate::limits::fair::{Places, Seat, Shares};
use crate::mcp::jsonrpc;
use crate::mcp::object::{Object, quote};
use crate::stops::Halt;
use crate::upstream::era::driver;
use crate::upstream::error::UpstreamError;
use crate::upstream::message::ask::Answered;
use crate::upstream::message::reply::Takes;
use crate::upstream::pool::Upstream;

use super::open::Open;
use crate::pipeline::handle::task::{Ids, mentions};
use crate::pipeline::methods::kind::Noun;
use crate::pipeline::methods::naming;
use crate::pipeline::methods::table::TASKS_CANCEL;
use crate::pipeline::refusal::Aim;
use crate::pipeline::request::requester::Requester;
use crate::pipeline::{Gateway, record};

/// Most tasks that are kept in mind, and most of one principal.
const MAX: usize = 4_096;
const MAX_EACH: usize = 64;

/// How long a task is kept in mind that does not say how long its server keeps it, or says longer.
const LONGEST: Duration = Duration::from_hours(24);

/// Places for the tasks that are kept in mind.
pub fn places() -> Places {
    Places::new(Shares { total: MAX, per_tenant: None, per_principal: MAX_EACH })
}

/// A task at its server.
struct TaskAtServer {
    gateway: Arc<Gateway>,
    who: Requester,
    upstream: Arc<Upstream>,
    /// The server's own id.
    id: String,
    _seat: Seat,
}

/// Keeps the task in mind that a result is, if it is one, until the operator stops what it belongs to. Names
/// in the result are those that the client is told.
pub(super) fn keep(open: &Open, ids: &Ids<'_>, upstream: &Arc<Upstream>, halt: &Halt, result: &str) {
    if !mentions(result, "taskId") {
        return;
    }
    let Some((id, time)) = created(ids, result) else { return };
    let Ok(seat) = open.gateway.task_places.enter(open.who.principal.identity()) else {
        tracing::debug!(upstream = %upstream.name, "a task has no place among those that a stop would cancel");
        return;
    };
    let (gateway, who) = (Arc::clone(&open.gateway), open.who.clone());
    let task = TaskAtServer { gateway, who, upstream: Arc::clone(upstream), id, _seat: seat };
    tokio::task::spawn_local(task.run(halt.clone(), time));
}

/// The server's own id of the task, and how long it is kept.
fn created(ids: &Ids<'_>, result: &str) -> Option<(String, Duration)> {
    let result = Object::parse(result).ok()?;
    // By itself in the modern era, as a member in the legacy one.
    let inner = result.get("task").filter(|inner| inner.starts_with('{')).map(str::to_owned);
    let task = match &inner {
        Some(inner) => Object::parse(inner).ok()?,
        None if result.string("resultType").as_deref() == Some("task") => result,
        None => return None,
    };
    let name = task.string("taskId")?;
    let handle = if ids.is_merged() { naming::own(Noun::Task, &name)?.1 } else { &name };
    let time = task.get("ttlMs").or(task.get("ttl")).and_then(|millis| millis.parse().ok());
    Some((ids.open(handle).ok()?, time.map_or(LONGEST, Duration::from_millis).min(LONGEST)))
}

impl TaskAtServer {
    /// Waits for a stop, and cancels the task then.
    async fn run(self, mut halt: Halt, time: Duration) {
        let mut phase = self.gateway.draining.subscribe();
        tokio::select! {
            _ = halt.reached() => {}
            () = sleep(time) => return,
            _ = phase.wait_for(|draining| *draining) => return,
        }
        let aim = Aim {
            method: Some(TASKS_CANCEL.method.into()),
            upstream: Some(Arc::clone(&self.upstream.name)),
            target: Some(self.id.as_str().into()),
            ..Aim::default()
        };
        // As for everything that reaches a server. A full log is the writer's to tell: the stop goes first.
        record::at_once(&self.gateway, &self.who, &aim, Event::Request);
        let upstream = &self.upstream.name;
        match timeout(self.upstream.timeout, self.cancel()).await {
            Ok(Ok(Ok(_))) => tracing::info!(%upstream, "a task was cancelled, since it is stopped"),
            // It has ended, most likely.
            Ok(Ok(Err(error))) => tracing::debug!(%upstream, error, "a stopped task was not cancelled"),
            Ok(Err(error)) => tracing::warn!("a stopped task was not cancelled: {error}"),
            Err(_) => tracing::warn!(%upstream, "a stopped task was not cancelled in time"),
        }
    }

    async fn cancel(&self) -> Result<Answered, UpstreamError> {
        let (link, facts) = self.upstream.link(&self.who.caller()).await?;
        let mut params = Object::default();
        params.set("taskId", quote(&self.id));
        let capabilities = self.who.capabilities;
        let answered = link.ask(Takes::Result, |id| {
            let (text, _) = driver::params(facts.era, params, capabilities, id);
            jsonrpc::request(id, TASKS_CANCEL.method, &text)
        });
        answered.await.map_err(|ending| self.upstream.ended(&ending))
    }
}
