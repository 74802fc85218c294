//! The face of 2026-07-28: every request stands alone, and its headers mirror its body.

use std::sync::Arc;

use http::{HeaderMap, StatusCode};

use crate::audit::Event;
use crate::auth::principal::Principal;
use crate::mcp::envelope::Envelope;
use crate::mcp::error::code;
use crate::mcp::header::{self, METHOD, NAME, PROTOCOL_VERSION};
use crate::mcp::method::Method;
use crate::mcp::object::{Object, quote};
use crate::mcp::revision::{Era, Revision};
use crate::pipeline::call::{self, Requester};
use crate::pipeline::refusal::Aim;
use crate::pipeline::route::Endpoint;
use crate::pipeline::{Context, Gateway, Refusal, Stage, list, record};
use crate::upstream::driver::{self, META_CAPABILITIES, META_VERSION};

use super::reply::{self, Reply};

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
    let Envelope { id, method, params } = envelope;
    let bad = |code, reason: String| {
        Refusal::new(Stage::Decode, StatusCode::BAD_REQUEST, reason).code(code).id(id.as_ref())
    };
    let Some(name) = method else {
        return Err(bad(code::INVALID_REQUEST, "a client sends no responses in this revision".into()));
    };
    let method = Method::parse(&name);
    headers_agree(headers, &name, method, &params).map_err(|reason| bad(code::HEADER_MISMATCH, reason))?;
    meta_is_whole(&params).map_err(|reason| bad(code::INVALID_PARAMS, reason))?;
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
    };
    let identified = |refusal: Refusal| refusal.id(Some(&id));
    match method {
        Method::Discover => {
            let aim = Aim { method: Some(method.label().into()), ..Aim::default() };
            record::answered(gateway, context, principal, &aim, Event::Request).map_err(identified)?;
            let text = discover(gateway, context, principal, endpoint).map_err(identified)?;
            Ok(Reply::Json(StatusCode::OK, reply::result(&id, &text)))
        }
        Method::ToolsList => match list::tools(gateway, &who, endpoint, params).await.map_err(identified)? {
            Ok(text) => Ok(Reply::Json(StatusCode::OK, reply::result(&id, &private_list(&text)))),
            Err(error) => Ok(Reply::Json(StatusCode::OK, reply::error(&id, &error))),
        },
        Method::ToolsCall => {
            let running =
                call::start(gateway, who, endpoint, params, shape, None).await.map_err(identified)?;
            reply::follow(running, id).await
        }
        _ => {
            let reason = format!("the method `{}` is not served here", short(&name));
            Err(Refusal::new(Stage::Decode, StatusCode::NOT_FOUND, reason)
                .code(code::METHOD_NOT_FOUND)
                .id(Some(&id)))
        }
    }
}

/// 2026-07-28, "Standard request headers".
fn headers_agree(headers: &HeaderMap, name: &str, method: Method, params: &Object<'_>) -> Result<(), String> {
    let meta = params.get("_meta").and_then(|meta| Object::parse(meta).ok()).unwrap_or_default();
    let revision = header::single(headers, PROTOCOL_VERSION)?
        .ok_or(format!("the header {PROTOCOL_VERSION} is missing"))?;
    if let Some(in_body) = meta.string(META_VERSION)
        && in_body != revision
    {
        return Err(format!("the header {PROTOCOL_VERSION} disagrees with the body"));
    }
    header::agrees(headers, METHOD, name)?;
    if method == Method::ToolsCall {
        let tool = params.string("name").unwrap_or_default();
        header::agrees(headers, NAME, &tool)?;
    }
    Ok(())
}

/// 2026-07-28, "Request metadata": what every request must say about its sender.
fn meta_is_whole(params: &Object<'_>) -> Result<(), String> {
    let meta = params.get("_meta").ok_or("`params._meta` is missing")?;
    let meta = Object::parse(meta).map_err(|_| "`params._meta` must be an object")?;
    if meta.string(META_VERSION).is_none() {
        return Err(format!("`params._meta` lacks the string `{META_VERSION}`"));
    }
    if !meta.get(META_CAPABILITIES).is_some_and(|text| text.starts_with('{')) {
        return Err(format!("`params._meta` lacks the object `{META_CAPABILITIES}`"));
    }
    Ok(())
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

/// A list that was filtered for one principal is that principal's alone.
fn private_list(text: &str) -> String {
    let Ok(mut list) = Object::parse(text) else { return text.to_owned() };
    list.set("resultType", "\"complete\"");
    list.set("ttlMs", "0");
    list.set("cacheScope", "\"private\"");
    list.write()
}

/// A modern upstream's result passes as it is; a legacy one's is complete by nature.
fn shape(text: String, era: Era) -> Result<String, String> {
    let mut result = Object::parse(&text).map_err(|error| format!("its result is no object: {error}"))?;
    super::is_complete(&result)?;
    if era == Era::Modern {
        return Ok(text);
    }
    result.set("resultType", "\"complete\"");
    Ok(result.write())
}

/// At most 64 characters of something a client wrote.
fn short(text: &str) -> String {
    text.chars().take(64).collect()
}
