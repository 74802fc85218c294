//! OAuth 2.0 Protected Resource Metadata (RFC 9728): one document an endpoint.

use http::{Response, StatusCode};
use serde_json::json;

use crate::auth::proof_algorithms;
use crate::config::schema::{ClientAuth, Tls};
use crate::pipeline::route::Endpoint;
use crate::pipeline::{Gateway, Refusal};

use super::body::{self, Body};
use super::nowhere::nothing_here;

/// Well-known path; the resource's own path follows it (RFC 9728, section 3.1).
pub const PREFIX: &str = "/.well-known/oauth-protected-resource";

/// The metadata of the resource at `path`; without a path, of the merged endpoint.
///
/// # Errors
/// 404 when there is no such resource.
pub fn serve(gateway: &Gateway, path: &str) -> Result<Response<Body>, Refusal> {
    let endpoint = if matches!(path, "" | "/") { Some(Endpoint::Merged) } else { Endpoint::parse(path) };
    let endpoint = endpoint.ok_or_else(nothing_here)?;
    endpoint.upstream(&gateway.upstreams)?;
    let mut document = json!({
        "resource": format!("{}{}", gateway.base_url, endpoint.path()),
        "authorization_servers": gateway.issuers,
        "bearer_methods_supported": ["header"],
        "dpop_signing_alg_values_supported": proof_algorithms().collect::<Vec<_>>(),
        "dpop_bound_access_tokens_required": false,
        "resource_name": "MCP Airlock",
    });
    // Where no certificate is asked for, no token that is bound to one can be taken.
    let asks = |tls: &Tls| tls.client_auth != ClientAuth::None && tls.client_ca_file.is_some();
    if gateway.config.server.tls.as_ref().is_some_and(asks) {
        document["tls_client_certificate_bound_access_tokens"] = json!(true);
    }
    // The scopes that are needed at least, not all that a policy may ask for: the rest is told when a call
    // needs it.
    let scopes = &gateway.config.auth.required_scopes;
    if !scopes.is_empty() {
        document["scopes_supported"] = json!(scopes);
    }
    Ok(body::json(StatusCode::OK, document.to_string()))
}
