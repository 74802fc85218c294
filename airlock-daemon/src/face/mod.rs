//! What a client sees: one face an era, chosen by what the client says it speaks.

pub mod legacy;
pub mod modern;
pub mod reply;
pub mod session;

use http::{HeaderMap, StatusCode};

use crate::auth::principal::Principal;
use crate::mcp::envelope::Envelope;
use crate::mcp::error::code;
use crate::mcp::header::{self, PROTOCOL_VERSION};
use crate::mcp::method::Method;
use crate::mcp::object::Object;
use crate::mcp::revision::{Era, Revision};
use crate::pipeline::authorize::{Wish, authorize};
use crate::pipeline::route::Endpoint;
use crate::pipeline::{Context, Gateway, Refusal, Stage};
use crate::upstream::driver::META_VERSION;

/// Which era a request belongs to: the header decides; without one, what only one era has.
///
/// # Errors
/// 400 for a repeated or unknown revision.
pub fn choose(headers: &HeaderMap, envelope: &Envelope<'_>) -> Result<Era, Refusal> {
    let bad = |reason: String, code| {
        Refusal::new(Stage::Decode, StatusCode::BAD_REQUEST, reason).code(code).id(envelope.id.as_ref())
    };
    let named =
        header::single(headers, PROTOCOL_VERSION).map_err(|reason| bad(reason, code::HEADER_MISMATCH))?;
    let in_body = envelope
        .params
        .get("_meta")
        .and_then(|meta| Object::parse(meta).ok()?.string(META_VERSION).map(std::borrow::Cow::into_owned));
    match named.map(|text| (text, Revision::parse(text))) {
        Some((_, Some(revision))) if revision.era() == Era::Legacy && in_body.is_some() => {
            Err(bad(format!("the header {PROTOCOL_VERSION} disagrees with the body"), code::HEADER_MISMATCH))
        }
        Some((_, Some(revision))) => Ok(revision.era()),
        Some((text, None)) => {
            let mut refusal =
                bad("this revision of the protocol is not spoken here".to_owned(), code::UNSUPPORTED_VERSION);
            refusal.requested_revision = Some(text.chars().take(32).collect());
            Err(refusal)
        }
        None if in_body.is_some()
            || envelope.method.as_deref().map(Method::parse) == Some(Method::Discover) =>
        {
            Ok(Era::Modern)
        }
        None => Ok(Era::Legacy),
    }
}

/// A server answers with something other than a complete result only to a client that can go on from there; nobody said so.
fn is_complete(result: &Object<'_>) -> Result<(), String> {
    match result.string("resultType") {
        Some(kind) if kind != "complete" => {
            Err("it answered with something other than a complete result, which nobody offered to handle"
                .to_owned())
        }
        _ => Ok(()),
    }
}

/// The capabilities and instructions of an endpoint, as its upstreams were found to have them.
#[derive(Debug, Default)]
pub struct Offer {
    /// JSON text of the capabilities.
    pub capabilities: String,
    /// JSON text of the instructions.
    pub instructions: Option<String>,
}

/// What an endpoint offers to a principal. Only what Airlock carries across is offered, and what a server says about itself
/// is for those who may use it.
pub fn offer(
    gateway: &Gateway,
    context: &Context,
    principal: &Principal,
    endpoint: &Endpoint,
    revision: Revision,
) -> Result<Offer, Refusal> {
    let tools = r#"{"tools":{}}"#.to_owned();
    let unknown = Offer { capabilities: tools.clone(), instructions: None };
    let Some(upstream) = endpoint.upstream(&gateway.upstreams)? else { return Ok(unknown) };
    let wish = Wish { method: "tools/list", tool: None, arguments: None, revision };
    let Some(facts) =
        upstream.facts().filter(|_| authorize(gateway, context, principal, upstream, wish).is_ok())
    else {
        return Ok(unknown);
    };
    Ok(Offer {
        capabilities: if facts.tools { tools } else { "{}".to_owned() },
        instructions: facts.instructions.clone(),
    })
}
