//! A forwarded request, from its first check to the moment when the upstream has it; [`Running`] takes it from there.

use std::sync::Arc;

use http::StatusCode;
use serde_json::value::RawValue;
use tokio::time::{Instant, timeout_at};

use crate::auth::principal::Principal;
use crate::mcp::capability::Capability;
use crate::mcp::client::ClientCapabilities;
use crate::mcp::error::code;
use crate::mcp::level::Level;
use crate::mcp::object::Object;
use crate::mcp::param_header::{Mirrored, Sent};
use crate::mcp::revision::{Era, Revision};
use crate::policy::Decision;
use crate::upstream::driver;
use crate::upstream::error::UpstreamError;
use crate::upstream::link::{Pending, Takes};
use crate::upstream::pool::{Caller, Upstream};

use super::authorize::{Wish, authorize};
use super::kind::{COMPLETE, Call, Noun, Subject, TOOLS_CALL, offered, quoted};
use super::open::{Open, failed};
use super::parked::{Resumed, Ticket};
use super::record::{self, Outcome};
use super::refusal::Aim;
use super::required::{self, RESPONSES, STATE};
use super::route::Endpoint;
pub use super::running::{Cancellation, Event, Running, Shape};
use super::state::{Back, Scope, State};
use super::task;
use super::{Context, Gateway, Refusal, Stage, limit, mirror, safe_names};

/// Members of `params` that change what a server does beyond its arguments, and that are not carried across yet.
const UNCARRIED: [&str; 1] = ["task"];

/// Who makes a request, as every later stage needs it.
#[derive(Clone)]
pub struct Requester {
    /// The request.
    pub context: Context,
    /// The verified principal.
    pub principal: Arc<Principal>,
    /// The legacy session, where there is one.
    pub session: Option<Arc<str>>,
    /// The client's revision.
    pub revision: Revision,
    /// What the client can do for a server.
    pub capabilities: ClientCapabilities,
    /// The level from which on log messages reach the client, where it has named one.
    pub level: Option<Level>,
    /// The headers in which it repeats arguments; the modern era only.
    pub params: Sent,
}

impl Requester {
    /// Whether a log message with these parameters is for the client: a modern one gets none without asking (2026-07-28,
    /// "Logging"), a legacy one all until it names a level.
    pub fn hears(&self, message: &str) -> bool {
        let Some(least) = self.level else { return self.revision.era() == Era::Legacy };
        let level = Object::parse(message).ok().and_then(|object| Level::parse(&object.string("level")?));
        level.is_some_and(|level| level >= least)
    }

    /// Who asks the pool for a process.
    pub fn caller(&self) -> Caller<'_> {
        Caller {
            identity: self.principal.identity().clone(),
            session: self.session.as_ref(),
            token: self.principal.token().cloned(),
            capabilities: self.capabilities,
        }
    }
}

/// A call that was let through: one that begins, or one that goes on where it was parked.
#[allow(
    clippy::large_enum_variant,
    reason = "each call has one, in its own task; a box would be one more allocation"
)]
pub enum Started {
    /// It runs here.
    Running(Running),
    /// It runs where it was parked.
    Resumed(Resumed),
}

/// Runs the checks of a call and starts it.
///
/// # Errors
/// A [`Refusal`] of any stage from here on.
pub async fn start(
    gateway: &Arc<Gateway>,
    kind: &'static Call,
    who: Requester,
    endpoint: &Endpoint,
    params: Object<'_>,
    shape: Shape,
    cancellation: Option<Cancellation>,
) -> Result<Running, Refusal> {
    match enter(gateway, kind, who, endpoint, params, shape, cancellation).await? {
        Started::Running(running) => Ok(running),
        // Only a modern client has a state to bring back, and its face takes both.
        Started::Resumed(_) => Err(stale("the call goes on for a client of the modern era only")),
    }
}

