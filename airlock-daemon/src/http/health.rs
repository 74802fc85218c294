//! `/live`, `/ready` and `/info`. A client without a token is told nothing that an attacker could use; one
//! that shows a good token is told more.

use std::borrow::Cow;
use std::sync::Arc;

use http::{Response, StatusCode};
use serde_json::{Value, json};

use crate::pipeline::{Gateway, Refusal};
use crate::stage::Stage;
use crate::stops::order::StopOrder;
use crate::upstream::pool::Upstream;

use super::body::Body;
use super::{Service, body};

/// The one who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asker {
    /// Somebody without a token.
    Stranger,
    /// A principal who may come in.
    Known,
}

/// The process answers.
pub fn live(_: &Arc<Service>) -> Response<Body> {
    body::json(StatusCode::OK, r#"{"live":true}"#.to_owned())
}

/// Calls can be served: keys are fetched, the policy is compiled, the audit log is writable. An upstream that
/// is down costs itself alone and changes nothing of that, so that no load balancer takes the whole host away
/// for it; `upstream=NAME` in the query asks for one as well. The parts that are not ready are named,
/// upstreams to strangers as one; the reasons are in the log and in `airlock status`.
///
/// # Errors
/// The upstream that is asked for is none.
pub fn ready(service: &Arc<Service>, asker: Asker, query: Option<&str>) -> Result<Response<Body>, Refusal> {
    let wanted = upstream_in(query);
    let mut needed: Vec<_> =
        door(service).into_iter().map(|(name, trouble)| (name, trouble.is_none())).collect();
    let mut listed = needed.clone();
    if let Some(name) = wanted {
        let Some(upstream) = service.gateway.upstreams.get(&name) else {
            let reason = "there is no upstream of this name";
            return Err(Refusal::new(Stage::Http, StatusCode::NOT_FOUND, reason));
        };
        let one = (format!("upstream {}", upstream.name), trouble(&service.gateway, upstream).is_none());
        needed.push(one.clone());
        listed.push(one);
    } else {
        let upstreams = upstreams(service).into_iter().map(|(name, trouble)| (name, trouble.is_none()));
        if asker == Asker::Known {
            listed.extend(upstreams.map(|(name, ready)| (format!("upstream {name}"), ready)));
        } else {
            listed.push(("upstreams".to_owned(), upstreams.fold(true, |all, (_, ready)| all && ready)));
        }
    }
    let ready = needed.iter().all(|(_, ready)| *ready);
    let told = |ready: bool| Value::from(if ready { "ok" } else { "not ready" });
    let listed: serde_json::Map<_, _> = listed.into_iter().map(|(name, ready)| (name, told(ready))).collect();
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    Ok(body::json(status, json!({"ready": ready, "parts": listed}).to_string()))
}

/// The upstream that a query asks for. Names of upstreams are told to strangers no faster than they may ask
/// for other things.
pub fn upstream_in(query: Option<&str>) -> Option<Cow<'_, str>> {
    let mut pairs = form_urlencoded::parse(query?.as_bytes());
    pairs.find(|(name, _)| name == "upstream").map(|(_, name)| name)
}

/// Every part without which nothing can be served, and what is wrong with it.
pub fn door(service: &Arc<Service>) -> Vec<(String, Option<String>)> {
    let gateway = &service.gateway;
    let mut parts = vec![
        ("keys".to_owned(), gateway.auth.ready().err()),
        // A bad bundle on disk is no trouble while the last good one decides; `airlock status` shows it.
        ("policy".to_owned(), gateway.policy.trouble()),
        ("audit".to_owned(), gateway.audit.healthy().err()),
    ];
    let stops = gateway.stops.in_force();
    parts.extend(stops.of_everything().map(|order| ("stopped".to_owned(), Some(stopped(order)))));
    // A part of its own only when it is missed.
    parts.extend(gateway.kernel.cage().trouble().map(|trouble| ("servers".to_owned(), Some(trouble))));
    parts
}

/// Every upstream, and why it cannot be used.
pub fn upstreams(service: &Arc<Service>) -> Vec<(String, Option<String>)> {
    let gateway = &service.gateway;
    let each = gateway.upstreams.iter();
    each.map(|upstream| (upstream.name.to_string(), trouble(gateway, upstream))).collect()
}

/// Why an upstream cannot be used: an operator has stopped it, or it is down.
fn trouble(gateway: &Gateway, upstream: &Upstream) -> Option<String> {
    let stops = gateway.stops.in_force();
    let stop = stops.of_upstream(&upstream.name).map(|order| stopped(order));
    stop.or_else(|| upstream.trouble().map(|why| why.as_ref().clone()))
}

/// A stop as a reason.
fn stopped(order: &StopOrder) -> String {
    let colon = if order.reason.is_empty() { "" } else { ": " };
    format!("an operator has stopped it{colon}{} (`airlock stops`)", order.reason)
}

/// The daemon that runs here: strangers are told what it speaks, others the version, the policy's digest and
/// how servers are kept.
pub fn info(service: &Arc<Service>, asker: Asker) -> Response<Body> {
    let gateway = &service.gateway;
    let revisions = crate::mcp::revision::Revision::ALL.map(crate::mcp::revision::Revision::as_str);
    if asker == Asker::Stranger {
        let document = json!({"name": "airlock", "revisions": revisions});
        return body::json(StatusCode::OK, document.to_string());
    }
    let document = json!({
        "name": "airlock",
        "version": env!("CARGO_PKG_VERSION"),
        "revisions": revisions,
        "io": gateway.io.backend,
        "policy": gateway.policy.load().digest(),
        "policy_mode": gateway.config.policy.mode,
        "kernel": {"mode": gateway.kernel.report().mode, "rung": gateway.kernel.report().rung},
    });
    body::json(StatusCode::OK, document.to_string())
}
