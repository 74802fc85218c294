//! Do the headers that repeat arguments say what the arguments say? (2026-07-28, `Mcp-Param-*`)

use std::sync::Arc;

use http::StatusCode;

use crate::config::schema::UpstreamKind;
use crate::mcp::error::code;
use crate::mcp::object::Object;
use crate::mcp::param_header::Mirrored;
use crate::mcp::revision::Era;
use crate::upstream::era::facts::Facts;
use crate::upstream::lists::schemas::Schema;
use crate::upstream::pool::Upstream;

use super::Refusal;
use super::methods::kind::{Noun, quoted};
use super::request::requester::Requester;
use crate::stage::Stage;

/// True for a call that is compared with the schema of its tool: a modern client's, and a legacy client's
/// where there is a head to put something in.
pub fn concerns(upstream: &Upstream, who: &Requester) -> bool {
    let has_head = !matches!(upstream.config.kind, UpstreamKind::Stdio | UpstreamKind::DialIn);
    who.revision.era() == Era::Modern || has_head
}

/// Compares what a modern client sent, and finds out what goes along to the server, of which `facts` are
/// known.
///
/// The annotations are words of the modern era: a legacy server's tools have none. A schema that cannot be
/// had is no obstacle to a call without such headers: the server itself refuses one that lacks them.
///
/// # Errors
/// 400 (-32020) when a header disagrees with the arguments, or cannot be checked; an unknown tool when its
/// schema is invalid.
pub async fn check(
    upstream: &Arc<Upstream>,
    who: &Requester,
    facts: &Facts,
    tool: &str,
    arguments: &str,
) -> Result<Mirrored, Refusal> {
    let mismatch = |reason: String| {
        Refusal::new(Stage::Mirror, StatusCode::BAD_REQUEST, reason).code(code::HEADER_MISMATCH)
    };
    let checked = who.revision.era() == Era::Modern;
    if facts.era == Era::Legacy {
        return Ok(Mirrored::default());
    }
    let others = |known| if checked { who.params.beyond(known) } else { Vec::new() };
    match upstream.schema(&who.caller(), tool).await {
        Schema::Plain => Ok(Mirrored { annotations: None, others: others(None) }),
        Schema::Annotated(annotations) => {
            if checked {
                annotations.check(&who.params, arguments).map_err(mismatch)?;
            }
            let others = others(Some(&annotations));
            Ok(Mirrored { annotations: Some(annotations), others })
        }
        Schema::Invalid => {
            let reason = format!("there is no tool {} here", quoted(Noun::Tool, tool));
            let mut refusal = Refusal::new(Stage::Mirror, StatusCode::OK, reason);
            refusal.detail =
                Some("the tool's x-mcp-header is invalid, so the tool is not offered".to_owned());
            Err(refusal.code(code::INVALID_PARAMS))
        }
        Schema::Unavailable if checked && !who.params.is_empty() => Err(mismatch(
            "the headers Mcp-Param-* cannot be checked: the server does not say which arguments they repeat"
                .to_owned(),
        )),
        Schema::Unavailable => Ok(Mirrored::default()),
    }
}

/// A server that refuses what was checked here has other tools than it said: they are asked for again.
pub fn refused(upstream: &Upstream, error: &str) {
    let says = |error: Object<'_>| error.get("code") == Some("-32020");
    if error.contains("-32020") && Object::parse(error).is_ok_and(says) {
        upstream.schemas.forget();
    }
}
