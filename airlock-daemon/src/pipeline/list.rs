//! `tools/list`: what an upstream offers, less what the policy would refuse this principal.

use std::sync::Arc;

use http::StatusCode;
use serde_json::value::RawValue;
use tokio::time::timeout;

use crate::audit::Event;
use crate::config::units::Period;
use crate::mcp::error::code;
use crate::mcp::object::{Object, quote};
use crate::upstream::driver;
use crate::upstream::error::UpstreamError;
use crate::upstream::link::Reply;
use crate::upstream::pool::Upstream;

use super::authorize::{Wish, authorize};
use super::call::{Requester, upstream_failed};
use super::record;
use super::refusal::Aim;
use super::route::{Endpoint, SEPARATOR};
use super::{Gateway, Refusal, Stage};

/// Pages of one upstream that the merged list follows.
const MAX_PAGES: usize = 100;

/// `_meta` member of the merged list that names upstreams whose part is missing.
const UNAVAILABLE: &str = "airlock/unavailable";

/// A list, or the upstream's JSON-RPC error object.
pub type Listed = Result<String, String>;

/// Answers `tools/list` at an endpoint, as canonical JSON text.
///
/// # Errors
/// A [`Refusal`]; at the merged endpoint an upstream that fails costs only its own part.
pub async fn tools(
    gateway: &Arc<Gateway>,
    who: &Requester,
    endpoint: &Endpoint,
    params: Object<'_>,
) -> Result<Listed, Refusal> {
    let mut aim = Aim { method: Some("tools/list".into()), ..Aim::default() };
    let one = endpoint.upstream(&gateway.upstreams)?;
    aim.upstream = one.map(|upstream| Arc::clone(&upstream.name));
    let aimed = |mut refusal: Refusal| {
        refusal.aim = aim.clone();
        refusal
    };
    if let Some(upstream) = one {
        let wish = Wish { method: "tools/list", tool: None, arguments: None, revision: who.revision };
        authorize(gateway, &who.context, &who.principal, upstream, wish).map_err(aimed)?;
    }
    record::answered(gateway, &who.context, &who.principal, &aim, Event::List).map_err(aimed)?;
    match one {
        Some(upstream) => {
            let page = ask(upstream, who, params).await.map_err(|error| aimed(upstream_failed(&error)))?;
            match page {
                Ok(result) => filter(gateway, who, upstream, &result).map(Ok).map_err(aimed),
                Err(error) => Ok(Err(error)),
            }
        }
        None if params.get("cursor").is_some() => {
            let reason = "the cursor is not one that was given out here";
            Err(aimed(Refusal::new(Stage::Route, StatusCode::BAD_REQUEST, reason).code(code::INVALID_PARAMS)))
        }
        None => Ok(Ok(merged(gateway, who).await)),
    }
}

/// Asks an upstream for one page.
async fn ask(upstream: &Upstream, who: &Requester, params: Object<'_>) -> Result<Listed, UpstreamError> {
    let answer = async {
        let (link, facts) = upstream.link(&who.caller()).await?;
        let mut pending = link
            .request(|id| driver::request(id, "tools/list", &driver::params(facts.era, params, id).0))
            .await
            .ok_or_else(|| upstream.ended(&link.ending()))?;
        loop {
            match pending.next().await {
                Some(Reply::Result(result)) => return Ok(Ok(result)),
                Some(Reply::Error(error)) => return Ok(Err(error)),
                Some(Reply::Notification(..)) => {}
                None => return Err(upstream.ended(&pending.ending())),
            }
        }
    };
    timeout(upstream.timeout, answer).await.unwrap_or_else(|_| {
        Err(UpstreamError::Deadline {
            upstream: upstream.name.to_string(),
            what: "tools/list".to_owned(),
            limit: Period(upstream.timeout).to_string(),
        })
    })
}

