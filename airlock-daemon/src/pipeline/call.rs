//! A forwarded request, from the decision to the last message.

use std::any::Any;
use std::sync::Arc;

use http::StatusCode;
use serde_json::value::RawValue;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use crate::auth::principal::Principal;
use crate::config::units::Period;
use crate::mcp::client::ClientCapabilities;
use crate::mcp::error::code;
use crate::mcp::object::Object;
use crate::mcp::revision::{Era, Revision};
use crate::upstream::driver;
use crate::upstream::error::UpstreamError;
use crate::upstream::link::{Pending, Reply, Takes};
use crate::upstream::pool::{Caller, Upstream};

use super::authorize::{Wish, authorize};
use super::kind::{COMPLETE, Call, Noun, Subject, recorded};
use super::record::{self, Outcome};
use super::refusal::Aim;
use super::route::Endpoint;
use super::{Context, Gateway, Refusal, Stage, rewrite};

/// Members of `params` that change what a server does beyond its arguments, and that are not carried across yet.
const UNCARRIED: [&str; 3] = ["task", "inputResponses", "requestState"];

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
}

impl Requester {
    /// Who asks the pool for a process.
    pub fn caller(&self) -> Caller<'_> {
        Caller {
            identity: self.principal.identity(),
            session: self.session.as_ref(),
            capabilities: self.capabilities,
        }
    }
}

/// How a client may cancel a call while it runs.
pub struct Cancellation {
    /// Told when the client cancels.
    pub told: Arc<Notify>,
    /// Ends with the call: takes its id out of the session.
    pub entry: Box<dyn Any>,
}

/// What comes out of a call.
#[derive(Debug)]
pub enum Event {
    /// A notification for the client: method and parameters.
    Notification(String, String),
    /// The result, as JSON text in the shape of the client's era.
    Result(String),
    /// The upstream's JSON-RPC error object, as JSON text.
    Error(String),
    /// The client has cancelled the call: no answer is due.
    Cancelled,
    /// The upstream failed.
    Failed(UpstreamError),
}

/// Writes an upstream's result as the client's era wants it; an error says what is wrong with the result.
pub type Shape = fn(String, Era) -> Result<String, String>;

/// The record of a call that was let through: its outcome is written however the call ends, also when it is dropped.
struct Open {
    gateway: Arc<Gateway>,
    who: Requester,
    aim: Aim,
    ended: bool,
}

impl Open {
    fn end(&mut self, outcome: Outcome, bytes: usize, failure: Option<&UpstreamError>) {
        self.ended = true;
        record::outcome(
            &self.gateway,
            &self.who.context,
            &self.who.principal,
            &self.aim,
            outcome,
            bytes,
            failure,
        );
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if !self.ended {
            self.end(Outcome::Cancelled, 0, None);
        }
    }
}

