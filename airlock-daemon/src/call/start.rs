//! A forwarded request, from its first check to the moment when the upstream has it; [`Running`] takes it
//! from there.

use std::sync::Arc;

use serde_json::value::RawValue;
use tokio::time::{Instant, timeout_at};

use crate::mcp::capability::Capability;
use crate::mcp::jsonrpc;
use crate::mcp::object::Object;
use crate::mcp::param_header::Mirrored;
use crate::mcp::revision::Era;
use crate::stops::Halt;
use crate::stops::order::StopOrder;
use crate::upstream::era::driver;
use crate::upstream::error::UpstreamError;
use crate::upstream::message::reply::Takes;
use crate::upstream::pool::Upstream;
use crate::upstream::transport::handle::Pending;

pub use super::event::Event;
pub use super::means::{Cancellation, Means};
use super::open::{Open, failed};
use super::required;
pub use super::running::Running;
use super::waiting::Resumed;
pub use super::written::Shape;
use crate::pipeline::handle::brought::Leads;
use crate::pipeline::handle::task;
use crate::pipeline::methods::kind::{Call, Noun, offered};
use crate::pipeline::record::Outcome;
use crate::pipeline::refusal::Aim;
use crate::pipeline::request::asked::Asked;
use crate::pipeline::request::requester::Requester;
use crate::pipeline::route::Endpoint;
use crate::pipeline::{
    Admitted, Gateway, Refusal, admit, mirror, redact, route, stopped, tool_lock, upstream,
};

/// A call that was let through: one that begins, or one that goes on where it was suspended.
#[allow(
    clippy::large_enum_variant,
    reason = "each call has one, in its own task; a box would be one more allocation"
)]
pub enum Started {
    /// It runs here.
    Running(Running),
    /// It runs where it was suspended.
    Resumed(Resumed),
}

/// Runs the checks of a call and starts it. The client may bring back the answers to what it was asked.
///
/// # Errors
/// A [`Refusal`] of any stage from here on.
pub async fn enter(
    gateway: &Arc<Gateway>,
    kind: &'static Call,
    who: Requester,
    endpoint: &Endpoint,
    params: Object<'_>,
    shape: Shape,
    means: Means,
) -> Result<Started, Refusal> {
    let mut admitted = admit(gateway, &who, endpoint, Asked::Call(kind, params)).await?;
    let aim = std::mem::take(&mut admitted.aim);
    let sieve = admitted.sieve.take();
    let mut open = Open::new(gateway, who, aim.clone(), sieve);
    open.spending = admitted.spending;
    let merged = *endpoint == Endpoint::Merged;
    let begun = begin(open, merged, admitted, shape, means).await;
    begun.map_err(|refusal| refusal.about(&aim))
}

/// Starts a call that is on record: from here on its server may be started and asked.
async fn begin(
    mut open: Open,
    merged: bool,
    admitted: Admitted<'_>,
    shape: Shape,
    means: Means,
) -> Result<Started, Refusal> {
    let Admitted {
        asked: Asked::Call(kind, mut params),
        upstream: Some(upstream),
        own,
        arguments,
        brought,
        ..
    } = admitted
    else {
        return Err(route::one_only());
    };
    let own = own.as_ref().map(|(noun, own)| (*noun, own.as_str()));
    let needs = kind.needs(&params);
    let arguments = arguments.as_deref().map_or("{}", RawValue::get);
    let tool = own.and_then(|(noun, name)| (noun == Noun::Tool).then_some(name));
    // A stop that came since the checks is seen with the first look.
    let mut halt = Halt::new(&open.gateway.stops, &open.who.principal, Some(&upstream.name), tool);
    let mut mirrored = tokio::select! {
        biased;
        order = halt.reached() => return Err(halted(&mut open, &order)),
        mirrored = ask_first(kind, needs, &upstream, &mut open, own, arguments) => mirrored?,
    };
    redact::headers(open.sieve.as_deref(), &mut mirrored);

    match (&brought.task, own) {
        (Some(id), _) => kind.retarget(&mut params, id),
        (None, Some((_, own))) if merged => kind.retarget(&mut params, own),
        _ => {}
    }
    match brought.leads {
        Leads::Nowhere | Leads::ToPage(_) => {}
        Leads::ToServer(state) => {
            required::answer(&mut params, &state.answered, state.upstream.as_deref());
        }
        Leads::ToParked(ticket, answers) => {
            // Taken out only now that the retry is on record: it goes on once.
            let suspended = means.suspended();
            let way = suspended.and_then(|calls| calls.take(ticket, open.who.principal.identity()));
            let Some(way) = way else {
                open.end(Outcome::Refused, 0, None);
                return Err(route::invalid(GONE));
            };
            let resumed = Resumed::hand_over(&way, answers, open, upstream.timeout).await;
            return resumed.map(Started::Resumed).ok_or_else(|| route::invalid(GONE));
        }
    }
    let sending = Sending { kind, needs, upstream: &upstream, own, params, merged, mirrored, halt };
    launch(open, sending, shape, means).await.map(Started::Running)
}

