//! Steps that all groups of metrics take.

use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;

/// Brings a counter up to a total that is counted elsewhere. Two readers at once must not turn it back.
pub(super) fn set(counter: &Counter, total: u64) {
    let count: &AtomicU64 = counter.inner();
    count.fetch_max(total, Ordering::Relaxed);
}

/// Registers a metric under a name.
pub(super) fn registered<M>(registry: &mut Registry, name: &str, help: &str, metric: M) -> M
where
    M: prometheus_client::registry::Metric + Clone,
{
    registry.register(name, help, metric.clone());
    metric
}
