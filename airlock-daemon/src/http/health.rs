//! `/live`, `/ready` and `/info`: no token, and nothing that an attacker could use.

use std::sync::Arc;

use http::{Response, StatusCode};
use serde_json::{Value, json};

use super::Service;
use super::body::{self, Body};

/// The process answers.
pub fn live(_: &Arc<Service>) -> Response<Body> {
    body::json(StatusCode::OK, r#"{"live":true}"#.to_owned())
}

/// Calls can be served: keys fetched, policy compiled, audit writable, every upstream probed. The parts that are not ready
/// are named; why is in the log and in `airlock status`, since an answer without a token must not tell it.
pub fn ready(service: &Arc<Service>) -> Response<Body> {
    let parts = parts(service);
    let ready = parts.iter().all(|(_, trouble)| trouble.is_none());
    let listed: serde_json::Map<_, _> = parts
        .into_iter()
        .map(|(name, trouble)| (name, Value::from(if trouble.is_none() { "ok" } else { "not ready" })))
        .collect();
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    body::json(status, json!({"ready": ready, "parts": listed}).to_string())
}

/// Every part that must be ready, and what is wrong with it.
pub fn parts(service: &Arc<Service>) -> Vec<(String, Option<String>)> {
    let gateway = &service.gateway;
    let mut parts = vec![
        ("keys".to_owned(), gateway.auth.ready().err()),
        // A bad bundle on disk is no trouble while the last good one decides; `airlock status` shows it.
        ("policy".to_owned(), gateway.policy.trouble()),
        ("audit".to_owned(), gateway.audit.healthy().err()),
    ];
    parts.extend(gateway.upstreams.iter().map(|upstream| {
        (format!("upstream {}", upstream.name), upstream.trouble().map(|trouble| trouble.as_ref().clone()))
    }));
    parts
}

/// What runs here, in general terms.
pub fn info(service: &Arc<Service>) -> Response<Body> {
    let gateway = &service.gateway;
    let revisions = crate::mcp::revision::Revision::ALL.map(crate::mcp::revision::Revision::as_str);
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
