//! An MCP endpoint over HTTP: the head is checked, the token, the body; then the driver of the client's era
//! takes over.

use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use http::request::Parts;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Version, header as http_header,
};
use http_body::Body as _;
use hyper::body::Incoming;

use crate::auth::principal::Principal;
use crate::downstream::batch::BatchStream;
use crate::downstream::legacy::Legacy;
use crate::downstream::reply::Reply;
use crate::downstream::session::Served;
use crate::downstream::{batch, modern};
use crate::limits::budget::Charge;
use crate::limits::kept::Kept;
use crate::mcp::envelope::{Envelope, Id};
use crate::mcp::revision::Era;
use crate::pipeline;
use crate::pipeline::head::EVENT_STREAM;
use crate::pipeline::request::context::Peer;
use crate::pipeline::route::Endpoint;
use crate::pipeline::{Context, Refusal, decode, head, limit, record, revision};
use crate::stage::Stage;

use super::body::Body;
use super::{Service, body};

/// `X-Correlation-Id`.
const CORRELATION_ID: HeaderName = HeaderName::from_static("x-correlation-id");
/// `DPoP-Nonce` (RFC 9449, section 8).
const DPOP_NONCE: HeaderName = HeaderName::from_static("dpop-nonce");
/// `Mcp-Session-Id`.
const SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");
/// Tells nginx and its kin not to hold events back.
const ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// Answers one request.
pub async fn serve(
    service: &Arc<Service>,
    peer: Peer,
    endpoint: Endpoint,
    request: Request<Incoming>,
) -> Response<Body> {
    let context = Context::new(peer).to(request.uri());
    let (parts, body) = request.into_parts();
    let mut is_read = true;
    let (method, answer) = enter(service, &context, endpoint, parts, body, &mut is_read).await;
    let mut response = answer.map_or_else(|refusal| refuse(&refusal, &context), respond);
    if !is_read {
        // hyper reads no further on it, and the client must not write its next request there.
        response.headers_mut().insert(http_header::CONNECTION, HeaderValue::from_static("close"));
    }
    service.gateway.metrics.request(&method, response.status().as_u16());
    if let Ok(id) = HeaderValue::from_str(&context.correlation_id) {
        response.headers_mut().insert(CORRELATION_ID, id);
    }
    response
}

/// Answers a request that goes no further, and records why.
pub fn turn_away(service: &Arc<Service>, peer: Peer, refusal: &Refusal) -> Response<Body> {
    let context = Context::new(peer);
    record::refusal(&service.gateway, &context, None, refusal);
    service.gateway.metrics.request("", refusal.status.as_u16());
    let mut response = refuse(refusal, &context);
    if let Ok(id) = HeaderValue::from_str(&context.correlation_id) {
        response.headers_mut().insert(CORRELATION_ID, id);
    }
    response
}

/// A request whose head, token and length have been found good.
struct Admitted {
    service: Arc<Service>,
    context: Context,
    principal: Arc<Principal>,
    endpoint: Endpoint,
    headers: HeaderMap,
    body: Bytes,
    /// For the body.
    _charge: Option<Charge>,
}

/// The stages up to the body, in order, and then the rest; says which method was asked for.
async fn enter(
    service: &Arc<Service>,
    context: &Context,
    endpoint: Endpoint,
    parts: Parts,
    mut body: Incoming,
    is_read: &mut bool,
) -> (String, Result<Reply, Refusal>) {
    let mut principal = None;
    let version = parts.version;
    let entered = read(service, context, endpoint, parts, &mut body, &mut principal, is_read).await;
    match entered {
        Ok((Method::DELETE, admitted)) => {
            let ended = admitted.counted().and_then(|()| admitted.legacy(None).delete());
            (String::new(), ended.map_err(|refusal| admitted.record(refusal)))
        }
        Ok((Method::GET, admitted)) => {
            let opened = match admitted.counted() {
                Ok(()) => admitted.legacy(None).get().await,
                Err(refusal) => Err(refusal),
            };
            (String::new(), opened.map_err(|refusal| admitted.record(refusal)))
        }
        // A legacy client that goes away has not cancelled anything: its request runs to its end in a task of
        // its own.
        Ok((_, admitted)) if !admitted.is_modern() => tokio::task::spawn_local(admitted.dispatch())
            .await
            .unwrap_or_else(|_| (String::new(), Err(broken_off()))),
        // A box of its own: the rest of a request is a small part of it, and is moved about.
        Ok((_, admitted)) => Box::pin(admitted.dispatch()).await,
        Err(refusal) => {
            if version == Version::HTTP_2 {
                let server = &service.gateway.config.server;
                body::take_in(body, server.max_request_bytes.as_usize(), server.timeouts.body.0);
            }
            record::refusal(&service.gateway, context, principal.as_deref(), &refusal);
            (String::new(), Err(refusal))
        }
    }
}

