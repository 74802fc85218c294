//! An MCP endpoint over HTTP: the head is checked, the token, the body; then the face of the client's era takes over.

use std::net::SocketAddr;
use std::sync::Arc;

use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use hyper::body::Incoming;

use crate::auth::principal::Principal;
use crate::face::legacy::Legacy;
use crate::face::reply::Reply;
use crate::face::{self, modern};
use crate::mcp::revision::Era;
use crate::pipeline::authenticate::authenticate;
use crate::pipeline::decode::decode;
use crate::pipeline::route::Endpoint;
use crate::pipeline::{Context, Refusal, Stage, record};

use super::Service;
use super::body::{self, Body};

/// `X-Correlation-Id`.
const CORRELATION_ID: HeaderName = HeaderName::from_static("x-correlation-id");
/// `Mcp-Session-Id`.
const SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");
/// Tells nginx and its kin not to hold events back.
const ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// Answers one request.
pub async fn serve(
    service: &Arc<Service>,
    peer: SocketAddr,
    endpoint: Endpoint,
    request: Request<Incoming>,
) -> Response<Body> {
    let context = Context::new(peer);
    let (parts, body) = request.into_parts();
    let mut principal = None;
    let mut method = String::new();
    let answer = enter(service, &context, &endpoint, &parts, body, &mut principal, &mut method).await;
    let mut response = match answer {
        Ok(reply) => respond(reply),
        Err(mut refusal) => {
            if refusal.aim.method.is_none() && !method.is_empty() {
                refusal.aim.method = Some(method.as_str().into());
            }
            record::refusal(&service.gateway, &context, principal.as_deref(), &refusal);
            refuse(&refusal, &context)
        }
    };
    service.gateway.metrics.request(&method, response.status().as_u16());
    if let Ok(id) = HeaderValue::from_str(&context.correlation_id) {
        response.headers_mut().insert(CORRELATION_ID, id);
    }
    response
}

/// The stages up to the face, in order.
async fn enter(
    service: &Arc<Service>,
    context: &Context,
    endpoint: &Endpoint,
    parts: &Parts,
    body: Incoming,
    principal: &mut Option<Arc<Principal>>,
    method: &mut String,
) -> Result<Reply, Refusal> {
    let gateway = &service.gateway;
    gateway.origins.admit(&parts.uri, &parts.headers)?;
    let caller = authenticate(gateway, &parts.uri, &parts.headers).await?;
    *principal = Some(Arc::clone(&caller));
    let legacy = |context| Legacy {
        gateway,
        sessions: &service.sessions,
        context,
        principal: &caller,
        endpoint,
        headers: &parts.headers,
    };
    match parts.method {
        Method::POST => media_types(&parts.headers)?,
        Method::DELETE => return legacy(context).delete(),
        _ => {
            let reason = "send messages by POST, and end a session by DELETE";
            let mut refusal = Refusal::new(Stage::Http, StatusCode::METHOD_NOT_ALLOWED, reason);
            refusal.allow = Some("POST, DELETE");
            return Err(refusal);
        }
    }
    let body = body::collect(body, gateway.config.server.max_request_bytes.as_usize()).await?;
    let envelope = decode(&body)?;
    method.push_str(envelope.method.as_deref().unwrap_or_default());
    match face::choose(&parts.headers, &envelope)? {
        Era::Modern => modern::serve(gateway, context, &caller, endpoint, &parts.headers, envelope).await,
        Era::Legacy => legacy(context).serve(envelope).await,
    }
}

/// A POST carries JSON and takes both kinds of answer ("Sending messages to the server", all revisions).
fn media_types(headers: &HeaderMap) -> Result<(), Refusal> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = |value: &str| value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if essence(text(header::CONTENT_TYPE)) != "application/json" {
        let reason = "the Content-Type must be application/json";
        return Err(Refusal::new(Stage::Http, StatusCode::UNSUPPORTED_MEDIA_TYPE, reason));
    }
    let accepted: Vec<_> = headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(essence)
        .collect();
    let takes = |kind: &str, group: &str| {
        accepted.iter().any(|range| range == kind || range == group || range == "*/*")
    };
    if takes("application/json", "application/*") && takes("text/event-stream", "text/*") {
        return Ok(());
    }
    let reason = "the Accept header must list application/json and text/event-stream";
    Err(Refusal::new(Stage::Http, StatusCode::NOT_ACCEPTABLE, reason))
}

fn respond(reply: Reply) -> Response<Body> {
    match reply {
        Reply::Json(status, text) => body::json(status, text),
        Reply::Empty(status) => {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = status;
            response
        }
        Reply::Opened(text, session) => {
            let mut response = body::json(StatusCode::OK, text);
            if let Ok(session) = HeaderValue::from_str(&session) {
                response.headers_mut().insert(SESSION_ID, session);
            }
            response
        }
        Reply::Stream(stream) => {
            let mut response = Response::new(Body::events(stream));
            let headers = response.headers_mut();
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
            headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
            headers.insert(ACCEL_BUFFERING, HeaderValue::from_static("no"));
            response
        }
    }
}

fn refuse(refusal: &Refusal, context: &Context) -> Response<Body> {
    let mut response = body::json(refusal.status, refusal.body(&context.correlation_id));
    let headers = response.headers_mut();
    if let Some(challenge) = refusal.challenge.as_deref().and_then(|text| HeaderValue::from_str(text).ok()) {
        headers.insert(header::WWW_AUTHENTICATE, challenge);
    }
    if let Some(allow) = refusal.allow {
        headers.insert(header::ALLOW, HeaderValue::from_static(allow));
    }
    if let Some(secs) = refusal.retry_after {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(secs));
    }
    response
}
