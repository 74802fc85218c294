//! Metrics of the policy.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::labels::PolicyLabels;
use super::register::{registered, set};

/// The figures of the policy.
#[derive(Debug, Clone)]
pub struct PolicyFigures {
    /// The digest of the bundle in force.
    pub digest: String,
    /// The engine that runs it.
    pub engine: &'static str,
    /// The bundle on disk is not good, and not the one in force.
    pub rejected: bool,
    /// Bundles put in force since the start.
    pub loaded: u64,
    /// Bundles refused since the start.
    pub rejections: u64,
    /// Decisions found among those made before.
    pub hits: u64,
    /// Decisions looked for and not found.
    pub misses: u64,
}

/// The counters and gauges of the policy.
#[derive(Debug, Default)]
pub struct PolicyMetrics {
    info: Family<PolicyLabels, Gauge>,
    rejected: Gauge,
    loaded: Counter,
    rejections: Counter,
    hits: Counter,
    misses: Counter,
}

impl PolicyMetrics {
    pub(super) fn new(r: &mut Registry) -> Self {
        Self {
            info: registered(r, "policy_info", "The policy in force, and what runs it", Family::default()),
            rejected: registered(
                r,
                "policy_rejected",
                "1 while the policy on disk is not good and not the one in force",
                Gauge::default(),
            ),
            loaded: registered(r, "policy_loads", "Policies put in force", Counter::default()),
            rejections: registered(r, "policy_rejections", "Policies refused", Counter::default()),
            hits: registered(
                r,
                "policy_cache_hits",
                "Decisions found among those made before",
                Counter::default(),
            ),
            misses: registered(
                r,
                "policy_cache_misses",
                "Decisions looked for and not found",
                Counter::default(),
            ),
        }
    }

    /// Takes over what is known of the policy; called before [`Metrics::encode`](super::Metrics::encode).
    pub fn figures(&self, figures: PolicyFigures) {
        self.info.clear();
        let labels = PolicyLabels { digest: figures.digest, engine: figures.engine };
        self.info.get_or_create(&labels).set(1);
        self.rejected.set(figures.rejected.into());
        set(&self.loaded, figures.loaded);
        set(&self.rejections, figures.rejections);
        set(&self.hits, figures.hits);
        set(&self.misses, figures.misses);
    }
}
