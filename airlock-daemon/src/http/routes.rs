//! Which path is what.

use std::sync::Arc;

use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, Version, header};
use hyper::body::Incoming;

use crate::pipeline::authenticate::authenticate;
use crate::pipeline::request::context::Peer;
use crate::pipeline::route::Endpoint;
use crate::pipeline::{Gateway, Refusal, head, limit};
use crate::stage::Stage;

use super::body::Body;
use super::health::Asker;
use super::nowhere::{not_allowed, nothing_here};
use super::{Service, ambiguous, body, cors, endpoint, health, metadata};

/// Answers one request. `fault` is what its head is known to have that hyper does not show.
pub async fn route(
    service: &Arc<Service>,
    peer: Peer,
    fault: Option<&'static str>,
    request: Request<Incoming>,
) -> Response<Body> {
    if let Some(reason) = fault.or_else(|| ambiguous::doubt(&request)) {
        let refusal = Refusal::new(Stage::Http, StatusCode::BAD_REQUEST, reason);
        let mut response = refuse(service, peer, request.headers(), refusal);
        if request.version() != Version::HTTP_2 {
            // Where it ends is not clear either.
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        return response;
    }
    if !expects_too_much(request.headers())
        && !cors::is_preflight(&request)
        && let Some(mcp) = Endpoint::parse(request.uri().path())
    {
        return endpoint::serve(service, peer, mcp, request).await;
    }
    let (head, mut body) = request.into_parts();
    let waits = head.headers.contains_key(header::EXPECT);
    let version = head.version;
    let mut response = beside(service, peer, &Request::from_parts(head, ())).await;
    // None of these needs a body, but a client that is told so should be able to read it.
    if version == Version::HTTP_2 {
        let server = &service.gateway.config.server;
        body::take_in(body, server.max_request_bytes.as_usize(), server.timeouts.body.0);
    } else if waits || !body::discard(&mut body).await {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// True where a request expects anything but `100-continue`, the one expectation that can be met.
fn expects_too_much(headers: &HeaderMap) -> bool {
    headers
        .get(header::EXPECT)
        .is_some_and(|expected| !expected.as_bytes().eq_ignore_ascii_case(b"100-continue"))
}

/// Answers a request that is for no endpoint.
async fn beside(service: &Arc<Service>, peer: Peer, request: &Request<()>) -> Response<Body> {
    if expects_too_much(request.headers()) {
        let reason = "of all expectations only 100-continue can be met (RFC 9110, section 10.1.1)";
        let refusal = Refusal::new(Stage::Http, StatusCode::EXPECTATION_FAILED, reason);
        return refuse(service, peer, request.headers(), refusal);
    }
    if cors::is_preflight(request) {
        if let Err(refusal) = may_ask(&service.gateway, &peer, request) {
            return endpoint::turn_away(service, peer, &refusal);
        }
        service.gateway.metrics.request("", StatusCode::NO_CONTENT.as_u16());
        return cors::preflight(request.headers());
    }
    let path = request.uri().path();
    let get = request.method() == Method::GET || request.method() == Method::HEAD;
    if let Some(resource) = path.strip_prefix(metadata::PREFIX) {
        // It is for every page (RFC 9728, section 3; `cors::is_for_all`).
        let served = limit::request(&service.gateway, &peer, request.headers()).and_then(|()| {
            if get { metadata::serve(&service.gateway, resource) } else { Err(not_allowed()) }
        });
        return served.unwrap_or_else(|refusal| endpoint::turn_away(service, peer, &refusal));
    }
    match path {
        // Whoever looks after this host must be able to, however busy its address is.
        "/live" if get => health::live(service),
        "/ready" if get => {
            let query = request.uri().query();
            let asker = match asker(&service.gateway, &peer, request).await {
                Ok(Asker::Stranger) if health::upstream_in(query).is_some() => {
                    open_to_all(&service.gateway, &peer, request.headers()).map(|()| Asker::Stranger)
                }
                asker => asker,
            };
            asker
                .and_then(|asker| health::ready(service, asker, query))
                .unwrap_or_else(|refusal| endpoint::turn_away(service, peer, &refusal))
        }
        "/info" if get => {
            let asker = match asker(&service.gateway, &peer, request).await {
                Ok(Asker::Stranger) => {
                    open_to_all(&service.gateway, &peer, request.headers()).map(|()| Asker::Stranger)
                }
                asker => asker,
            };
            match asker {
                Err(refusal) => endpoint::turn_away(service, peer, &refusal),
                Ok(asker) => health::info(service, asker),
            }
        }
        "/live" | "/ready" | "/info" => refuse(service, peer, request.headers(), not_allowed()),
        _ => refuse(service, peer, request.headers(), nothing_here()),
    }
}

/// The one who asks for a page of which strangers are told less. A token that is shown must be good, and a
/// bad one counts like any other.
async fn asker(gateway: &Gateway, peer: &Peer, request: &Request<()>) -> Result<Asker, Refusal> {
    let headers = request.headers();
    if !headers.contains_key(header::AUTHORIZATION) {
        return Ok(Asker::Stranger);
    }
    open_to_all(gateway, peer, headers)?;
    // The token is one for the endpoint of all upstreams.
    let (mut head, ()) = Request::new(()).into_parts();
    head.method = request.method().clone();
    head.uri = Uri::from_static("/mcp");
    head.headers = headers.clone();
    authenticate(gateway, peer, &Endpoint::Merged, &head).await.map(|_| Asker::Known)
}

/// A browser asks without a token what a page may do; that is limited like any request, and not for web pages
/// of others.
fn may_ask(gateway: &Gateway, peer: &Peer, request: &Request<()>) -> Result<(), Refusal> {
    let (uri, headers) = (request.uri(), request.headers());
    limit::request(gateway, peer, headers)?;
    head::size(uri, headers)?;
    if cors::is_for_all(uri.path()) { Ok(()) } else { gateway.origins.admit(uri, headers) }
}

/// A path that needs no token is limited all the same, and is not for web pages of others.
fn open_to_all(gateway: &Gateway, peer: &Peer, headers: &HeaderMap) -> Result<(), Refusal> {
    limit::request(gateway, peer, headers)?;
    gateway.origins.origin(headers)
}

/// Ends a request that was for nothing of ours; who sends many of them is told to wait like anybody else.
fn refuse(service: &Arc<Service>, peer: Peer, headers: &HeaderMap, refusal: Refusal) -> Response<Body> {
    let refusal = limit::request(&service.gateway, &peer, headers).err().unwrap_or(refusal);
    endpoint::turn_away(service, peer, &refusal)
}
