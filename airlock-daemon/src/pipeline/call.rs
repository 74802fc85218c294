//! A tool call, from the decision to the last message.

use std::any::Any;
use std::sync::Arc;

use http::StatusCode;
use serde_json::value::RawValue;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use crate::auth::principal::Principal;
use crate::config::units::Period;
use crate::mcp::error::code;
use crate::mcp::object::{Object, quote};
use crate::mcp::revision::{Era, Revision};
use crate::upstream::driver;
use crate::upstream::error::UpstreamError;
use crate::upstream::link::{Pending, Reply};
use crate::upstream::pool::{Caller, Upstream};

use super::authorize::{Wish, authorize};
use super::record::{self, Outcome};
use super::refusal::Aim;
use super::route::Endpoint;
use super::{Context, Gateway, Refusal, Stage};

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
}

impl Requester {
    /// Who asks the pool for a process.
    pub fn caller(&self) -> Caller<'_> {
        Caller { principal: &self.principal, session: self.session.as_ref() }
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
    /// The result, as JSON text; the era is the upstream's.
    Result(String, Era),
    /// The upstream's JSON-RPC error object, as JSON text.
    Error(String),
    /// The client has cancelled the call: no answer is due.
    Cancelled,
    /// The upstream failed.
    Failed(UpstreamError),
}

/// A call that was let through and is under way. Its outcome is recorded however it ends, also when it is dropped.
pub struct Running {
    gateway: Arc<Gateway>,
    who: Requester,
    aim: Aim,
    upstream: Arc<Upstream>,
    pending: Pending,
    token: Option<String>,
    deadline: Instant,
    era: Era,
    /// How the client may cancel, in the legacy era.
    cancellation: Option<Cancellation>,
    ended: bool,
}

/// Runs the checks of a tool call and starts it.
///
/// # Errors
/// A [`Refusal`] of any stage from here on.
pub async fn start(
    gateway: &Arc<Gateway>,
    who: Requester,
    endpoint: &Endpoint,
    mut params: Object<'_>,
    cancellation: Option<Cancellation>,
) -> Result<Running, Refusal> {
    let mut aim = Aim { method: Some("tools/call".into()), ..Aim::default() };
    let invalid = |reason: &str, aim: &Aim| {
        let mut refusal =
            Refusal::new(Stage::Route, StatusCode::BAD_REQUEST, reason).code(code::INVALID_PARAMS);
        refusal.aim = aim.clone();
        refusal
    };
    let name = params.kept_string("name").ok_or_else(|| invalid("`params.name` must be a string", &aim))?;
    aim.target = Some(name.as_ref().into());
    let arguments = params.kept("arguments");
    if arguments.is_some_and(|arguments| !arguments.get().starts_with('{')) {
        return Err(invalid("`params.arguments` must be an object", &aim));
    }
    let (upstream, tool) =
        endpoint.tool(&gateway.upstreams, &name)?.ok_or_else(|| invalid("there is no such tool", &aim))?;
    aim.upstream = Some(Arc::clone(&upstream.name));
    aim.target = Some(tool.into());

    let refused = |mut refusal: Refusal| {
        refusal.aim = aim.clone();
        refusal
    };
    let none = empty_arguments();
    let wish = Wish {
        method: "tools/call",
        tool: Some(tool),
        // A call without arguments is a call with none: `null` is for entries of lists.
        arguments: Some(arguments.unwrap_or(&none)),
        revision: who.revision,
    };
    let decision = authorize(gateway, &who.context, &who.principal, upstream, wish).map_err(refused)?;
    let digested = arguments.map_or("{}", RawValue::get);
    record::intent(gateway, &who.context, &who.principal, &aim, &decision, digested).map_err(refused)?;

    if *endpoint == Endpoint::Merged {
        params.set("name", quote(tool));
    }
    let deadline = Instant::now() + upstream.timeout;
    match send(upstream, &who, params, deadline).await {
        Ok((pending, token, era)) => Ok(Running {
            gateway: Arc::clone(gateway),
            upstream: Arc::clone(upstream),
            who,
            pending,
            token,
            deadline,
            era,
            cancellation,
            aim,
            ended: false,
        }),
        Err(error) => {
            record::outcome(gateway, &who.context, &who.principal, &aim, failed(&error), 0);
            Err(refused(upstream_failed(&error)))
        }
    }
}

async fn send(
    upstream: &Upstream,
    who: &Requester,
    params: Object<'_>,
    deadline: Instant,
) -> Result<(Pending, Option<String>, Era), UpstreamError> {
    let late = || UpstreamError::Deadline {
        upstream: upstream.name.to_string(),
        what: "its start".to_owned(),
        limit: Period(upstream.timeout).to_string(),
    };
    let (link, facts) = timeout_at(deadline, upstream.link(&who.caller())).await.map_err(|_| late())??;
    let mut token = None;
    let pending = link
        .request(|id| {
            let (text, original) = driver::params(facts.era, params, id);
            token = original;
            driver::request(id, "tools/call", &text)
        })
        .await
        .ok_or_else(|| upstream.ended(&link.ending()))?;
    Ok((pending, token, facts.era))
}

fn empty_arguments() -> Box<RawValue> {
    RawValue::from_string("{}".to_owned()).unwrap_or_default()
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
                Err(_) => Event::Failed(UpstreamError::Deadline {
                    upstream: self.upstream.name.to_string(),
                    what: "tools/call".to_owned(),
                    limit: Period(self.upstream.timeout).to_string(),
                }),
                Ok(None) => Event::Failed(self.upstream.ended(&self.pending.ending())),
                Ok(Some(Reply::Result(result))) => Event::Result(result, self.era),
                Ok(Some(Reply::Error(error))) => Event::Error(error),
                Ok(Some(Reply::Notification(method, params))) => {
                    match driver::restore_token(&params, self.token.as_deref()) {
                        Some(params) => return Event::Notification(method, params),
                        None => continue,
                    }
                }
            };
        };
        let (outcome, bytes) = match &event {
            Event::Result(text, _) => (Outcome::Ok, text.len()),
            Event::Error(text) => (Outcome::Error, text.len()),
            Event::Failed(error) => (failed(error), 0),
            Event::Cancelled | Event::Notification(..) => (Outcome::Cancelled, 0),
        };
        self.end(outcome, bytes);
        event
    }

    /// The gateway that runs the call.
    pub fn gateway(&self) -> &Arc<Gateway> {
        &self.gateway
    }

    /// Who made the call.
    pub fn who(&self) -> &Requester {
        &self.who
    }

    /// What the call is after.
    pub fn aim(&self) -> &Aim {
        &self.aim
    }

    fn end(&mut self, outcome: Outcome, bytes: usize) {
        self.ended = true;
        record::outcome(&self.gateway, &self.who.context, &self.who.principal, &self.aim, outcome, bytes);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.ended {
            self.end(Outcome::Cancelled, 0);
            // A legacy client that went away has not cancelled (2025-11-25, "Cancellation"): the server finishes its work.
            if self.who.revision.era() == Era::Legacy {
                self.pending.abandon();
            }
        }
    }
}