async fn read(
    service: &Arc<Service>,
    context: &Context,
    endpoint: Endpoint,
    parts: Parts,
    body: &mut Incoming,
    known: &mut Option<Arc<Principal>>,
    is_read: &mut bool,
) -> Result<(Method, Admitted), Refusal> {
    let gateway = &service.gateway;
    let principal = match pipeline::enter(gateway, context, &endpoint, &parts, known).await {
        Ok(principal) => principal,
        Err(refusal) => {
            // Whoever waits for leave to send the body does not get it. Streams of HTTP/2 end one by one.
            *is_read = parts.version == Version::HTTP_2
                || !parts.headers.contains_key(http_header::EXPECT) && body::discard(body).await;
            return Err(refusal);
        }
    };
    let server = &gateway.config.server;
    let limit = server.max_request_bytes.as_usize();
    // A body whose length is not said may become as long as it may be; one that is said to be longer is
    // refused for that.
    let expected =
        body.size_hint().exact().map_or(limit, |bytes| limit.min(usize::try_from(bytes).unwrap_or(limit)));
    let mut charge = limit::body(gateway, &principal, expected)
        .inspect_err(|_| *is_read = parts.version == Version::HTTP_2)?;
    let body = body::collect(body, limit, server.timeouts.body.0)
        .await
        .inspect_err(|_| *is_read = parts.version == Version::HTTP_2)?;
    if let Some(charge) = &mut charge {
        charge.shrink(body.len());
    }
    let (service, context) = (Arc::clone(service), context.clone());
    let headers = parts.headers;
    Ok((parts.method, Admitted { service, context, principal, endpoint, headers, body, _charge: charge }))
}

impl Admitted {
    /// True where the head names a revision of the modern era; the body has the last word.
    fn is_modern(&self) -> bool {
        head::names_modern(&self.headers)
    }

    /// Parses the body and hands it to the driver of the client's era.
    async fn dispatch(self) -> (String, Result<Reply, Refusal>) {
        if decode::is_batch(&self.body)
            && let Some(session) = self.legacy(None).takes_batches()
        {
            return (String::new(), Rc::new(self).batch(session).await);
        }
        let message = decode::message(&self.body);
        if let Err(refusal) = self.counted() {
            let id = message.as_ref().map_or_else(|refused| refused.id.clone(), |message| message.id.clone());
            return (String::new(), Err(self.record(refusal.of_message(id.as_ref(), ""))));
        }
        let message = match message {
            Ok(message) => message,
            Err(refusal) => return (String::new(), Err(self.record(refusal))),
        };
        let (id, method) = sender(&message);
        let served = match revision::era(&self.headers, &message) {
            Ok(Era::Modern) => {
                let Self { service, context, principal, endpoint, headers, .. } = &self;
                modern::serve(
                    &service.gateway,
                    &service.suspended,
                    context,
                    principal,
                    endpoint,
                    headers,
                    message,
                )
                .await
            }
            Ok(Era::Legacy) => self.legacy(None).serve(message, &self.body).await,
            Err(refusal) => Err(refusal),
        };
        let answer = served.and_then(|reply| self.kept(reply));
        let answer = answer.map_err(|refusal| self.record(refusal.of_message(id.as_ref(), &method)));
        (method, answer)
    }

    /// Serves each message of a batch by itself, all at once.
    async fn batch(self: Rc<Self>, session: Served) -> Result<Reply, Refusal> {
        let parts = decode::batch(&self.body).map_err(|refusal| {
            let refusal = self.counted().err().unwrap_or(refusal);
            self.record(refusal)
        })?;
        let stream = Rc::new(BatchStream::new(&self.service.gateway, session, &self.principal));
        let one = |part: Bytes| {
            let (this, stream) = (Rc::clone(&self), Rc::clone(&stream));
            async move { this.one_of_a_batch(&part, &stream).await }
        };
        let gathered = batch::gather(&stream, parts, one).await;
        self.kept(gathered).map_err(|refusal| self.record(refusal))
    }