/// A call that was let through and is under way.
pub struct Running {
    open: Open,
    kind: &'static Call,
    merged: bool,
    upstream: Arc<Upstream>,
    pending: Pending,
    token: Option<String>,
    deadline: Instant,
    era: Era,
    shape: Shape,
    /// How the client may cancel, in the legacy era.
    cancellation: Option<Cancellation>,
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
    mut params: Object<'_>,
    shape: Shape,
    cancellation: Option<Cancellation>,
) -> Result<Running, Refusal> {
    let mut aim = Aim { method: Some(kind.method.into()), ..Aim::default() };
    let invalid = |reason: String, aim: &Aim| {
        let mut refusal =
            Refusal::new(Stage::Route, StatusCode::BAD_REQUEST, reason).code(code::INVALID_PARAMS);
        refusal.aim = aim.clone();
        refusal
    };
    let subject = kind.subject(&params).map_err(|reason| invalid(reason, &aim))?;
    aim.target = subject.as_ref().map(|subject| subject.on_record().into());
    if let Some(member) = UNCARRIED.into_iter().find(|member| params.get(member).is_some()) {
        return Err(invalid(format!("`params.{member}` is not carried across"), &aim));
    }
    let arguments = kind.arguments(&params).map_err(|reason| invalid(reason, &aim))?;
    let with_context = if *kind == COMPLETE {
        in_context(&params, arguments).map_err(|reason| invalid(reason, &aim))?
    } else {
        None
    };
    let arguments = with_context.as_deref().or(arguments);
    let (upstream, own) = if let Some(Subject { noun, name }) = &subject {
        let found = endpoint.target(&gateway.upstreams, *noun, name)?;
        let (upstream, own) = found.ok_or_else(|| unknown(*noun, who.revision, &aim))?;
        aim.target = Some(recorded(*noun, own).into());
        (upstream, Some((*noun, own)))
    } else {
        let one = endpoint.upstream(&gateway.upstreams)?;
        (one.ok_or_else(|| invalid("this is sent to one server only".to_owned(), &aim))?, None)
    };
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
    let decision = authorize(gateway, &who.context, &who.principal, upstream, wish).map_err(refused)?;
    if upstream.facts().is_some_and(|facts| !facts.offers.has(kind.capability)) {
        return Err(refused(not_offered(kind.method, who.revision)));
    }
    let digested = arguments.map_or("{}", RawValue::get);
    record::intent(gateway, &who.context, &who.principal, &aim, &decision, digested).map_err(refused)?;

    let merged = *endpoint == Endpoint::Merged;
    if let (true, Some((_, own))) = (merged, own) {
        kind.retarget(&mut params, own);
    }
    let mut open = Open { gateway: Arc::clone(gateway), who, aim: aim.clone(), ended: false };
    let deadline = Instant::now() + upstream.timeout;
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
            return Err(refused(Refusal::new(Stage::Upstream, StatusCode::OK, "the call was cancelled").code(499)));
        }
        sent = timeout_at(deadline, send(upstream, kind, &open.who, params)) => sent,
    };
    match sent.unwrap_or_else(|_| Err(late(upstream, "its start"))) {
        Ok((pending, token, era)) => {
            let upstream = Arc::clone(upstream);
            Ok(Running { open, kind, merged, upstream, pending, token, deadline, era, shape, cancellation })
        }
        Err(error) => {
            open.end(failed(&error), 0, Some(&error));
            Err(refused(upstream_failed(&error)))
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

/// The error for an upstream that took too long over something.
fn late(upstream: &Upstream, what: &str) -> UpstreamError {
    UpstreamError::Deadline {
        upstream: upstream.name.to_string(),
        what: what.to_owned(),
        limit: Period(upstream.timeout).to_string(),
    }
}

async fn send(
    upstream: &Arc<Upstream>,
    kind: &Call,
    who: &Requester,
    params: Object<'_>,
) -> Result<(Pending, Option<String>, Era), UpstreamError> {
    let (mut link, mut facts) = upstream.link(&who.caller()).await?;
    for _ in 0..2 {
        let mut token = None;
        let sent = link
            .request(Takes::Everything, |id| {
                let (text, original) = driver::params(facts.era, params.clone(), who.capabilities, id);
                token = original;
                driver::request(id, kind.method, &text)
            })
            .await;
        if let Some(pending) = sent {
            return Ok((pending, token, facts.era));
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
fn unknown(noun: Noun, revision: Revision, aim: &Aim) -> Refusal {
    let code = match (noun, revision.era()) {
        (Noun::Resource, Era::Legacy) => code::LEGACY_RESOURCE_NOT_FOUND,
        _ => code::INVALID_PARAMS,
    };
    let reason = format!("there is no such {}", noun.word());
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

/// The outcome that a failure of the upstream is.
const fn failed(error: &UpstreamError) -> Outcome {
    match error {
        UpstreamError::Deadline { .. } => Outcome::Timeout,
        _ => Outcome::Unavailable,
    }
}

/// The refusal for a failed upstream.
pub fn upstream_failed(error: &UpstreamError) -> Refusal {
    let mut refusal = Refusal::new(Stage::Upstream, error.status(), error.reason());
    refusal.detail = Some(error.to_string());
    if matches!(error, UpstreamError::Busy { .. }) {
        refusal.retry_after = Some(5);
    }
    refusal
}

impl Running {
    /// The next thing that happens; after anything but a notification the call has ended.
    pub async fn next(&mut self) -> Event {
        let event = loop {
            let reply = {
                let waiting = timeout_at(self.deadline, self.pending.next());
                match &self.cancellation {
                    None => waiting.await,
                    Some(cancellation) => tokio::select! {
                        reply = waiting => reply,
                        () = cancellation.told.notified() => break Event::Cancelled,
                    },
                }
            };
            break match reply {
                Err(_) => Event::Failed(late(&self.upstream, self.kind.method)),
                Ok(None) => Event::Failed(self.upstream.ended(&self.pending.ending())),
                Ok(Some(Reply::Result(result))) => self.shaped(result),
                Ok(Some(Reply::Error(error))) => Event::Error(error),
                Ok(Some(Reply::Ask(_))) => continue,
                Ok(Some(Reply::Notification(method, params))) => {
                    match driver::restore_token(&params, self.token.as_deref()) {
                        Some(params) => return Event::Notification(method, params),
                        None => continue,
                    }
                }
            };
        };
        match &event {
            Event::Result(text) => self.open.end(Outcome::Ok, text.len(), None),
            Event::Error(text) => self.open.end(Outcome::Error, text.len(), None),
            Event::Failed(error) => self.open.end(failed(error), 0, Some(error)),
            Event::Cancelled | Event::Notification(..) => self.open.end(Outcome::Cancelled, 0, None),
        }
        event
    }

    /// A result by the names of the endpoint, in the shape of the client's era.
    fn shaped(&self, result: String) -> Event {
        let named = if self.merged {
            rewrite::result(&self.upstream.name, self.kind.uris, result)
        } else {
            Ok(result)
        };
        match named.and_then(|result| (self.shape)(result, self.era)) {
            Ok(text) => Event::Result(text),
            Err(detail) => {
                Event::Failed(UpstreamError::Protocol { upstream: self.upstream.name.to_string(), detail })
            }
        }
    }

    /// The gateway that runs the call.
    pub fn gateway(&self) -> &Arc<Gateway> {
        &self.open.gateway
    }

    /// Who made the call.
    pub fn who(&self) -> &Requester {
        &self.open.who
    }

    /// What the call is after.
    pub fn aim(&self) -> &Aim {
        &self.open.aim
    }

    /// When the call ends at the latest.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }
}
