//! The checks of a request, one file each. [`enter`] and [`admit`] are the list: they read from top to
//! bottom, and each of their lines is a check that lets the request go on or ends it with a [`Refusal`],
//! which is recorded.
//!
//! A [`Refusal`] names its [`Stage`], the file that made it. The carrying out of what was admitted is in
//! [`crate::call`].

use std::borrow::Cow;
use std::sync::Arc;

use http::request::Parts;
use serde_json::value::RawValue;

use crate::audit::RecordWait;
use crate::auth::principal::Principal;
use crate::limits::daily::Spending;
use crate::redaction::Sieve;
use crate::upstream::pool::Upstream;

use authorize::authorize;
use handle::brought::{self, Brought};
use methods::kind::Noun;
use refusal::Aim;
use request::asked::{self, Asked};
use request::requester::Requester;
use route::Endpoint;

pub mod authenticate;
pub mod authorize;
pub mod decode;
pub mod forwarded;
pub mod gateway;
pub mod handle;
pub mod head;
pub mod limit;
pub mod methods;
pub mod mirror;
pub mod origin;
pub mod record;
pub mod redact;
pub mod refusal;
pub mod request;
pub mod revision;
pub mod route;
pub mod safe_names;
pub mod seal;
pub mod stopped;
pub mod tool_lock;
pub mod upstream;

pub use gateway::Gateway;
pub use refusal::Refusal;
pub use request::context::Context;

/// A message that has passed all checks, and is on record.
pub struct Admitted<'a> {
    /// The message; ids of tasks are the server's own.
    pub asked: Asked<'a>,
    /// The server that it goes to; none where it is for all of them, or for Airlock itself.
    pub upstream: Option<Arc<Upstream>>,
    /// The target, by the server's own name.
    pub own: Option<(Noun, String)>,
    /// The arguments that the policy was shown: as they came.
    pub arguments: Option<Cow<'a, RawValue>>,
    /// Looks through everything else that is said in its course; none where nothing is looked for.
    pub sieve: Option<Arc<Sieve>>,
    /// The call as it was counted for the day, where it was.
    pub spending: Option<Spending>,
    /// The things that the client brought back.
    pub brought: Brought,
    /// The same as records tell it.
    pub aim: Aim,
}

/// The checks of a request's head, in order, once a request and before its body is read. The principal is in
/// `known` as soon as its token has been found good, also where a later check refuses.
///
/// # Errors
/// The refusal of the first check that does not pass.
pub async fn enter(
    gateway: &Gateway,
    context: &Context,
    endpoint: &Endpoint,
    parts: &Parts,
    known: &mut Option<Arc<Principal>>,
) -> Result<Arc<Principal>, Refusal> {
    limit::request(gateway, &context.peer, &parts.headers)?;
    head::size(&parts.uri, &parts.headers)?;
    gateway.origins.admit(&parts.uri, &parts.headers)?;
    // Before a token is asked for: a client would look for the metadata of what is not there.
    let upstream = endpoint.upstream(&gateway.upstreams)?;
    let principal = authenticate::authenticate(gateway, &context.peer, endpoint, parts).await?;
    *known = Some(Arc::clone(&principal));
    stopped::server(gateway, &principal, upstream.map(|upstream| &**upstream))?;
    head::method(parts)?;
    Ok(principal)
}

/// The checks of a message, in order: a call, a list, a subscription or anything else that a client of either
/// era asks for, alone or in a batch.
///
/// A message for all servers has no server here: each server's part is judged by itself when it is shown.
///
/// # Errors
/// The refusal of the first check that does not pass. It says which message it is about.
pub async fn admit<'a>(
    gateway: &Gateway,
    who: &Requester,
    endpoint: &Endpoint,
    asked: Asked<'a>,
) -> Result<Admitted<'a>, Refusal> {
    let mut aim = Aim { method: Some(asked.method().into()), revision: Some(who.revision), ..Aim::default() };
    let admitted = check(gateway, who, endpoint, asked, &mut aim).await;
    admitted.map_err(|refusal| refusal.about(&aim))
}

/// The list of [`admit`].
async fn check<'a>(
    gateway: &Gateway,
    who: &Requester,
    endpoint: &Endpoint,
    mut asked: Asked<'a>,
    aim: &mut Aim,
) -> Result<Admitted<'a>, Refusal> {
    // All that this message puts on record waits for the disk together, at most `audit.wait`.
    let mut wait = RecordWait::default();
    record::room(gateway, &mut wait).await;
    let revision = who.revision;
    let asked::Parts { subject, arguments, back } = asked.parts(revision, aim).map_err(route::invalid)?;
    let server = route::server(&gateway.upstreams, endpoint, &asked, subject.as_ref(), revision)?;
    let upstream = server.map(|(upstream, _)| upstream);
    aim.upstream = upstream.map(|upstream| Arc::clone(&upstream.name));
    stopped::server(gateway, &who.principal, upstream.map(|upstream| &**upstream))?;
    let own = safe_names::own(gateway, who, endpoint, server, subject.as_ref(), &mut wait).await?;
    if let (Some(subject), Some(own)) = (&subject, &own) {
        aim.called = own.is_safe.then(|| subject.name.as_ref().into());
        aim.at(own.noun, &own.name);
    }

    let own_name = own.as_ref().map(|own| (own.noun, own.name.as_str()));
    let wish = asked.wish(own_name, arguments.as_deref(), revision);
    let digested = arguments.as_deref().map_or("{}", RawValue::get);
    limit::call(gateway, &who.principal, upstream, wish)?;
    let decision = match upstream {
        Some(upstream) => {
            let bound = |refusal: Refusal| refusal.bound(asked.is_call().then(|| aim.digest(digested)));
            decode::arguments(gateway, wish.arguments).map_err(bound)?;
            Some(authorize(gateway, who, upstream, wish, &mut wait).await.map_err(bound)?)
        }
        None => None,
    };
    route::offered(&gateway.upstreams, &asked, upstream, revision)?;
    upstream.map_or(Ok(()), |upstream| stopped::wish(gateway, &who.principal, upstream, wish))?;
    let method = asked.method();
    upstream.map_or(Ok(()), |upstream| tool_lock::known(upstream, who, method, own_name))?;
    let sent = redact::Sent { own: own_name, arguments: arguments.clone(), back };
    let passed = redact::request(gateway, who, (upstream, decision.as_ref()), &mut asked, sent, aim).await?;
    let digested = passed.arguments.as_deref().map_or("{}", RawValue::get);
    let back = (own_name, digested, passed.back);
    let brought = brought::check(gateway, who, endpoint, &mut asked, upstream, back)?;
    let shown = (own_name.filter(|_| asked.is_call()), arguments.as_deref().map_or("{}", RawValue::get));
    let spending = limit::budget(gateway, &who.principal, upstream, shown)?;
    aim.opened(brought.task.as_deref(), asked.as_task());
    let told = (asked.event(), digested, &passed.found);
    let recorded = record::admitted(gateway, who, aim, decision.as_ref(), told, &mut wait).await;
    recorded.inspect_err(|_| spending.into_iter().for_each(|of| gateway.limits.take_back(of)))?;

    let own = own.map(|own| (own.noun, own.name));
    let (upstream, aim) = (upstream.map(Arc::clone), std::mem::take(aim));
    Ok(Admitted { asked, upstream, own, arguments, sieve: passed.sieve, spending, brought, aim })
}
