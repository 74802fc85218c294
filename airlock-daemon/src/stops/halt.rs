//! The end of something that runs, by a stop.

use std::future::pending;
use std::sync::Arc;

use tokio::sync::watch;

use super::keeper::Stops;
use super::order::StopOrder;
use super::target::Matter;
use crate::auth::principal::Principal;

/// Tells something that runs when a stop reaches it. A stop that comes after it was made is not missed, and
/// neither is one that came just before.
#[derive(Clone)]
pub struct Halt {
    stops: Arc<Stops>,
    changes: watch::Receiver<u64>,
    principal: Arc<Principal>,
    upstream: Option<Arc<str>>,
    tool: Option<Arc<str>>,
}

impl Halt {
    /// For what runs for this principal, at a server and as a call of a tool, where it is that.
    pub fn new(
        stops: &Arc<Stops>,
        principal: &Arc<Principal>,
        upstream: Option<&Arc<str>>,
        tool: Option<&str>,
    ) -> Self {
        Self {
            stops: Arc::clone(stops),
            // Before the first look: a stop is in force before its change is told.
            changes: stops.changes(),
            principal: Arc::clone(principal),
            upstream: upstream.map(Arc::clone),
            tool: tool.map(Into::into),
        }
    }

    /// Waits until a stop reaches it; at once where one does already. Nothing is lost when this is dropped.
    pub async fn reached(&mut self) -> Arc<StopOrder> {
        loop {
            let Self { principal, upstream, tool, .. } = &*self;
            let matter = Matter { principal, upstream: upstream.as_deref(), tool: tool.as_deref() };
            if let Some(order) = self.stops.covering(&matter) {
                return order;
            }
            // The sender lives as long as the stops.
            if self.changes.changed().await.is_err() {
                return pending().await;
            }
        }
    }
}
