//! Which revision of the protocol does a message speak, and does it agree with its headers and its session?

use http::{HeaderMap, StatusCode};

use crate::mcp::client::ClientCapabilities;
use crate::mcp::envelope::Envelope;
use crate::mcp::error::code;
use crate::mcp::header::{self, METHOD, NAME, PROTOCOL_VERSION, SESSION_ID};
use crate::mcp::level::Level;
use crate::mcp::meta::{META_CAPABILITIES, META_LOG_LEVEL, META_VERSION};
use crate::mcp::method::Method;
use crate::mcp::object::Object;
use crate::mcp::param_header::Sent;
use crate::mcp::revision::{Era, Revision};

use super::Refusal;
use super::methods::table::MethodKind;
use crate::stage::Stage;

/// The header that says where a client's reading of a stream broke off.
const LAST_EVENT_ID: &str = "last-event-id";

fn refused(reason: impl Into<String>, code: i32) -> Refusal {
    Refusal::new(Stage::Revision, StatusCode::BAD_REQUEST, reason).code(code)
}

/// The era of a message: the header decides; without one, a part that only one era has.
///
/// # Errors
/// 400 for a repeated or unknown revision, and for one that disagrees with the body.
pub fn era(headers: &HeaderMap, message: &Envelope<'_>) -> Result<Era, Refusal> {
    let named =
        header::single(headers, PROTOCOL_VERSION).map_err(|reason| refused(reason, code::HEADER_MISMATCH))?;
    let in_body = message.meta.as_ref().and_then(|meta| meta.string(META_VERSION));
    match named.map(|text| (text, Revision::parse(text))) {
        Some((_, Some(revision))) if revision.era() == Era::Legacy && in_body.is_some() => {
            let reason = format!("the header {PROTOCOL_VERSION} disagrees with the body");
            Err(refused(reason, code::HEADER_MISMATCH))
        }
        Some((_, Some(revision))) => Ok(revision.era()),
        Some((text, None)) => {
            let reason = "this revision of the protocol is not spoken here";
            let mut refusal = refused(reason, code::UNSUPPORTED_VERSION);
            refusal.requested_revision = Some(text.chars().take(32).collect());
            Err(refusal)
        }
        None if in_body.is_some()
            || message.method.as_deref().map(Method::parse) == Some(Method::Discover) =>
        {
            Ok(Era::Modern)
        }
        None => Ok(Era::Legacy),
    }
}

/// A message of the modern era, as its headers and its `_meta` declare it.
pub struct Declared {
    /// The text of the method.
    pub name: String,
    /// The method.
    pub method: Method,
    /// The headers that repeat arguments.
    pub params: Sent,
    /// The features that the client has for a server.
    pub capabilities: ClientCapabilities,
    /// The level from which on the client wants log messages.
    pub level: Option<Level>,
}

/// Checks a message of the modern era against its headers and its `_meta` (2026-07-28, "Standard request
/// headers" and "Request metadata").
///
/// # Errors
/// 400 for a response, for headers that disagree with the body, for `_meta` that lacks a member, and for a
/// request without an id.
pub fn modern(headers: &HeaderMap, message: &Envelope<'_>) -> Result<Declared, Refusal> {
    let Some(name) = message.method.as_deref() else {
        return Err(refused("a client sends no responses in this revision", code::INVALID_REQUEST));
    };
    let method = Method::parse(name);
    let meta = message.meta.as_ref();
    headers_agree(headers, name, method, &message.params, meta)
        .map_err(|reason| refused(reason, code::HEADER_MISMATCH))?;
    let params = Sent::read(headers).map_err(|reason| refused(reason, code::HEADER_MISMATCH))?;
    meta_is_whole(meta).map_err(|reason| refused(reason, code::INVALID_PARAMS))?;
    if message.id.is_none() && !method.is_notification() {
        return Err(no_id("a request"));
    }
    let capabilities = meta.and_then(|meta| meta.get(META_CAPABILITIES)).map(ClientCapabilities::parse);
    Ok(Declared {
        name: name.to_owned(),
        method,
        params,
        capabilities: capabilities.unwrap_or_default(),
        level: meta.and_then(|meta| Level::parse(&meta.string(META_LOG_LEVEL)?)),
    })
}

