//! Is everything that a client brings back its own: the handle of a task, the state of a request, a cursor?

use std::sync::Arc;

use crate::upstream::lists::listed::Walk;
use crate::upstream::pool::Upstream;

use super::task;
use crate::pipeline::methods::kind::{List, Noun};
use crate::pipeline::request::asked::Asked;
use crate::pipeline::request::requester::Requester;
use crate::pipeline::request::state::{Back, RequestState, ResumeToken, Scope};
use crate::pipeline::route::Endpoint;
use crate::pipeline::seal::Purpose;
use crate::pipeline::{Gateway, Refusal, route};

/// Where it leads.
pub enum Leads {
    /// The client brought nothing.
    Nowhere,
    /// To the server, with the server's own state.
    ToServer(RequestState),
    /// To the call that waits here, with the answers to its questions.
    ToParked(ResumeToken, Vec<(String, String)>),
    /// To a further page of a list.
    ToPage(Walk),
}

/// The things that were brought, opened.
pub struct Brought {
    /// The server's own id of the task that the message is aimed at.
    pub task: Option<String>,
    /// Where the message goes on.
    pub leads: Leads,
}

/// Opens what a client brings back; the server's own ids of tasks stand in the message afterwards.
///
/// # Errors
/// The refusal of a handle that was given to somebody else or for something else, or is made up.
pub fn check(
    gateway: &Gateway,
    who: &Requester,
    endpoint: &Endpoint,
    asked: &mut Asked<'_>,
    upstream: Option<&Arc<Upstream>>,
    (own, arguments, back): (Option<(Noun, &str)>, &str, Option<Back>),
) -> Result<Brought, Refusal> {
    let mut brought = Brought { task: None, leads: Leads::Nowhere };
    match (asked, upstream) {
        (Asked::Call(kind, params), Some(upstream)) => {
            let merged = *endpoint == Endpoint::Merged;
            brought.task = task::opened(gateway, upstream, who, own, merged, params)?;
            if let Some(back) = back {
                let path = endpoint.path();
                let target = own.map_or("", |(_, own)| own);
                let (endpoint, method) = (path.as_str(), kind.method);
                let scope = Scope { endpoint, upstream: &upstream.name, method, target, arguments };
                brought.leads = lead(gateway, who, back, &scope).map_err(route::invalid)?;
            }
        }
        (Asked::List(list, params), upstream) => {
            if let Some(handle) = params.string("cursor") {
                // All pages of all servers are followed here, so there is never a second one.
                let walk = upstream.and_then(|upstream| resumed(gateway, list, who, upstream, &handle));
                brought.leads = Leads::ToPage(walk.ok_or_else(|| route::no_cursor(who.revision))?);
            } else if params.get("cursor").is_some() {
                return Err(route::no_cursor(who.revision));
            }
        }
        _ => {}
    }
    Ok(brought)
}

/// Opens the state of an earlier request.
fn lead(gateway: &Gateway, who: &Requester, back: Back, scope: &Scope<'_>) -> Result<Leads, String> {
    let (mut state, answers) = back.open(gateway, who, scope)?;
    if let Some(ticket) = state.suspended {
        return Ok(Leads::ToParked(ticket, answers));
    }
    state.answered.extend(answers);
    Ok(Leads::ToServer(state))
}

/// The walk over a list that goes on with a cursor.
fn resumed(
    gateway: &Gateway,
    list: &List,
    who: &Requester,
    upstream: &Upstream,
    handle: &str,
) -> Option<Walk> {
    let scope = [&*upstream.name, list.method];
    let token = gateway.sealer.open(Purpose::Cursor, who.principal.identity(), &scope, handle).ok()?;
    Walk::resume(list.shape(), gateway.config.server.max_response_bytes.as_usize(), &token)
}
