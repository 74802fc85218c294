//! The face of 2026-07-28: every request stands alone, and its headers mirror its body.

use std::sync::Arc;

use http::{HeaderMap, StatusCode};

use crate::audit::Event;
use crate::auth::principal::Principal;
use crate::mcp::client::{ClientCapabilities, ClientCapability};
use crate::mcp::envelope::Envelope;
use crate::mcp::error::code;
use crate::mcp::header::{self, METHOD, NAME, PROTOCOL_VERSION};
use crate::mcp::level::Level;
use crate::mcp::method::Method;
use crate::mcp::object::{Object, quote};
use crate::mcp::param_header::Sent;
use crate::mcp::revision::{Era, Revision};
use crate::pipeline::call::{self, Requester, not_offered};
use crate::pipeline::kind::{Kind, SET_LEVEL, Tasks};
use crate::pipeline::refusal::Aim;
use crate::pipeline::route::Endpoint;
use crate::pipeline::{Context, Gateway, Refusal, Stage, record};
use crate::upstream::driver::{self, META_CAPABILITIES, META_LOG_LEVEL, META_VERSION};

use super::listen::{self, LISTEN};
use super::reply::{self, Reply};
use super::shape::Shape;

/// Serves one request.
///
/// # Errors
/// A [`Refusal`] of any stage.
pub async fn serve(
    gateway: &Arc<Gateway>,
    context: &Context,
    principal: &Arc<Principal>,
    endpoint: &Endpoint,
    headers: &HeaderMap,
    envelope: Envelope<'_>,
) -> Result<Reply, Refusal> {
    let Envelope { id, method, params, meta } = envelope;
    let bad = |code, reason: String| {
        Refusal::new(Stage::Decode, StatusCode::BAD_REQUEST, reason).code(code).id(id.as_ref())
    };
    let Some(name) = method else {
        return Err(bad(code::INVALID_REQUEST, "a client sends no responses in this revision".into()));
    };
    let method = Method::parse(&name);
    headers_agree(headers, &name, method, &params, meta.as_ref())
        .map_err(|reason| bad(code::HEADER_MISMATCH, reason))?;
    let sent = Sent::read(headers).map_err(|reason| bad(code::HEADER_MISMATCH, reason))?;
    meta_is_whole(meta.as_ref()).map_err(|reason| bad(code::INVALID_PARAMS, reason))?;
    endpoint.upstream(&gateway.upstreams).map_err(|refusal| refusal.id(id.as_ref()))?;
    let Some(id) = id else {
        return if method.is_notification() {
            Ok(Reply::Empty(StatusCode::ACCEPTED))
        } else {
            Err(bad(code::INVALID_REQUEST, "a request needs an `id`".into()))
        };
    };
    let who = Requester {
        context: context.clone(),
        principal: Arc::clone(principal),
        session: None,
        revision: Revision::LATEST,
        capabilities: declared(meta.as_ref()),
        level: meta.as_ref().and_then(|meta| Level::parse(&meta.string(META_LOG_LEVEL)?)),
        params: sent,
    };
    let identified = |refusal: Refusal| refusal.id(Some(&id));
    match method {
        Method::Discover => {
            let aim = Aim { method: Some(method.label().into()), ..Aim::default() };
            record::answered(gateway, context, principal, &aim, Event::Request).map_err(identified)?;
            let text = discover(gateway, context, principal, endpoint).map_err(identified)?;
            Ok(Reply::Json(StatusCode::OK, reply::result(&id, &text)))
        }
        _ if name == LISTEN => {
            listen::open(gateway, &who, endpoint, &params, id.clone()).await.map_err(identified)
        }
        _ => match Kind::of(method) {
            Some(Kind::List(kind)) => reply::list(gateway, kind, &who, endpoint, params, &id).await,
            // The level of the legacy era has gone with its sessions: `_meta` names it.
            Some(Kind::Call(kind)) if *kind != SET_LEVEL => {
                let shape = Shape { era: Era::Modern, cacheable: kind.cacheable };
                let may_be_task =
                    kind.tasks == Tasks::Created && who.capabilities.has(ClientCapability::Tasks);
                let shape = if may_be_task { shape.writer_of_tasks() } else { shape.writer() };
                let call = call::enter(gateway, kind, who, endpoint, params, shape, None)
                    .await
                    .map_err(identified)?;
                reply::follow(call, id).await
            }
            _ => Err(identified(not_offered(&name, who.revision))),
        },
    }
}

/// 2026-07-28, "Standard request headers".
fn headers_agree(
    headers: &HeaderMap,
    name: &str,
    method: Method,
    params: &Object<'_>,
    meta: Option<&Object<'_>>,
) -> Result<(), String> {
    let revision = header::single(headers, PROTOCOL_VERSION)?
        .ok_or(format!("the header {PROTOCOL_VERSION} is missing"))?;
    if let Some(in_body) = meta.and_then(|meta| meta.string(META_VERSION))
        && in_body != revision
    {
        return Err(format!("the header {PROTOCOL_VERSION} disagrees with the body"));
    }
    header::agrees(headers, METHOD, name)?;
    // A method that this revision does not have is refused as such.
    if let Some(Kind::Call(call)) = Kind::of(method)
        && call.era != Some(Era::Legacy)
        && let Some(member) = call.mirrored()
    {
        header::agrees(headers, NAME, &params.string(member).unwrap_or_default())?;
    }
    Ok(())
}

/// 2026-07-28, "Request metadata": what every request must say about its sender.
fn meta_is_whole(meta: Option<&Object<'_>>) -> Result<(), String> {
    let meta = meta.ok_or("`params._meta` is missing")?;
    if meta.string(META_VERSION).is_none() {
        return Err(format!("`params._meta` lacks the string `{META_VERSION}`"));
    }
    if !meta.get(META_CAPABILITIES).is_some_and(|text| text.starts_with('{')) {
        return Err(format!("`params._meta` lacks the object `{META_CAPABILITIES}`"));
    }
    Ok(())
}

/// What the client says it can do for a server.
fn declared(meta: Option<&Object<'_>>) -> ClientCapabilities {
    meta.and_then(|meta| meta.get(META_CAPABILITIES)).map(ClientCapabilities::parse).unwrap_or_default()
}

/// The answer to `server/discover`.
fn discover(
    gateway: &Gateway,
    context: &Context,
    principal: &Principal,
    endpoint: &Endpoint,
) -> Result<String, Refusal> {
    let offer = super::offer(gateway, context, principal, endpoint, Revision::LATEST)?;
    let instructions =
        offer.instructions.map(|text| format!(r#","instructions":{text}"#)).unwrap_or_default();
    let revisions = Revision::ALL.map(|revision| quote(revision.as_str())).join(",");
    Ok(format!(
        r#"{{"resultType":"complete","supportedVersions":[{revisions}],"capabilities":{}{instructions},"ttlMs":0,"cacheScope":"private","_meta":{{"io.modelcontextprotocol/serverInfo":{}}}}}"#,
        offer.capabilities,
        driver::implementation(),
    ))
}
