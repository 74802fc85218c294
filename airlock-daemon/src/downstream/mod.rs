//! The side of the daemon that a client sees: one driver an era, chosen by what the client says it speaks.

pub mod batch;
mod envelope;
pub mod event_reader;
pub mod event_store;
mod instructions;
mod kept;
pub mod legacy;
mod listen;
pub mod modern;
mod notifications;
mod obliged;
mod questions;
pub mod reply;
pub mod session;
pub mod sessions;
pub mod shape;
mod streams;

use std::sync::Arc;
use std::time::Duration;

use crate::auth::principal::Principal;
use crate::call::aside::Aside;
use crate::call::running::draining;
use crate::call::sifted::SiftedKind;
use crate::mcp::capability::Capabilities;
use crate::mcp::revision::{Era, Revision};
use crate::pipeline::route::Endpoint;
use crate::pipeline::{Context, Gateway, Refusal};
use crate::stops::Halt;
use crate::upstream::era::facts::Facts;
use crate::upstream::pool::Upstream;

use obliged::may_use;

/// A stream that is opened with a token that is about to expire still says what waits in it.
const MIN_STREAM: Duration = Duration::from_secs(5);

/// Until when a stream may be open that a principal listens on: its token expires, an operator stops it, or
/// the process drains.
fn until(gateway: &Gateway, principal: &Arc<Principal>, endpoint: &Endpoint) -> event_reader::Until {
    let left = principal.life_left().max(MIN_STREAM);
    let upstream = endpoint.upstream(&gateway.upstreams).ok().flatten();
    let mut halt = Halt::new(&gateway.stops, principal, upstream.map(|upstream| &upstream.name), None);
    let draining = draining(gateway.draining.subscribe());
    Box::pin(async move {
        tokio::select! {
            () = tokio::time::sleep(left) => {}
            () = draining => {}
            _ = halt.reached() => {}
        }
    })
}

/// The capabilities and instructions of an endpoint, as its upstreams were found to have them.
#[derive(Debug, Default)]
pub struct Offer {
    /// JSON text of the capabilities.
    pub capabilities: String,
    /// JSON text of the instructions.
    pub instructions: Option<String>,
}

/// The offer of an endpoint to a principal: the merged one offers what any upstream does. Capabilities that
/// Airlock does not carry across are left out, and the words of a server about itself are for those who may
/// use it.
///
/// # Errors
/// 404 when there is no such endpoint.
pub async fn offer(
    gateway: &Gateway,
    context: &Context,
    principal: &Principal,
    endpoint: &Endpoint,
    revision: Revision,
) -> Result<Offer, Refusal> {
    let method = if revision.era() == Era::Legacy { "initialize" } else { "server/discover" };
    let known = |upstream: &Upstream| {
        let facts = upstream.facts_for(revision.era())?;
        Some((facts, may_use(gateway, context, principal, upstream, revision)?))
    };
    let told = async |upstream: &Upstream, facts: &Facts, obliged: &[Arc<str>]| {
        let text = facts.instructions.clone()?;
        let aside = Aside { gateway, context, principal, upstream, method };
        let sieve = aside.sieve(obliged).await;
        aside.pass(sieve.as_ref(), SiftedKind::Plain, text).await
    };
    // Nothing is known of a server that was never reached; most have tools.
    let offers = |facts: Option<&Facts>| {
        facts.map_or(Capabilities::TOOLS, |facts| facts.offers.between(revision, facts.era))
    };
    let Some(upstream) = endpoint.upstream(&gateway.upstreams)? else {
        let known: Vec<_> = gateway.upstreams.iter().map(|upstream| (upstream, known(upstream))).collect();
        let each = known.iter().map(|(_, known)| offers(known.as_ref().map(|(facts, _)| &**facts)));
        let all = each.fold(Capabilities::default(), Capabilities::union);
        let mut each = Vec::new();
        for (upstream, known) in &known {
            let Some((facts, obliged)) = known else { continue };
            if let Some(text) = told(upstream, facts, obliged).await {
                each.push((&*upstream.name, text));
            }
        }
        return Ok(Offer { capabilities: all.write(), instructions: instructions::joined(each.into_iter()) });
    };
    let known = known(upstream);
    let instructions = match &known {
        Some((facts, obliged)) => told(upstream, facts, obliged).await,
        None => None,
    };
    let capabilities = offers(known.as_ref().map(|(facts, _)| &**facts)).write();
    Ok(Offer { capabilities, instructions })
}
