//! Bodies of a server's answers: what they are, and all of one within a bound.

use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{Response, StatusCode};
use http_body_util::BodyExt as _;

use crate::coding::Decoded;
use crate::coding::broken::Broken;
use crate::limits::budget::level::Exhausted;
use crate::mcp::object::Object;

use crate::upstream::error::UpstreamError;
use crate::upstream::transport::connect::Endpoint;
use crate::upstream::transport::intake::Intake;

/// The kind of a body, by its content type.
pub(in crate::upstream) enum BodyKind {
    Json,
    Events,
    Other(String),
}

/// The kind of a response's body, by its `Content-Type`.
pub(in crate::upstream) fn kind(response: &Response<Decoded>) -> BodyKind {
    let value =
        response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = value.split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case("application/json") {
        BodyKind::Json
    } else if essence.eq_ignore_ascii_case("text/event-stream") {
        BodyKind::Events
    } else if essence.is_empty() {
        BodyKind::Other("nothing".to_owned())
    } else {
        BodyKind::Other(essence.chars().take(60).collect())
    }
}

/// The length that a body is said to have.
pub(in crate::upstream) fn declared(response: &Response<Decoded>) -> Option<u64> {
    response.headers().get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

pub(super) fn too_long(endpoint: &Endpoint) -> UpstreamError {
    UpstreamError::too_large(&endpoint.upstream, endpoint.limits.message)
}

/// The error for a body that cannot be read on.
pub(in crate::upstream) fn broken(endpoint: &Endpoint, body: &str, error: &Broken) -> UpstreamError {
    if error.is_transport() {
        endpoint.closed(format!("broke off its {body} ({error})"))
    } else {
        endpoint.wrong(format!("its {body} {error}"))
    }
}

/// Reads a body of at most `limit` bytes.
pub(super) async fn read_all(
    endpoint: &Endpoint,
    mut body: Decoded,
    limit: usize,
    intake: &mut Intake,
) -> Result<Vec<u8>, UpstreamError> {
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| broken(endpoint, "answer", &error))?;
        let data = frame.into_data().unwrap_or_default();
        if bytes.len() + data.len() > limit {
            return Err(too_long(endpoint));
        }
        intake
            .hold(body.held() + bytes.len() + data.len())
            .map_err(|exhausted| no_room(endpoint, exhausted))?;
        bytes.extend_from_slice(&data);
    }
    Ok(bytes)
}

/// The error for an answer that finds no room in a share of the memory.
pub(super) fn no_room(endpoint: &Endpoint, exhausted: Exhausted) -> UpstreamError {
    UpstreamError::NoRoom { upstream: endpoint.upstream.to_string(), exhausted }
}

/// The error object of a JSON-RPC error, whatever its id: a server that refuses a request early may not know
/// it.
pub(super) fn error_of(body: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(body).ok()?;
    let message = Object::parse(text).ok()?;
    let error = message.get("error").filter(|error| error.starts_with('{'))?;
    Object::parse(error).ok()?.get("code")?.parse::<i64>().ok()?;
    Some(error.to_owned())
}

/// 404 says it (2025-11-25, "Session management"); some servers say 400 and mean it, in words.
pub(super) fn is_session_gone(status: StatusCode, error: Option<&str>) -> bool {
    // -32000 and -32001 are what servers send for it; an argument that happens to be named after a session is
    // another matter.
    let in_words = || {
        error.and_then(|error| Object::parse(error).ok()).is_some_and(|error| {
            matches!(error.get("code"), Some("-32000" | "-32001"))
                && error
                    .string("message")
                    .is_some_and(|message| message.to_ascii_lowercase().contains("session"))
        })
    };
    status == StatusCode::NOT_FOUND || (status == StatusCode::BAD_REQUEST && in_words())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_found_whatever_its_id() {
        let body = br#"{"jsonrpc":"2.0","error":{"code":-32000,"message":"Bad Request"},"id":null}"#;
        assert_eq!(error_of(body).as_deref(), Some(r#"{"code":-32000,"message":"Bad Request"}"#));
        for other in
            [&b"<html>"[..], b"{}", br#"{"error":"no"}"#, br#"{"error":{"code":"x"}}"#, b"\xff", b"[]"]
        {
            assert_eq!(error_of(other), None);
        }
    }

    #[test]
    fn a_session_is_gone_by_status_or_in_words() {
        let words = r#"{"code":-32000,"message":"Bad Request: No valid session ID provided"}"#;
        let other = r#"{"code":-32602,"message":"unknown tool"}"#;
        assert!(is_session_gone(StatusCode::NOT_FOUND, None));
        assert!(is_session_gone(StatusCode::BAD_REQUEST, Some(words)));
        assert!(!is_session_gone(StatusCode::BAD_REQUEST, Some(other)));
        assert!(!is_session_gone(StatusCode::INTERNAL_SERVER_ERROR, Some(words)));
    }
}