fn headers_agree(
    headers: &HeaderMap,
    name: &str,
    method: Method,
    params: &Object<'_>,
    meta: Option<&Object<'_>>,
) -> Result<(), String> {
    let revision = header::single(headers, PROTOCOL_VERSION)?
        .ok_or(format!("the header {PROTOCOL_VERSION} is missing"))?;
    if let Some(in_body) = meta.and_then(|meta| meta.string(META_VERSION))
        && in_body != revision
    {
        return Err(format!("the header {PROTOCOL_VERSION} disagrees with the body"));
    }
    header::agrees(headers, METHOD, name)?;
    // A method that this revision does not have is refused as such.
    if let Some(MethodKind::Call(call)) = MethodKind::of(method)
        && call.era != Some(Era::Legacy)
        && let Some(member) = call.mirrored()
    {
        header::agrees(headers, NAME, &params.string(member).unwrap_or_default())?;
    }
    Ok(())
}

fn meta_is_whole(meta: Option<&Object<'_>>) -> Result<(), String> {
    let meta = meta.ok_or("`params._meta` is missing")?;
    if meta.string(META_VERSION).is_none() {
        return Err(format!("`params._meta` lacks the string `{META_VERSION}`"));
    }
    if !meta.get(META_CAPABILITIES).is_some_and(|text| text.starts_with('{')) {
        return Err(format!("`params._meta` lacks the object `{META_CAPABILITIES}`"));
    }
    Ok(())
}

/// The refusal of a message without an id that needs one.
pub fn no_id(subject: &str) -> Refusal {
    refused(format!("{subject} needs an `id`"), code::INVALID_REQUEST)
}

/// The revision that a session begins with: an unknown one is answered with one that is spoken here
/// (2025-11-25, "Version negotiation").
///
/// # Errors
/// 400 where the client names none.
pub fn negotiated(params: &Object<'_>) -> Result<Revision, Refusal> {
    let Some(requested) = params.string("protocolVersion") else {
        return Err(refused("`params.protocolVersion` must be a string", code::INVALID_PARAMS));
    };
    let known = Revision::parse(&requested).filter(|revision| revision.era() == Era::Legacy);
    Ok(known.unwrap_or(Revision::LATEST_LEGACY))
}

/// The session that the head of a legacy request names.
///
/// # Errors
/// 400 where it names none, or two.
pub fn session(headers: &HeaderMap) -> Result<&str, Refusal> {
    let named = header::single(headers, SESSION_ID);
    named.map_err(|reason| refused(reason, code::INVALID_REQUEST))?.ok_or_else(|| {
        refused("the header Mcp-Session-Id is missing: send `initialize` first", code::INVALID_REQUEST)
    })
}

/// The refusal of a session that is none of this principal's at this endpoint. By 404 a client knows that it
/// has to begin anew (2025-11-25, "Session Management").
pub fn no_session() -> Refusal {
    let reason = "there is no such session: send `initialize` again";
    Refusal::new(Stage::Revision, StatusCode::NOT_FOUND, reason).code(code::INVALID_REQUEST)
}

/// Checks that a legacy request names the revision of its session: 2025-06-18 and later name it in every
/// request, earlier ones do not.
///
/// # Errors
/// 400 for another one.
pub fn agreed(headers: &HeaderMap, with: Revision) -> Result<(), Refusal> {
    let bad = |reason: String| refused(reason, code::INVALID_REQUEST);
    match header::single(headers, PROTOCOL_VERSION).map_err(bad)? {
        Some(named) if named != with.as_str() => {
            Err(bad(format!("the header {PROTOCOL_VERSION} is not the revision agreed on")))
        }
        _ => Ok(()),
    }
}

/// The refusal of a response to no question that is open.
pub fn not_asked() -> Refusal {
    refused("no request of ours waits for this response", code::INVALID_REQUEST)
}

/// The refusal of a session that ends while its stream is opened.
pub fn session_ended() -> Refusal {
    no_event("there is no such session: send `initialize` again")
}

/// The refusal of a call whose id is that of another, or for which the session has no place.
pub fn id_in_use() -> Refusal {
    let reason = "this id is already in use by a call of the session, or too many run";
    refused(reason, code::INVALID_REQUEST)
}

/// The position at which a client wants to read on (`Last-Event-ID`); `None` for a new stream.
///
/// # Errors
/// 400 for a repeated header.
pub fn last_event(headers: &HeaderMap) -> Result<Option<&str>, Refusal> {
    let last = header::single(headers, LAST_EVENT_ID).map_err(no_event)?;
    Ok(last.filter(|last| !last.is_empty()))
}

/// The refusal of an event id that is none of the session's.
pub fn no_event(reason: impl Into<String>) -> Refusal {
    Refusal::new(Stage::Revision, StatusCode::BAD_REQUEST, reason)
}