    /// Charges a whole answer to its principal until it is read. A short one is no more than what its request
    /// costs anyway.
    fn kept(&self, reply: Reply) -> Result<Reply, Refusal> {
        let (status, text) = match reply {
            Reply::Json(status, text) if text.len() > limit::SHORT => (status, text),
            other => return Ok(other),
        };
        let gateway = &self.service.gateway;
        let kept = Kept::new(&gateway.budget.of(self.principal.identity()), text, None);
        kept.map(|kept| Reply::Kept(status, kept)).map_err(|exhausted| limit::exhausted(gateway, exhausted))
    }

    async fn one_of_a_batch(&self, part: &[u8], stream: &BatchStream) -> Option<String> {
        let context = self.context.sibling();
        let message = match decode::message(part) {
            Ok(message) => message,
            Err(refusal) => return Some(refusal.body(&context.correlation_id)),
        };
        let (id, method) = sender(&message);
        let legacy = Legacy { context: &context, ..self.legacy(Some(stream)) };
        let served = match self.counted() {
            Ok(()) => legacy.serve(message, part).await,
            Err(refusal) => Err(refusal),
        };
        match served {
            Ok(Reply::Json(_, text)) => Some(text),
            Ok(_) => None,
            Err(refusal) => {
                let refusal = refusal.of_message(id.as_ref(), &method);
                record::refusal(&self.service.gateway, &context, Some(&self.principal), &refusal);
                Some(refusal.body(&context.correlation_id))
            }
        }
    }

    /// Counts one message of the principal's.
    fn counted(&self) -> Result<(), Refusal> {
        limit::message(&self.service.gateway, &self.principal)
    }

    fn legacy<'a>(&'a self, stream: Option<&'a BatchStream>) -> Legacy<'a> {
        Legacy {
            gateway: &self.service.gateway,
            sessions: &self.service.sessions,
            context: &self.context,
            principal: &self.principal,
            endpoint: &self.endpoint,
            headers: &self.headers,
            stream,
        }
    }

    fn record(&self, refusal: Refusal) -> Refusal {
        record::refusal(&self.service.gateway, &self.context, Some(&self.principal), &refusal);
        refusal
    }
}

/// The id that an answer to a message has, and its method. A response has an id of ours, and no answer.
fn sender(message: &Envelope<'_>) -> (Option<Id>, String) {
    let method = message.method.as_deref().unwrap_or_default().to_owned();
    (message.id.clone().filter(|_| !method.is_empty()), method)
}

/// The answer where a request's own task did not end as it should; the panic is in the log.
fn broken_off() -> Refusal {
    Refusal::new(
        Stage::Http,
        StatusCode::INTERNAL_SERVER_ERROR,
        "the request could not be carried to its end",
    )
}

fn respond(reply: Reply) -> Response<Body> {
    match reply {
        Reply::Json(status, text) => body::json(status, text),
        Reply::Kept(status, text) => body::json(status, Body::kept(text)),
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
        Reply::Stream(stream, places) => events(Body::events(stream, places)),
        Reply::Read(reader, places) => events(Body::numbered(reader, places)),
    }
}

fn events(body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(http_header::CONTENT_TYPE, HeaderValue::from_static(EVENT_STREAM));
    headers.insert(http_header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(ACCEL_BUFFERING, HeaderValue::from_static("no"));
    response
}

fn refuse(refusal: &Refusal, context: &Context) -> Response<Body> {
    let mut response = body::json(refusal.status, refusal.body(&context.correlation_id));
    let headers = response.headers_mut();
    if let Some(challenge) = refusal.challenge.as_deref().and_then(|text| HeaderValue::from_str(text).ok()) {
        headers.insert(http_header::WWW_AUTHENTICATE, challenge);
    }
    if let Some(nonce) = refusal.dpop_nonce.as_deref().and_then(|text| HeaderValue::from_str(text).ok()) {
        headers.insert(DPOP_NONCE, nonce);
    }
    if let Some(allow) = refusal.allow {
        headers.insert(http_header::ALLOW, HeaderValue::from_static(allow));
    }
    if let Some(secs) = refusal.retry_after {
        headers.insert(http_header::RETRY_AFTER, HeaderValue::from(secs));
    }
    // A proxy's connection carries others as well.
    if context.peer.proxy.is_none() && refusal.ends_connection {
        headers.insert(http_header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}
