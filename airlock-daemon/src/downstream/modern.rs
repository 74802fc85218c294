//! The driver of clients of 2026-07-28: every request stands alone, and its headers mirror its body.

use std::sync::Arc;

use http::{HeaderMap, StatusCode};

use crate::auth::principal::Principal;
use crate::call::start::{self, Means};
use crate::call::suspended::SuspendedCalls;
use crate::mcp::client::ClientCapability;
use crate::mcp::envelope::Envelope;
use crate::mcp::method::Method;
use crate::mcp::object::quote;
use crate::mcp::revision::{Era, Revision};
use crate::mcp::{jsonrpc, meta};
use crate::pipeline::methods::kind::Tasks;
use crate::pipeline::methods::table::{MethodKind, SET_LEVEL};
use crate::pipeline::request::asked::Asked;
use crate::pipeline::request::requester::Requester;
use crate::pipeline::revision::Declared;
use crate::pipeline::route::Endpoint;
use crate::pipeline::{Context, Gateway, Refusal, admit, revision, route};

use super::listen::LISTEN;
use super::reply::Reply;
use super::shape::Shape;
use super::{listen, reply};

/// Serves one request.
///
/// # Errors
/// A [`Refusal`] of any stage.
pub async fn serve(
    gateway: &Arc<Gateway>,
    suspended: &Arc<SuspendedCalls>,
    context: &Context,
    principal: &Arc<Principal>,
    endpoint: &Endpoint,
    headers: &HeaderMap,
    envelope: Envelope<'_>,
) -> Result<Reply, Refusal> {
    let Declared { name, method, params: sent, capabilities, level } = revision::modern(headers, &envelope)?;
    let Envelope { id: Some(id), params, .. } = envelope else {
        return Ok(Reply::Empty(StatusCode::ACCEPTED));
    };
    let who = Requester {
        context: context.clone(),
        principal: Arc::clone(principal),
        session: None,
        revision: Revision::LATEST,
        capabilities,
        level,
        params: sent,
    };
    match method {
        Method::Discover => {
            admit(gateway, &who, endpoint, Asked::Own(method.label())).await?;
            let text = discover(gateway, context, principal, endpoint).await?;
            Ok(Reply::Json(StatusCode::OK, jsonrpc::result(&id, &text)))
        }
        _ if name == LISTEN => listen::open(gateway, &who, endpoint, &params, id).await,
        _ => match MethodKind::of(method) {
            Some(MethodKind::List(kind)) => reply::list(gateway, kind, &who, endpoint, params, &id).await,
            // The level of the legacy era has gone with its sessions: `_meta` names it.
            Some(MethodKind::Call(kind)) if *kind != SET_LEVEL => {
                let shape = Shape { era: Era::Modern, cacheable: kind.cacheable };
                let may_be_task =
                    kind.tasks == Tasks::Created && who.capabilities.has(ClientCapability::Tasks);
                let shape = if may_be_task { shape.writer_of_tasks() } else { shape.writer() };
                let means = Means::Modern(Arc::clone(suspended));
                let call = start::enter(gateway, kind, who, endpoint, params, shape, means).await?;
                reply::follow(call, id).await
            }
            _ => Err(route::not_offered(&name, who.revision)),
        },
    }
}

/// The answer to `server/discover`.
async fn discover(
    gateway: &Gateway,
    context: &Context,
    principal: &Principal,
    endpoint: &Endpoint,
) -> Result<String, Refusal> {
    let offer = super::offer(gateway, context, principal, endpoint, Revision::LATEST).await?;
    let instructions =
        offer.instructions.map(|text| format!(r#","instructions":{text}"#)).unwrap_or_default();
    let revisions = Revision::ALL.map(|revision| quote(revision.as_str())).join(",");
    Ok(format!(
        r#"{{"resultType":"complete","supportedVersions":[{revisions}],"capabilities":{}{instructions},"ttlMs":0,"cacheScope":"private","_meta":{{"io.modelcontextprotocol/serverInfo":{}}}}}"#,
        offer.capabilities,
        meta::implementation(),
    ))
}
