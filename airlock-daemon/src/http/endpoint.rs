//! An MCP endpoint over HTTP: the head is checked, the token, the body; then the face of the client's era takes over.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::request::Parts;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header as http_header,
};
use hyper::body::Incoming;

use crate::auth::principal::Principal;
use crate::face::legacy::Legacy;
use crate::face::reply::Reply;
use crate::face::{self, batch, modern};
use crate::mcp::header::{self, PROTOCOL_VERSION};
use crate::mcp::revision::{Era, Revision};
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
    let (method, answer) = enter(service, &context, endpoint, parts, body).await;
    let mut response = answer.map_or_else(|refusal| refuse(&refusal, &context), respond);
    service.gateway.metrics.request(&method, response.status().as_u16());
    if let Ok(id) = HeaderValue::from_str(&context.correlation_id) {
        response.headers_mut().insert(CORRELATION_ID, id);
    }
    response
}

/// What is known of a request once its head, its token and its length have been found good.
#[derive(Clone)]
struct Admitted {
    service: Arc<Service>,
    context: Context,
    principal: Arc<Principal>,
    endpoint: Endpoint,
    headers: HeaderMap,
    body: Bytes,
}

/// The stages up to the body, in order, and then the rest; says which method was asked for.
async fn enter(
    service: &Arc<Service>,
    context: &Context,
    endpoint: Endpoint,
    parts: Parts,
    body: Incoming,
) -> (String, Result<Reply, Refusal>) {
    let mut principal = None;
    match read(service, context, endpoint, parts, body, &mut principal).await {
        Ok((Method::DELETE, admitted)) => {
            let ended = admitted.legacy().delete();
            (String::new(), ended.map_err(|refusal| admitted.record(String::new(), refusal)))
        }
        // A legacy client that goes away has not cancelled anything: its request runs to its end in a task of its own.
        Ok((_, admitted)) if !admitted.is_modern() => tokio::task::spawn_local(admitted.dispatch())
            .await
            .unwrap_or_else(|_| (String::new(), Err(broken_off()))),
        Ok((_, admitted)) => admitted.dispatch().await,
        Err(refusal) => {
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
    body: Incoming,
    known: &mut Option<Arc<Principal>>,
) -> Result<(Method, Admitted), Refusal> {
    let gateway = &service.gateway;
    gateway.origins.admit(&parts.uri, &parts.headers)?;
    let principal = authenticate(gateway, &parts.uri, &parts.headers).await?;
    *known = Some(Arc::clone(&principal));
    match parts.method {
        Method::POST => media_types(&parts.headers)?,
        Method::DELETE => {}
        _ => {
            let reason = "send messages by POST, and end a session by DELETE";
            let mut refusal = Refusal::new(Stage::Http, StatusCode::METHOD_NOT_ALLOWED, reason);
            refusal.allow = Some("POST, DELETE");
            return Err(refusal);
        }
    }
    let body = body::collect(body, gateway.config.server.max_request_bytes.as_usize()).await?;
    let (service, context) = (Arc::clone(service), context.clone());
    Ok((parts.method, Admitted { service, context, principal, endpoint, headers: parts.headers, body }))
}

impl Admitted {
    /// Whether the head names a revision of the modern era; the body has the last word.
    fn is_modern(&self) -> bool {
        let named = header::single(&self.headers, PROTOCOL_VERSION).ok().flatten();
        named.and_then(Revision::parse).is_some_and(|revision| revision.era() == Era::Modern)
    }

    /// Parses the body and hands it to the face of the client's era.
    async fn dispatch(self) -> (String, Result<Reply, Refusal>) {
        if batch::is_batch(&self.body) {
            return ("batch".to_owned(), self.batch().await);
        }
        let envelope = match decode(&self.body) {
            Ok(envelope) => envelope,
            Err(refusal) => return (String::new(), Err(self.record(String::new(), refusal))),
        };
        let method = envelope.method.as_deref().unwrap_or_default().to_owned();
        let answer = match face::choose(&self.headers, &envelope) {
            Ok(Era::Modern) => {
                let Self { service, context, principal, endpoint, headers, .. } = &self;
                modern::serve(&service.gateway, context, principal, endpoint, headers, envelope).await
            }
            Ok(Era::Legacy) => self.legacy().serve(envelope).await,
            Err(refusal) => Err(refusal),
        };
        let answer = answer.map_err(|refusal| self.record(method.clone(), refusal));
        (method, answer)
    }

    /// Serves the messages of a batch, each in a task and with a correlation id of its own.
    async fn batch(self) -> Result<Reply, Refusal> {
        let messages = self.legacy().may_batch().and_then(|()| batch::messages(&self.body));
        let messages = messages.map_err(|refusal| self.record(String::new(), refusal))?;
        let under_way: Vec<_> = messages
            .into_iter()
            .map(|body| {
                let context = self.context.sibling();
                let one = Self { body, context: context.clone(), ..self.clone() };
                (context, tokio::task::spawn_local(one.legacy_only()))
            })
            .collect();
        let mut answers = Vec::with_capacity(under_way.len());
        for (context, answer) in under_way {
            answers.push((context, answer.await.unwrap_or_else(|_| Err(broken_off()))));
        }
        Ok(batch::gather(answers))
    }

    /// Parses the body and hands it to the legacy face.
    async fn legacy_only(self) -> Result<Reply, Refusal> {
        let served = async {
            let envelope = decode(&self.body).map_err(|refusal| (String::new(), refusal))?;
            let method = envelope.method.as_deref().unwrap_or_default().to_owned();
            self.legacy().serve(envelope).await.map_err(|refusal| (method, refusal))
        };
        served.await.map_err(|(method, refusal)| self.record(method, refusal))
    }

    fn legacy(&self) -> Legacy<'_> {
        Legacy {
            gateway: &self.service.gateway,
            sessions: &self.service.sessions,
            context: &self.context,
            principal: &self.principal,
            endpoint: &self.endpoint,
            headers: &self.headers,
        }
    }

    fn record(&self, method: String, mut refusal: Refusal) -> Refusal {
        if refusal.aim.method.is_none() && !method.is_empty() {
            refusal.aim.method = Some(method.into());
        }
        record::refusal(&self.service.gateway, &self.context, Some(&self.principal), &refusal);
        refusal
    }
}

/// The answer where a request's own task did not end as it should; the panic is in the log.
fn broken_off() -> Refusal {
    Refusal::new(
        Stage::Http,
        StatusCode::INTERNAL_SERVER_ERROR,
        "the request could not be carried to its end",
    )
}

/// A POST carries JSON and takes both kinds of answer ("Sending messages to the server", all revisions).
fn media_types(headers: &HeaderMap) -> Result<(), Refusal> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = |value: &str| value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if essence(text(http_header::CONTENT_TYPE)) != "application/json" {
        let reason = "the Content-Type must be application/json";
        return Err(Refusal::new(Stage::Http, StatusCode::UNSUPPORTED_MEDIA_TYPE, reason));
    }
    let accepted: Vec<_> = headers
        .get_all(http_header::ACCEPT)
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
            headers.insert(http_header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
            headers.insert(http_header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
            headers.insert(ACCEL_BUFFERING, HeaderValue::from_static("no"));
            response
        }
    }
}

fn refuse(refusal: &Refusal, context: &Context) -> Response<Body> {
    let mut response = body::json(refusal.status, refusal.body(&context.correlation_id));
    let headers = response.headers_mut();
    if let Some(challenge) = refusal.challenge.as_deref().and_then(|text| HeaderValue::from_str(text).ok()) {
        headers.insert(http_header::WWW_AUTHENTICATE, challenge);
    }
    if let Some(allow) = refusal.allow {
        headers.insert(http_header::ALLOW, HeaderValue::from_static(allow));
    }
    if let Some(secs) = refusal.retry_after {
        headers.insert(http_header::RETRY_AFTER, HeaderValue::from(secs));
    }
    response
}