/// Takes out of a page what this principal may not call.
fn filter(gateway: &Gateway, who: &Requester, upstream: &Upstream, result: &str) -> Result<String, Refusal> {
    let invalid = || {
        let detail = "its answer to tools/list has no list of tools with names".to_owned();
        upstream_failed(&UpstreamError::Protocol { upstream: upstream.name.to_string(), detail })
    };
    let mut page = Object::parse(result).map_err(|_| invalid())?;
    let tools: Vec<&RawValue> =
        page.kept("tools").and_then(|raw| serde_json::from_str(raw.get()).ok()).ok_or_else(invalid)?;
    let mut kept = Vec::with_capacity(tools.len());
    for tool in tools {
        if visible(gateway, who, upstream, tool).map_err(|_| invalid())?.is_some() {
            kept.push(tool.get());
        }
    }
    page.set("tools", format!("[{}]", kept.join(",")));
    Ok(page.write())
}

/// An entry of a list that is no object with a name.
struct NoTool;

/// The tool as an object where this principal may call it.
fn visible<'a>(
    gateway: &Gateway,
    who: &Requester,
    upstream: &Upstream,
    tool: &'a RawValue,
) -> Result<Option<Object<'a>>, NoTool> {
    let object = Object::parse(tool.get()).map_err(|_| NoTool)?;
    let name = object.kept_string("name").ok_or(NoTool)?;
    let wish = Wish { method: "tools/call", tool: Some(&name), arguments: None, revision: who.revision };
    let allowed = authorize(gateway, &who.context, &who.principal, upstream, wish).is_ok();
    Ok(allowed.then_some(object))
}

/// Everything this principal may call, of all upstreams, in the order of the configuration.
async fn merged(gateway: &Arc<Gateway>, who: &Requester) -> String {
    // All are asked at once; a slow one costs its own deadline, not the sum.
    let asked: Vec<_> = gateway
        .upstreams
        .iter()
        .map(|upstream| {
            let (gateway, upstream, who) = (Arc::clone(gateway), Arc::clone(upstream), who.clone());
            let name = Arc::clone(&upstream.name);
            (name, tokio::task::spawn_local(async move { part(&gateway, &who, &upstream).await }))
        })
        .collect();
    let mut tools = Vec::new();
    let mut missing = Vec::new();
    for (name, part) in asked {
        match part.await {
            Ok(Some(part)) => tools.extend(part),
            Ok(None) | Err(_) => missing.push(quote(&name)),
        }
    }
    let mut result = Object::default();
    result.set("tools", format!("[{}]", tools.join(",")));
    if !missing.is_empty() {
        result.set("_meta", format!("{{\"{UNAVAILABLE}\":[{}]}}", missing.join(",")));
    }
    result.write()
}

/// One upstream's tools under their merged names; `None` when it cannot say.
async fn part(gateway: &Gateway, who: &Requester, upstream: &Upstream) -> Option<Vec<String>> {
    let wish = Wish { method: "tools/list", tool: None, arguments: None, revision: who.revision };
    if authorize(gateway, &who.context, &who.principal, upstream, wish).is_err() {
        return Some(Vec::new());
    }
    let mut tools = Vec::new();
    let mut cursor: Option<String> = None;
    for _ in 0..MAX_PAGES {
        let mut params = Object::default();
        if let Some(cursor) = cursor.take() {
            params.set("cursor", cursor);
        }
        let result = match ask(upstream, who, params).await {
            Ok(Ok(result)) => result,
            Ok(Err(error)) => {
                tracing::warn!(upstream = %upstream.name, error, "the server refuses tools/list");
                return None;
            }
            Err(error) => {
                tracing::warn!("{error}");
                return None;
            }
        };
        let page = Object::parse(&result).ok()?;
        let entries: Vec<&RawValue> = serde_json::from_str(page.get("tools")?).ok()?;
        for tool in entries {
            if let Some(mut object) = visible(gateway, who, upstream, tool).ok()? {
                let name = format!("{}{SEPARATOR}{}", upstream.name, object.string("name")?);
                object.set("name", quote(&name));
                tools.push(object.write());
            }
        }
        match page.get("nextCursor") {
            Some(next) if next != "null" => cursor = Some(next.to_owned()),
            _ => return Some(tools),
        }
    }
    tracing::warn!(upstream = %upstream.name, "the list of tools has more than {MAX_PAGES} pages; the rest is left out");
    Some(tools)
}