/// Like [`start`], for a client that may bring back the answers to what it was asked.
///
/// # Errors
/// As for [`start`].
pub async fn enter(
    gateway: &Arc<Gateway>,
    kind: &'static Call,
    who: Requester,
    endpoint: &Endpoint,
    mut params: Object<'_>,
    shape: Shape,
    cancellation: Option<Cancellation>,
) -> Result<Started, Refusal> {
    let mut aim = Aim { method: Some(kind.method.into()), revision: Some(who.revision), ..Aim::default() };
    let invalid = |reason: String, aim: &Aim| {
        let mut refusal =
            Refusal::new(Stage::Route, StatusCode::BAD_REQUEST, reason).code(code::INVALID_PARAMS);
        refusal.aim = aim.clone();
        refusal
    };
    let subject = kind.subject(&params).map_err(|reason| invalid(reason, &aim))?;
    aim.at_any(subject.as_ref());
    let back = sift(kind, who.revision, &mut params).map_err(|reason| invalid(reason, &aim))?;
    let arguments = kind.arguments(&params).map_err(|reason| invalid(reason, &aim))?;
    let with_context = if *kind == COMPLETE {
        in_context(&params, arguments).map_err(|reason| invalid(reason, &aim))?
    } else {
        None
    };
    let arguments = with_context.as_deref().or(arguments);
    let (upstream, own) = if let Some(Subject { noun, name }) = &subject {
        let found = endpoint.target(&gateway.upstreams, *noun, name)?;
        let (upstream, shown) = found.ok_or_else(|| unknown(*noun, who.revision, &aim))?;
        let own = safe_names::own(gateway, &who, endpoint, upstream, *noun, shown, &aim).await?;
        aim.called = (*own != *shown).then(|| name.as_ref().into());
        aim.at(*noun, &own);
        (upstream, Some((*noun, own)))
    } else {
        let one = endpoint.upstream(&gateway.upstreams)?;
        (one.ok_or_else(|| invalid("this is sent to one server only".to_owned(), &aim))?, None)
    };
    let own = own.as_ref().map(|(noun, own)| (*noun, own.as_ref()));
    aim.upstream = Some(Arc::clone(&upstream.name));

    let refused = |mut refusal: Refusal| {
        refusal.aim = aim.clone();
        refusal
    };
    let none = empty_arguments();
    let wish = Wish {
        method: kind.method,
        subject: own,
        // A call without arguments is a call with none: `null` is for entries of lists.
        arguments: Some(arguments.unwrap_or(&none)),
        revision: who.revision,
    };
    let decision = decide(gateway, &who, upstream, wish, &aim).map_err(refused)?;
    let merged = *endpoint == Endpoint::Merged;
    let needs = kind.needs(&params);
    let opened = task::admit(gateway, kind, upstream, &who, own, merged, &mut params).map_err(refused)?;
    if let Some(id) = &opened {
        (aim.target, aim.whole) = (Some(id.as_str().into()), None);
    }
    aim.as_task = needs == Capability::TaskCalls && *kind == TOOLS_CALL;
    let refused = |mut refusal: Refusal| {
        refusal.aim = aim.clone();
        refusal
    };
    let digested = arguments.map_or("{}", RawValue::get);
    let mut leads = Leads::Nowhere;
    if let Some(back) = back {
        let path = endpoint.path();
        let scope = Scope {
            endpoint: &path,
            upstream: &upstream.name,
            method: kind.method,
            target: own.map_or("", |(_, own)| own),
            arguments: digested,
        };
        leads = lead(gateway, &who, back, &scope).map_err(|reason| refused(stale(reason)))?;
    }
    record::intent(gateway, &who.context, &who.principal, &aim, &decision, digested).map_err(refused)?;
    // From here on the server may be started and asked.
    let mut open = Open::new(gateway, who, aim.clone());
    let mirrored = ask_first(kind, needs, upstream, &mut open, own, digested).await.map_err(refused)?;

    match (&opened, own) {
        (Some(id), _) => kind.retarget(&mut params, id),
        (None, Some((_, own))) if merged => kind.retarget(&mut params, own),
        _ => {}
    }
    match leads {
        Leads::Nowhere => {}
        Leads::ToServer(state) => {
            required::answer(&mut params, &state.answered, state.upstream.as_deref());
        }
        Leads::ToParked(ticket, answers) => {
            // Taken out only now that the retry is on record: it goes on once.
            let way = gateway.parked.take(ticket, open.who.principal.identity());
            let Some(way) = way else {
                open.end(Outcome::Refused, 0, None);
                return Err(refused(stale(GONE)));
            };
            let resumed = Resumed::hand_over(&way, answers, open, upstream.timeout).await;
            return resumed.map(Started::Resumed).ok_or_else(|| refused(stale(GONE)));
        }
    }
    let sending = Sending { kind, needs, upstream, params, merged, mirrored };
    let running = launch(open, sending, shape, cancellation).await;
    running.map(Started::Running).map_err(refused)
}

