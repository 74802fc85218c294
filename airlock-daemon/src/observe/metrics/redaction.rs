//! Metrics of the packs of detectors.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::register::{registered, set};

/// The counters and gauges of packs.
#[derive(Debug, Default)]
pub struct PackMetrics {
    rejected: Gauge,
    loaded: Counter,
    rejections: Counter,
}

impl PackMetrics {
    pub(super) fn new(r: &mut Registry) -> Self {
        Self {
            rejected: registered(
                r,
                "dlp_rejected",
                "1 while the packs of detectors on disk are not good and not those in force",
                Gauge::default(),
            ),
            loaded: registered(r, "dlp_loads", "Packs of detectors put in force", Counter::default()),
            rejections: registered(r, "dlp_rejections", "Packs of detectors refused", Counter::default()),
        }
    }

    /// Takes over what is known of the packs; called before [`Metrics::encode`](super::Metrics::encode).
    pub fn figures(&self, is_rejected: bool, loaded: u64, rejections: u64) {
        self.rejected.set(is_rejected.into());
        set(&self.loaded, loaded);
        set(&self.rejections, rejections);
    }
}
