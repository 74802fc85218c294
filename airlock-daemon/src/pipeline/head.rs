//! The head of a request: its size, its method, and the media types that it sends and takes.

use http::request::Parts;
use http::{HeaderMap, Method, StatusCode, Uri, header as http_header};

use crate::mcp::header::{self, PROTOCOL_VERSION};
use crate::mcp::revision::{Era, Revision};

use super::Refusal;
use crate::stage::Stage;

/// Most fields in a head. hyper's own bound, whose answer has no body, is 100.
const MAX_FIELDS: usize = 96;
/// Most bytes of target, names and values together. hyper's own bound is 64 KiB.
const MAX_BYTES: usize = 48 * 1024;
/// The media type of server-sent events.
pub const EVENT_STREAM: &str = "text/event-stream";

/// Checks the size of a request's head.
///
/// # Errors
/// 431 when it is too large.
pub fn size(uri: &Uri, headers: &HeaderMap) -> Result<(), Refusal> {
    let target = uri.path().len() + uri.query().map_or(0, str::len);
    let bytes = headers.iter().fold(target, |sum, (name, value)| sum + name.as_str().len() + value.len());
    if headers.len() <= MAX_FIELDS && bytes <= MAX_BYTES {
        return Ok(());
    }
    let reason = format!("the head has more than {MAX_FIELDS} fields or {MAX_BYTES} bytes");
    Err(Refusal::new(Stage::Head, StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, reason))
}

/// Checks the method of a request, and the media types that go with it.
///
/// # Errors
/// 405 for a method that has no meaning here or in the client's era, 415 for a body that is not JSON, 406 for
/// a client that does not take the answer.
pub fn method(parts: &Parts) -> Result<(), Refusal> {
    match parts.method {
        Method::POST => media_types(&parts.headers),
        // Sessions and their streams are of the legacy era (2026-07-28, "Streamable HTTP").
        Method::GET | Method::DELETE if names_modern(&parts.headers) => {
            Err(not_allowed("POST", "this revision has no sessions: send messages by POST"))
        }
        Method::GET => takes_events(&parts.headers),
        Method::DELETE => Ok(()),
        _ => {
            let reason = "send messages by POST, listen by GET, and end a session by DELETE";
            Err(not_allowed("GET, POST, DELETE", reason))
        }
    }
}

/// True for a head that names a revision of the modern era.
pub fn names_modern(headers: &HeaderMap) -> bool {
    let named = header::single(headers, PROTOCOL_VERSION).ok().flatten();
    named.and_then(Revision::parse).is_some_and(|revision| revision.era() == Era::Modern)
}

fn not_allowed(allow: &'static str, reason: &str) -> Refusal {
    let mut refusal = Refusal::new(Stage::Head, StatusCode::METHOD_NOT_ALLOWED, reason);
    refusal.allow = Some(allow);
    refusal
}

/// A POST carries JSON and takes both kinds of answer ("Sending messages to the server", all revisions).
fn media_types(headers: &HeaderMap) -> Result<(), Refusal> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if essence(text(http_header::CONTENT_TYPE)) != "application/json" {
        let reason = "the Content-Type must be application/json";
        return Err(Refusal::new(Stage::Head, StatusCode::UNSUPPORTED_MEDIA_TYPE, reason));
    }
    if accepts(headers, "application/json", "application/*") && accepts(headers, EVENT_STREAM, "text/*") {
        return Ok(());
    }
    let reason = "the Accept header must list application/json and text/event-stream";
    Err(Refusal::new(Stage::Head, StatusCode::NOT_ACCEPTABLE, reason))
}

/// A GET takes events ("Listening for messages from the server", legacy revisions).
fn takes_events(headers: &HeaderMap) -> Result<(), Refusal> {
    if accepts(headers, EVENT_STREAM, "text/*") {
        return Ok(());
    }
    let reason = "the Accept header must list text/event-stream";
    Err(Refusal::new(Stage::Head, StatusCode::NOT_ACCEPTABLE, reason))
}

fn accepts(headers: &HeaderMap, kind: &str, group: &str) -> bool {
    let values = headers.get_all(http_header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let mut ranges = values.flat_map(|value| value.split(',')).map(essence);
    ranges.any(|range| range == kind || range == group || range == "*/*")
}

/// A media type without its parameters.
fn essence(value: &str) -> String {
    value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderName, HeaderValue};

    #[test]
    fn a_head_has_bounds() {
        let uri = Uri::from_static("/mcp");
        let mut headers = HeaderMap::new();
        for number in 0..MAX_FIELDS {
            let name = HeaderName::from_bytes(format!("x-{number}").as_bytes()).expect("a name");
            headers.insert(name, HeaderValue::from_static("v"));
        }
        assert!(size(&uri, &headers).is_ok());
        headers.append("x-0", HeaderValue::from_static("once more"));
        let refusal = size(&uri, &headers).expect_err("too many");
        assert_eq!(refusal.status, StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
        let mut headers = HeaderMap::new();
        headers.insert("x", HeaderValue::from_str(&"v".repeat(MAX_BYTES - 5)).expect("a value"));
        assert!(size(&uri, &headers).is_ok());
        assert!(size(&Uri::from_static("/mcpx"), &headers).is_err());
    }
}
