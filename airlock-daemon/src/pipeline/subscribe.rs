//! A wish to hear of changes of one resource.

use std::sync::Arc;

use http::StatusCode;
use serde_json::value::RawValue;

use crate::mcp::capability::Capability;
use crate::mcp::error::code;
use crate::mcp::object::Object;
use crate::upstream::pool::Upstream;

use super::authorize::{Wish, authorize};
use super::call::{Requester, not_offered, unknown};
use super::kind::Noun;
use super::open::Open;
use super::refusal::Aim;
use super::route::Endpoint;
use super::{Gateway, Refusal, Stage, record};

/// The method under which the policy is asked, whichever way the client says it.
pub const SUBSCRIBE: &str = "resources/subscribe";
/// Ends a subscription of the legacy era.
pub const UNSUBSCRIBE: &str = "resources/unsubscribe";

/// Longest URI of a resource whose changes are listened to, in bytes: it is kept as long as somebody listens.
pub const MAX_URI: usize = 8 * 1024;
/// Bytes that a subscription needs besides its URI.
pub const EACH: usize = 128;

/// A wish that the policy grants, and whose intent is on record.
pub struct Granted {
    /// The record.
    pub open: Open,
    /// The server that has the resource.
    pub upstream: Arc<Upstream>,
    /// Its own URI of it.
    pub uri: String,
}

/// Checks `resources/subscribe` or `resources/unsubscribe` of a legacy client.
///
/// # Errors
/// A [`Refusal`] of any stage.
pub fn check(
    gateway: &Arc<Gateway>,
    who: &Requester,
    endpoint: &Endpoint,
    method: &'static str,
    params: &Object<'_>,
) -> Result<Granted, Refusal> {
    let mut aim = Aim { method: Some(method.into()), revision: Some(who.revision), ..Aim::default() };
    let Some(uri) = params.string("uri") else {
        let mut refusal =
            Refusal::new(Stage::Route, StatusCode::BAD_REQUEST, "`params.uri` must be a string")
                .code(code::INVALID_PARAMS);
        refusal.aim = aim;
        return Err(refusal);
    };
    aim.at(Noun::Resource, &uri);
    if uri.len() > MAX_URI {
        let reason = format!("`params.uri` is longer than {MAX_URI} bytes: a subscription keeps it");
        let refusal = Refusal::new(Stage::Route, StatusCode::BAD_REQUEST, reason);
        let mut refusal = refusal.code(code::INVALID_PARAMS);
        refusal.aim = aim;
        return Err(refusal);
    }
    let found = endpoint.target(&gateway.upstreams, Noun::Resource, &uri)?;
    let (upstream, own) = found.ok_or_else(|| unknown(Noun::Resource, who.revision, &aim))?;
    aim.at(Noun::Resource, own);
    aim.upstream = Some(Arc::clone(&upstream.name));
    let refused = |mut refusal: Refusal| {
        refusal.aim = aim.clone();
        refusal
    };
    let none = RawValue::from_string("{}".to_owned()).unwrap_or_default();
    let subject = Some((Noun::Resource, own));
    let wish = Wish { method: SUBSCRIBE, subject, arguments: Some(&none), revision: who.revision };
    let decision =
        authorize(gateway, &who.context, &who.principal, upstream, wish).map_err(|mut refusal| {
            refusal.input_digest = Some(aim.digest("{}"));
            refused(refusal)
        })?;
    if upstream.facts_for(who.revision.era()).is_some_and(|facts| !facts.offers.has(Capability::Resources)) {
        return Err(refused(not_offered(method, who.revision)));
    }
    record::intent(gateway, &who.context, &who.principal, &aim, &decision, "{}").map_err(refused)?;
    let open = Open::new(gateway, who.clone(), aim.clone());
    Ok(Granted { open, upstream: Arc::clone(upstream), uri: own.to_owned() })
}