/// Asks the server for the facts that a call needs before it is sent: its tasks, if its target is what
/// was locked, and which arguments headers repeat. A call that cannot be sent for its answer has its outcome
/// on record.
async fn ask_first(
    kind: &Call,
    needs: Capability,
    upstream: &Arc<Upstream>,
    open: &mut Open,
    own: Option<(Noun, &str)>,
    arguments: &str,
) -> Result<Mirrored, Refusal> {
    let failed = |open: &mut Open, error: &UpstreamError| {
        open.end(failed(error), 0, Some(error));
        upstream::failed(error)
    };
    match task::ask(kind, needs, upstream, &open.who).await {
        Ok(true) => {}
        Ok(false) => {
            open.end(Outcome::Refused, 0, None);
            return Err(route::lacking(kind, needs, open.who.revision));
        }
        Err(error) => return Err(failed(open, &error)),
    }
    match tool_lock::look(upstream, &open.who, kind.method, own).await {
        Ok(Ok(())) => {}
        Ok(Err(refusal)) => {
            open.end(Outcome::Refused, 0, None);
            return Err(refusal);
        }
        Err(error) => return Err(failed(open, &error)),
    }
    let Some((Noun::Tool, tool)) = own else { return Ok(Mirrored::default()) };
    if !mirror::concerns(upstream, &open.who) {
        return Ok(Mirrored::default());
    }
    // Trouble of a start that has not come about is the call's: it would only meet the same once more.
    let facts = upstream.facts_of(&open.who.caller()).await.map_err(|error| failed(open, &error))?;
    let checked = mirror::check(upstream, &open.who, &facts, tool, arguments).await;
    checked.inspect_err(|_| open.end(Outcome::Refused, 0, None))
}

/// The refusal of a call that an operator stops before its server has it.
fn halted(open: &mut Open, order: &StopOrder) -> Refusal {
    open.end(Outcome::Cancelled, 0, None);
    stopped::refusal(order)
}

/// Why a suspended call cannot go on.
const GONE: &str = "the call has ended meanwhile: send the request anew";

/// A request, and the upstream that it is sent to.
struct Sending<'a> {
    kind: &'static Call,
    /// The capability that the server must offer for it.
    needs: Capability,
    upstream: &'a Arc<Upstream>,
    /// The target, by the server's own name.
    own: Option<(Noun, &'a str)>,
    params: Object<'a>,
    merged: bool,
    mirrored: Mirrored,
    halt: Halt,
}

/// Sends a call that is on record.
async fn launch(
    mut open: Open,
    sending: Sending<'_>,
    shape: Shape,
    means: Means,
) -> Result<Running, Refusal> {
    let Sending { kind, needs, upstream, own, params, merged, mirrored, mut halt } = sending;
    let now = Instant::now();
    let (deadline, at_most) = (now + upstream.timeout, now + upstream.timeout_total);
    let sent = tokio::select! {
        biased;
        // Cancelled before anything was sent: nothing is.
        () = means.cancelled() => {
            open.end(Outcome::Cancelled, 0, None);
            return Err(upstream::cancelled());
        }
        order = halt.reached() => return Err(halted(&mut open, &order)),
        sent = timeout_at(deadline, send(upstream, (kind, needs, own), &open.who, params, mirrored.clone())) => sent,
    };
    match sent.unwrap_or_else(|_| Err(upstream.late("its start"))) {
        Ok(Err(refusal)) => {
            open.end(Outcome::Refused, 0, None);
            Err(refusal)
        }
        Ok(Ok((pending, token, era, sent))) => {
            let upstream = Arc::clone(upstream);
            let (talk, rounds, writing) = (None, 0, None);
            Ok(Running {
                open,
                kind,
                merged,
                upstream,
                pending,
                halt,
                token,
                deadline,
                at_most,
                era,
                shape,
                means,
                sent,
                mirrored,
                talk,
                rounds,
                writing,
            })
        }
        Err(error) => {
            open.end(failed(&error), 0, Some(&error));
            Err(upstream::failed(&error))
        }
    }
}