/// Asks the server for the facts that a call needs before it is sent: its tasks, and which arguments headers
/// repeat. A call that cannot be sent for its answer has its outcome on record.
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
        upstream_failed(error)
    };
    match task::ask(kind, needs, upstream, &open.who).await {
        Ok(true) => {}
        Ok(false) => {
            open.end(Outcome::Refused, 0, None);
            return Err(task::lacking(kind, needs, open.who.revision));
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

/// The quota of a tool, and then the policy.
fn decide(
    gateway: &Gateway,
    who: &Requester,
    upstream: &Upstream,
    wish: Wish<'_>,
    aim: &Aim,
) -> Result<Decision, Refusal> {
    if let Some((Noun::Tool, tool)) = wish.subject {
        limit::call(gateway, &who.principal, &upstream.name, tool)?;
    }
    authorize(gateway, &who.context, &who.principal, upstream, wish).map_err(|mut refusal| {
        refusal.input_digest = Some(aim.digest(wish.arguments.map_or("{}", RawValue::get)));
        refusal
    })
}

/// Why a parked call cannot go on.
const GONE: &str = "the call has ended meanwhile: send the request anew";

/// Where what a client brought back leads.
enum Leads {
    /// It brought nothing.
    Nowhere,
    /// To the server, with its own state.
    ToServer(State),
    /// To the call that waits here, with the answers to what it asked.
    ToParked(Ticket, Vec<(String, String)>),
}

/// Opens what a client brought back.
fn lead(gateway: &Gateway, who: &Requester, back: Back, scope: &Scope<'_>) -> Result<Leads, String> {
    let (mut state, answers) = back.open(gateway, who, scope)?;
    if let Some(ticket) = state.parked {
        return Ok(Leads::ToParked(ticket, answers));
    }
    state.answered.extend(answers);
    Ok(Leads::ToServer(state))
}

/// Takes out of the parameters what is not carried across, and what a client brings back of an earlier request.
fn sift(kind: &Call, revision: Revision, params: &mut Object<'_>) -> Result<Option<Back>, String> {
    if revision.era() == Era::Modern {
        // What asked for a task up to 2025-11-25 means nothing any more, and is to be ignored (tasks extension).
        params.remove("task");
    }
    let barred = |member: &&str| params.get(member).is_some() && !kind.carries.contains(member);
    if let Some(member) = UNCARRIED.into_iter().find(barred) {
        return Err(format!("`params.{member}` is not carried across"));
    }
    let is_brought = |member| params.get(member).is_some() && !kind.carries.contains(&member);
    if !is_brought(STATE) && !is_brought(RESPONSES) {
        return Ok(None);
    }
    if revision.era() == Era::Modern && required::may_ask(kind) {
        if params.get(STATE).is_none() {
            // Answers to nothing that was asked here: the server asks, if it wants to know.
            params.remove(RESPONSES);
            return Ok(None);
        }
        return Back::take(params).map(Some);
    }
    Err(format!("`params.{STATE}` and `params.{RESPONSES}` are not for this request"))
}

/// What is sent where.
struct Sending<'a> {
    kind: &'static Call,
    /// What the server must offer for it.
    needs: Capability,
    upstream: &'a Arc<Upstream>,
    params: Object<'a>,
    merged: bool,
    mirrored: Mirrored,
}

/// Sends a call that is on record.
async fn launch(
    mut open: Open,
    sending: Sending<'_>,
    shape: Shape,
    cancellation: Option<Cancellation>,
) -> Result<Running, Refusal> {
    let Sending { kind, needs, upstream, params, merged, mirrored } = sending;
    let now = Instant::now();
    let (deadline, at_most) = (now + upstream.timeout, now + upstream.timeout_total);
    let told = async {
        match &cancellation {
            Some(cancellation) => cancellation.told.notified().await,
            None => std::future::pending().await,
        }
    };
    let sent = tokio::select! {
        biased;
        // Cancelled before anything was sent: nothing is.
        () = told => {
            open.end(Outcome::Cancelled, 0, None);
            return Err(Refusal::new(Stage::Upstream, StatusCode::OK, "the call was cancelled").code(code::CANCELLED));
        }
        sent = timeout_at(deadline, send(upstream, kind, needs, &open.who, params, mirrored.clone())) => sent,
    };
    match sent.unwrap_or_else(|_| Err(upstream.late("its start"))) {
        Ok((pending, token, era, sent)) => {
            let upstream = Arc::clone(upstream);
            let (talk, rounds, writing) = (None, 0, None);
            Ok(Running {
                open,
                kind,
                merged,
                upstream,
                pending,
                token,
                deadline,
                at_most,
                era,
                shape,
                cancellation,
                sent,
                mirrored,
                talk,
                rounds,
                writing,
            })
        }
        Err(error) => {
            open.end(failed(&error), 0, Some(&error));
            Err(upstream_failed(&error))
        }
    }
}

/// What goes along with the argument of a completion, as a member `context` of what the policy is shown: what it does not see
/// is not forwarded.
fn in_context(params: &Object<'_>, arguments: Option<&RawValue>) -> Result<Option<Box<RawValue>>, String> {
    let (Some(context), Some(arguments)) = (params.get("context"), arguments) else { return Ok(None) };
    if !context.starts_with('{') {
        return Err("`params.context` must be an object".to_owned());
    }
    let mut shown = Object::parse(arguments.get()).map_err(|error| error.to_string())?;
    shown.set("context", context);
    RawValue::from_string(shown.write()).map(Some).map_err(|error| error.to_string())
}

/// The refusal of a state that leads nowhere.
fn stale(reason: impl Into<String>) -> Refusal {
    Refusal::new(Stage::Route, StatusCode::BAD_REQUEST, reason).code(code::INVALID_PARAMS)
}

async fn send(
    upstream: &Arc<Upstream>,
    kind: &Call,
    needs: Capability,
    who: &Requester,
    params: Object<'_>,
    mirrored: Mirrored,
) -> Result<(Pending, Option<String>, Era, String), UpstreamError> {
    let (mut link, mut facts) = upstream.link(&who.caller()).await?;
    for _ in 0..2 {
        if task::concerns(kind, needs) && !offered(needs, &facts, who.revision) {
            // It was replaced by another server since it was asked.
            let detail = "it has no tasks any more".to_owned();
            return Err(UpstreamError::Protocol { upstream: upstream.name.to_string(), detail });
        }
        link.follow_level(&facts, kind.method, &params).await;
        let (mut token, mut text) = (None, String::new());
        let sent = link
            .request_mirrored(Takes::Everything, mirrored.clone(), |id| {
                (text, token) = driver::params(facts.era, params.clone(), who.capabilities, id);
                driver::request(id, kind.method, &text)
            })
            .await;
        if let Some(pending) = sent {
            return Ok((pending, token, facts.era, text));
        }
        // It was closed for idleness in this very moment, and nothing was written to it.
        (link, facts) = upstream.link(&who.caller()).await?;
    }
    Err(upstream.ended(&link.ending()))
}

fn empty_arguments() -> Box<RawValue> {
    RawValue::from_string("{}".to_owned()).unwrap_or_default()
}

/// The refusal for a name that is no upstream's: an answer like any other, with the code of the client's era.
pub(super) fn unknown(noun: Noun, revision: Revision, aim: &Aim) -> Refusal {
    let code = match (noun, revision.era()) {
        (Noun::Resource, Era::Legacy) => code::LEGACY_RESOURCE_NOT_FOUND,
        _ => code::INVALID_PARAMS,
    };
    let reason = match &aim.target {
        // A made-up task and somebody else's are refused by the same words.
        Some(name) if noun != Noun::Task => {
            format!("there is no {} {} here", noun.word(), quoted(noun, name))
        }
        _ => format!("there is no such {}", noun.word()),
    };
    let mut refusal = Refusal::new(Stage::Route, StatusCode::OK, reason).code(code);
    refusal.aim = aim.clone();
    refusal
}

/// The refusal for a method that is not served: 404 in the modern era, but to a legacy client that would mean that its
/// session is gone.
pub fn not_offered(method: &str, revision: Revision) -> Refusal {
    let status = match revision.era() {
        Era::Modern => StatusCode::NOT_FOUND,
        Era::Legacy => StatusCode::OK,
    };
    let reason = format!("the method `{}` is not served here", method.chars().take(64).collect::<String>());
    Refusal::new(Stage::Route, status, reason).code(code::METHOD_NOT_FOUND)
}

/// The refusal for a failed upstream.
pub fn upstream_failed(error: &UpstreamError) -> Refusal {
    let mut refusal = Refusal::new(Stage::Upstream, error.status(), error.reason());
    refusal.detail = Some(error.on_record());
    refusal.retry_after = error.retry_after();
    if let UpstreamError::NoRoom { exhausted, .. } = error {
        refusal.rule_id = Some(exhausted.0.name().into());
    }
    refusal
}

impl Started {
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

    /// Who made the call.
    pub fn who(&self) -> &Requester {
        match self {
            Self::Running(running) => running.who(),
            Self::Resumed(resumed) => resumed.who(),
        }
    }

    /// What the call is after.
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
