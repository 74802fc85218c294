//! Which path is what.

use std::sync::Arc;

use http::{HeaderValue, Method, Request, Response, StatusCode};
use hyper::body::Incoming;

use crate::pipeline::context::Peer;
use crate::pipeline::route::Endpoint;
use crate::pipeline::{Refusal, Stage};

use super::body::{Body, json};
use super::{Service, endpoint, health, metadata};

/// Answers one request.
pub async fn route(service: &Arc<Service>, peer: Peer, request: Request<Incoming>) -> Response<Body> {
    if let Some(expected) = request.headers().get(http::header::EXPECT)
        && !expected.as_bytes().eq_ignore_ascii_case(b"100-continue")
    {
        let reason = "of all expectations only 100-continue can be met (RFC 9110, section 10.1.1)";
        let refusal = Refusal::new(Stage::Http, StatusCode::EXPECTATION_FAILED, reason);
        return endpoint::turn_away(service, peer, &refusal);
    }
    let path = request.uri().path();
    if let Some(mcp) = Endpoint::parse(path) {
        return endpoint::serve(service, peer, mcp, request).await;
    }
    let get = request.method() == Method::GET || request.method() == Method::HEAD;
    if let Some(resource) = path.strip_prefix(metadata::PREFIX) {
        return if get { metadata::serve(&service.gateway, resource) } else { not_allowed() };
    }
    let answer = match path {
        "/live" => health::live,
        "/ready" => health::ready,
        "/info" => health::info,
        _ => return not_found(),
    };
    if get { answer(service) } else { not_allowed() }
}

/// 404 in the shape of the error contract.
pub fn not_found() -> Response<Body> {
    json(StatusCode::NOT_FOUND, r#"{"error":"there is nothing at this path"}"#.to_owned())
}

fn not_allowed() -> Response<Body> {
    let mut response =
        json(StatusCode::METHOD_NOT_ALLOWED, r#"{"error":"only GET is served at this path"}"#.to_owned());
    response.headers_mut().insert(http::header::ALLOW, HeaderValue::from_static("GET, HEAD"));
    response
}