/// A request that the upstream has: its answer to come, the client's token of its progress, the era in which
/// it was sent, and its parameters as they were sent.
type SentRequest = (Pending, Option<String>, Era, String);

/// Sends a request on a link of which it is known that its target is what was locked. The refusal is the
/// inner value.
async fn send(
    upstream: &Arc<Upstream>,
    (kind, needs, own): (&Call, Capability, Option<(Noun, &str)>),
    who: &Requester,
    params: Object<'_>,
    mirrored: Mirrored,
) -> Result<Result<SentRequest, Refusal>, UpstreamError> {
    let (mut link, mut facts) = upstream.link(&who.caller()).await?;
    for _ in 0..2 {
        // The server may have been started anew for this link, and may be another by now.
        if tool_lock::is_unseen(upstream, who, kind.method, own)
            && let Err(refusal) = Box::pin(tool_lock::look(upstream, who, kind.method, own)).await?
        {
            return Ok(Err(refusal));
        }
        if route::concerns(kind, needs) && !offered(needs, &facts, who.revision) {
            // It was replaced by another server since it was asked.
            let detail = "it has no tasks any more".to_owned();
            return Err(UpstreamError::Protocol { upstream: upstream.name.to_string(), detail });
        }
        link.follow_level(&facts, kind.method, &params).await;
        let (mut token, mut text) = (None, String::new());
        let sent = link
            .request_mirrored(Takes::Everything, mirrored.clone(), |id| {
                (text, token) = driver::params(facts.era, params.clone(), who.capabilities, id);
                jsonrpc::request(id, kind.method, &text)
            })
            .await;
        if let Some(pending) = sent {
            return Ok(Ok((pending, token, facts.era, text)));
        }
        // It was closed for idleness in this very moment, and nothing was written to it.
        (link, facts) = upstream.link(&who.caller()).await?;
    }
    Err(upstream.ended(&link.ending()))
}

impl Started {
    /// The call, of a client that has no state to bring back: only the modern era has one, and its driver
    /// takes both.
    ///
    /// # Errors
    /// A [`Refusal`] of a call that goes on where it was suspended.
    pub fn begun(self) -> Result<Running, Refusal> {
        match self {
            Self::Running(running) => Ok(running),
            Self::Resumed(_) => Err(route::invalid("the call goes on for a client of the modern era only")),
        }
    }

    /// The next thing that happens; after anything but a notification or a question the call has ended.
    pub async fn next(&mut self) -> Event {
        match self {
            Self::Running(running) => running.next().await,
            Self::Resumed(resumed) => resumed.next().await,
        }
    }

    /// The same; `None` where nothing happens until then. Nothing is lost by it.
    pub async fn next_until(&mut self, until: Option<Instant>) -> Option<Event> {
        match (self, until) {
            (Self::Running(running), until) => running.next_until(until).await,
            (Self::Resumed(resumed), Some(until)) => timeout_at(until, resumed.next()).await.ok(),
            (Self::Resumed(resumed), None) => Some(resumed.next().await),
        }
    }

    /// The gateway that runs the call.
    pub fn gateway(&self) -> &Arc<Gateway> {
        match self {
            Self::Running(running) => running.gateway(),
            Self::Resumed(resumed) => resumed.gateway(),
        }
    }

    /// The sender of the call.
    pub fn who(&self) -> &Requester {
        match self {
            Self::Running(running) => running.who(),
            Self::Resumed(resumed) => resumed.who(),
        }
    }

    /// The upstream, the method and the target of the call.
    pub fn aim(&self) -> &Aim {
        match self {
            Self::Running(running) => running.aim(),
            Self::Resumed(resumed) => resumed.aim(),
        }
    }

    /// When the call ends at the latest, if its client is not asked anything.
    pub fn deadline(&self) -> Instant {
        match self {
            Self::Running(running) => running.deadline(),
            Self::Resumed(resumed) => resumed.deadline(),
        }
    }
}
