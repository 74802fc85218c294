//! `/live`, `/ready` and `/info`: without a token, nothing that an attacker could use. Who shows a good one is told more.

use std::sync::Arc;

use http::{Response, StatusCode};
use serde_json::{Value, json};

use super::Service;
use super::body::{self, Body};

/// What the name of a part begins with that is an upstream.
const UPSTREAM: &str = "upstream ";

/// Who asks.
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

/// Calls can be served: keys fetched, policy compiled, audit writable, every upstream probed. The parts that are not ready
/// are named, upstreams to strangers as one; why is in the log and in `airlock status`.
pub fn ready(service: &Arc<Service>, asker: Asker) -> Response<Body> {
    let parts = parts(service);
    let ready = parts.iter().all(|(_, trouble)| trouble.is_none());
    let mut listed = serde_json::Map::new();
    for (name, trouble) in parts {
        let name = match asker {
            Asker::Stranger if name.starts_with(UPSTREAM) => "upstreams".to_owned(),
            _ => name,
        };
        let told = if trouble.is_none() { "ok" } else { "not ready" };
        // One that is not ready is enough.
        if trouble.is_some() || !listed.contains_key(&name) {
            listed.insert(name, Value::from(told));
        }
    }
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
        (format!("{UPSTREAM}{}", upstream.name), upstream.trouble().map(|trouble| trouble.as_ref().clone()))
    }));
    parts
}

/// What runs here: to strangers what it speaks, to others the version, the policy's digest and how servers are kept.
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
