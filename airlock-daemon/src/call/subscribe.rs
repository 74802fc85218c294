//! A wish to hear of changes of one resource.

use std::sync::Arc;

use crate::mcp::object::Object;
use crate::upstream::pool::Upstream;

use super::open::Open;
use crate::pipeline::request::asked::Asked;
pub use crate::pipeline::request::asked::{MAX_URI, SUBSCRIBE};
use crate::pipeline::request::requester::Requester;
use crate::pipeline::route::{self, Endpoint};
use crate::pipeline::{Admitted, Gateway, Refusal, admit};

/// Ends a subscription of the legacy era.
pub const UNSUBSCRIBE: &str = "resources/unsubscribe";

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
pub async fn check(
    gateway: &Arc<Gateway>,
    who: &Requester,
    endpoint: &Endpoint,
    method: &'static str,
    params: &Object<'_>,
) -> Result<Granted, Refusal> {
    let Admitted { upstream: Some(upstream), own: Some((_, uri)), aim, sieve, .. } =
        admit(gateway, who, endpoint, Asked::Subscribe(method, params)).await?
    else {
        return Err(route::not_offered(method, who.revision));
    };
    Ok(Granted { open: Open::new(gateway, who.clone(), aim, sieve), upstream, uri })
}
