//! The requests of a link: their heads, and what is presented with them.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_TYPE, HOST, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;

use crate::auth::principal::Token;
use crate::coding::{Decoded, IDENTITY};
use crate::mcp::header;
use crate::mcp::revision::Revision;

use super::connections::{self, Connection};
use super::outline::Outline;
use super::shared::{HttpShared, Mode};
use crate::upstream::error::UpstreamError;

impl HttpShared {
    /// The POST of a message. Its name is read from the message itself, after all rewriting.
    pub(in crate::upstream) fn post(&self, text: String, outline: &Outline) -> Request<Full<Bytes>> {
        self.build(Method::POST, Bytes::from(text), |headers| {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            if matches!(**self.mode.load(), Mode::Modern) && outline.method != "initialize" {
                let latest = HeaderValue::from_static(Revision::LATEST.as_str());
                headers.insert(HeaderName::from_static(header::PROTOCOL_VERSION), latest);
                mirror(headers, header::METHOD, &outline.method);
                if let Some(name) = &outline.name {
                    mirror(headers, header::NAME, name);
                }
                headers.extend(outline.params.iter().cloned());
            }
        })
    }

    /// The GET that takes up an event stream where it broke off, or opens the one for what belongs to no
    /// call.
    pub(in crate::upstream) fn listen(&self, last: Option<HeaderValue>) -> Request<Full<Bytes>> {
        self.build(Method::GET, Bytes::new(), |headers| {
            headers.insert(ACCEPT, HeaderValue::from_static("text/event-stream"));
            if let Some(last) = last {
                headers.insert(HeaderName::from_static("last-event-id"), last);
            }
        })
    }

    pub(super) fn build(
        &self,
        method: Method,
        body: Bytes,
        more: impl FnOnce(&mut HeaderMap),
    ) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method;
        *request.uri_mut() = http::Uri::from(self.endpoint.path.clone());
        let headers = request.headers_mut();
        headers.insert(HOST, self.endpoint.host.clone());
        headers.insert(USER_AGENT, HeaderValue::from_static(concat!("airlock/", env!("CARGO_PKG_VERSION"))));
        headers.insert(ACCEPT, HeaderValue::from_static("application/json, text/event-stream"));
        headers.insert(ACCEPT_ENCODING, IDENTITY);
        if let Mode::Legacy { session, revision } = &**self.mode.load() {
            headers.insert(HeaderName::from_static(header::PROTOCOL_VERSION), revision.clone());
            if let Some(session) = session {
                headers.insert(HeaderName::from_static(header::SESSION_ID), session.clone());
            }
        }
        more(headers);
        request
    }

    /// Sends a request with what the server wants to see of us; once more where that was no longer good.
    pub(in crate::upstream) async fn send(
        &self,
        mut request: Request<Full<Bytes>>,
        token: Option<&Arc<Token>>,
    ) -> Result<(Response<Decoded>, Connection), UpstreamError> {
        let Some(presents) = &self.presents else { return connections::send(&self.endpoint, request).await };
        let again = request.clone();
        let shown = presents.show(request.headers_mut(), token).await?;
        let (response, connection) = connections::send(&self.endpoint, request).await?;
        if response.status() != StatusCode::UNAUTHORIZED || !presents.refused(&shown) {
            return Ok((response, connection));
        }
        drop((response, connection));
        let mut request = again;
        presents.show(request.headers_mut(), token).await?;
        connections::send(&self.endpoint, request).await
    }

    /// The error for a server that does not let us in.
    pub(super) fn wants_credential(&self) -> UpstreamError {
        let detail = if self.presents.is_some() {
            "it answers 401 to what `credential` gives: check that the secret or the token is meant for it"
        } else {
            "it answers 401, so it wants to see a credential: set `credential`"
        };
        UpstreamError::Credential { upstream: self.endpoint.upstream.to_string(), detail: detail.to_owned() }
    }
}

fn mirror(headers: &mut HeaderMap, name: &'static str, value: &str) {
    // Encoding leaves nothing that a header cannot carry.
    if let Ok(value) = HeaderValue::from_str(&header::encode(value)) {
        headers.insert(HeaderName::from_static(name), value);
    }
}
