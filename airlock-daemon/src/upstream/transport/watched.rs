//! Resources that are watched at a legacy server, which is told of each.

use std::sync::Arc;
use std::time::Duration;

use crate::mcp::jsonrpc;
use crate::mcp::object::quote;

use super::handle::Link;
use crate::upstream::hub::Hub;
use crate::upstream::message::ask::Answered;
use crate::upstream::message::reply::{Ending, Takes};

/// How long a server may think about the resources that are watched no more, or again.
const TELL_TIMEOUT: Duration = Duration::from_secs(10);

/// Asks for news of a resource.
pub(in crate::upstream) const SUBSCRIBE: &str = "resources/subscribe";
/// Asks for no more of it.
pub(in crate::upstream) const UNSUBSCRIBE: &str = "resources/unsubscribe";

/// A legacy server that was started again is told what is watched.
pub(in crate::upstream) fn again(link: &Link, upstream: &Arc<str>, hub: &Arc<Hub>) {
    let watched = hub.watched();
    if !watched.is_empty() {
        let (link, upstream, hub) = (link.clone(), Arc::clone(upstream), Arc::clone(hub));
        tokio::task::spawn_local(async move { tell(&link, &upstream, SUBSCRIBE, watched, &hub).await });
    }
}

/// Tells a server about resources; nobody waits for what it answers, and not for longer than [`TELL_TIMEOUT`]
/// in all.
pub(in crate::upstream) async fn tell(
    link: &Link,
    upstream: &str,
    method: &'static str,
    uris: Vec<String>,
    hub: &Hub,
) {
    let all = async {
        for uri in uris {
            match ask(link, method, &uri).await {
                Ok(Ok(_)) => {}
                Ok(Err(error)) => tracing::warn!(upstream, error, "the server refuses {method}"),
                Err(_) => return,
            }
        }
    };
    tokio::select! {
        told = tokio::time::timeout(TELL_TIMEOUT, all) => {
            if told.is_err() {
                tracing::warn!(upstream, "the server did not answer {method} in time");
            }
        }
        () = hub.closed() => {}
    }
}

/// Asks about one resource.
pub(in crate::upstream) async fn ask(
    link: &Link,
    method: &'static str,
    uri: &str,
) -> Result<Answered, Ending> {
    let params = format!(r#"{{"uri":{}}}"#, quote(uri));
    link.ask(Takes::Result, |id| jsonrpc::request(id, method, &params)).await
}
