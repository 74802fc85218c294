//! `logging/setLevel`, of the legacy era. A legacy server is told; a modern one learns the level with each
//! call, from `_meta`.

use std::sync::Arc;

use crate::mcp::capability::Capability;
use crate::mcp::object::Object;
use crate::mcp::revision::Era;
use crate::upstream::pool::Upstream;

use super::list::Listed;
use super::start::{self, Event, Means};
use crate::pipeline::methods::table::SET_LEVEL;
use crate::pipeline::request::asked::Asked;
use crate::pipeline::request::requester::Requester;
use crate::pipeline::route::Endpoint;
use crate::pipeline::{Gateway, Refusal, admit, stopped, upstream};
use crate::stage::Stage;

/// Tells the servers of an endpoint: the one, or all that offer logging and that this principal may use.
///
/// # Errors
/// A [`Refusal`]; at the merged endpoint only when no server offers logging, or nothing can be recorded.
pub async fn set(
    gateway: &Arc<Gateway>,
    who: &Requester,
    endpoint: &Endpoint,
    params: &Object<'_>,
) -> Result<Listed, Refusal> {
    let text = params.write();
    if let Some(upstream) = endpoint.upstream(&gateway.upstreams)? {
        return tell(gateway, who, upstream, &text).await;
    }
    admit(gateway, who, endpoint, Asked::Level).await?;
    let offering: Vec<_> =
        gateway.upstreams.iter().filter(|upstream| offers(upstream, who)).map(Arc::clone).collect();
    // All are told at once; a slow one costs its own deadline, not the sum.
    let told: Vec<_> = offering
        .into_iter()
        .map(|upstream| {
            let (gateway, who, text) = (Arc::clone(gateway), who.clone(), text.clone());
            tokio::task::spawn_local(async move {
                match tell(&gateway, &who, &upstream, &text).await {
                    Ok(Ok(_)) => {}
                    Ok(Err(error)) => {
                        tracing::warn!(upstream = %upstream.name, error, "the server refuses logging/setLevel");
                    }
                    Err(refusal) if refusal.stage == Stage::Authorize => {}
                    Err(refusal) => {
                        tracing::warn!(upstream = %upstream.name, "logging/setLevel failed: {}", refusal.reason);
                    }
                }
            })
        })
        .collect();
    for one in told {
        // A task that panicked has told nobody; the others are not to blame.
        let _ = one.await;
    }
    Ok(Ok("{}".to_owned()))
}

fn offers(upstream: &Upstream, who: &Requester) -> bool {
    upstream.facts_for(who.revision.era()).is_some_and(|facts| facts.offers.has(Capability::Logging))
}

/// Tells one server.
async fn tell(
    gateway: &Arc<Gateway>,
    who: &Requester,
    upstream: &Arc<Upstream>,
    params: &str,
) -> Result<Listed, Refusal> {
    let endpoint = Endpoint::One(upstream.name.to_string());
    if upstream.facts_for(who.revision.era()).is_some_and(|facts| facts.era == Era::Modern) {
        // The session keeps the level for a modern server: nothing is sent.
        return admit(gateway, who, &endpoint, Asked::Level).await.map(|_| Ok("{}".to_owned()));
    }
    let params = Object::parse(params).unwrap_or_default();
    let mut running = start::enter(
        gateway,
        &SET_LEVEL,
        who.clone(),
        &endpoint,
        params,
        |text, _| Ok(text),
        Means::Legacy(None),
    )
    .await?
    .begun()?;
    loop {
        return match running.next().await {
            // Nobody is there to answer a question in between.
            Event::Notification(..) | Event::Ask(_) => continue,
            Event::Result(text) => Ok(Ok(text)),
            Event::Error(error) => Ok(Err(error)),
            Event::Cancelled => Ok(Ok("{}".to_owned())),
            Event::Stopped(order) => Err(stopped::refusal(&order).about(running.aim())),
            Event::Failed(error) => Err(upstream::failed(&error).about(running.aim())),
        };
    }
}
