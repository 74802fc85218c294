//! The checks, one file each, in the order in which a call meets them:
//!
//! 1. [`forwarded`]: whose request does a proxy bring? [`origin`]: may this connection speak at all? (Origin,
//!    Host)
//! 2. [`authenticate`]: whose token is it?
//! 3. [`decode`]: is the body exactly one message?
//! 4. [`limit`]: is it too much? (Requests and refused tokens of an address are counted before 1 and 2 already.)
//! 5. [`route`]: which upstream? ([`kind`] says how a method names its target, [`naming`] what the merged
//!    endpoint calls it, [`safe_names`] what the upstream does)
//! 6. [`authorize`]: what does the policy say?
//! 7. [`record`]: the intent is on record before anything happens.
//! 8. [`call`], [`list`] and [`level`]: the upstream is asked, and what it says is filtered ([`rewrite`]). What it asks in
//!    return goes out through the policy ([`ask`]) and comes back ([`running`], [`required`], [`state`], [`parked`]).
//! 9. [`record`]: the outcome is on record.
//!
//! Each stage either lets the call go on or ends it with a [`Refusal`], which is recorded too.

use std::sync::Arc;

use http::request::Parts;

use crate::auth::principal::Principal;

use route::Endpoint;

pub mod ask;
pub mod authenticate;
pub mod authorize;
pub mod call;
pub mod context;
pub mod decode;
pub mod forwarded;
pub mod gateway;
pub mod head;
pub mod kind;
pub mod level;
pub mod limit;
pub mod list;
pub mod mirror;
pub mod naming;
pub mod open;
pub mod origin;
pub mod parked;
pub mod record;
pub mod refusal;
pub mod required;
pub mod revision;
pub mod rewrite;
pub mod route;
pub mod running;
pub mod safe_names;
pub mod seal;
pub mod stage;
pub mod state;
pub mod subscribe;
mod table;
pub mod talk;
pub mod task;
mod written;

pub use context::Context;
pub use gateway::Gateway;
pub use refusal::Refusal;
pub use stage::Stage;

/// The checks of a request's head, once a request and before its body is read. The principal is in `known` as
/// soon as its token has been found good, also where a later check refuses.
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
    endpoint.upstream(&gateway.upstreams)?;
    let principal = authenticate::authenticate(gateway, &context.peer, endpoint, parts).await?;
    *known = Some(Arc::clone(&principal));
    head::method(parts)?;
    Ok(principal)
}
