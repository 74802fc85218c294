//! Metrics of limits: who was refused by which, how many are remembered, and who is blocked.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::kernel::Verdict;
use crate::limits::Stats;
use crate::limits::budget::{self, What};

use super::labels::{BlockLabels, KeptLabels, LimitLabels, VerdictLabels};
use super::{Metrics, registered, set};

#[derive(Debug)]
pub(super) struct LimitMetrics {
    limited: Family<LimitLabels, Counter>,
    keys: Family<LimitLabels, Gauge>,
    blocked: Gauge,
    blocks: Family<BlockLabels, Counter>,
    kept: Family<KeptLabels, Gauge>,
    given_up: Counter,
    no_room: Counter,
    made_room: Family<LimitLabels, Counter>,
    packets: Family<VerdictLabels, Counter>,
}

impl LimitMetrics {
    pub(super) fn new(r: &mut Registry) -> Self {
        Self {
            limited: registered(r, "limited", "Requests refused by a limit", Family::default()),
            keys: registered(
                r,
                "limit_keys",
                "Addresses, principals and tenants whose use of a limit is remembered",
                Family::default(),
            ),
            blocked: registered(r, "blocked_addresses", "Addresses blocked now", Gauge::default()),
            kept: registered(
                r,
                "kept_bytes",
                "Bytes kept for clients until they take them",
                Family::default(),
            ),
            given_up: registered(
                r,
                "kept_given_up",
                "Answers and calls given up since a share of the memory was used up",
                Counter::default(),
            ),
            no_room: registered(
                r,
                "kept_refused",
                "Times a share of the memory had no room and nothing could be given up",
                Counter::default(),
            ),
            made_room: registered(
                r,
                "sessions_made_room",
                "Sessions that ended so that their principal could open another, by the share that was used up",
                Family::default(),
            ),
            blocks: registered(r, "address_blocks", "Times an address was blocked", Family::default()),
            packets: registered(
                r,
                "early_drop_packets",
                "Packets that the early drop has judged, by what became of them",
                Family::default(),
            ),
        }
    }
}

impl Metrics {
    /// A request was refused by the limit of this name.
    pub fn limited(&self, limit: &'static str) {
        self.limits.limited.get_or_create(&LimitLabels { limit }).inc();
    }

    /// A session ended so that another of its principal could be opened; `limit` is the key of the share that
    /// was used up.
    pub fn session_made_room(&self, limit: &'static str) {
        self.limits.made_room.get_or_create(&LimitLabels { limit }).inc();
    }

    /// An address was blocked for one of few fixed reasons.
    pub fn address_blocked(&self, reason: &'static str) {
        self.limits.blocks.get_or_create(&BlockLabels { reason }).inc();
    }

    /// Takes over the figures of the memory that is kept for clients; called before [`Metrics::encode`].
    pub fn kept(&self, stats: &budget::Stats) {
        for (what, used) in What::ALL.into_iter().zip(stats.used) {
            let gauge = self.limits.kept.get_or_create(&KeptLabels { what: what.name() });
            gauge.set(i64::try_from(used).unwrap_or(i64::MAX));
        }
        let LimitMetrics { given_up, no_room, .. } = &self.limits;
        for (counter, total) in [(given_up, stats.given_up), (no_room, stats.refused)] {
            set(counter, total);
        }
    }

    /// Takes over what the early drop has counted on all processors; called before [`Metrics::encode`].
    pub fn early_drop(&self, counted: &[(Verdict, u64)]) {
        for (verdict, count) in counted {
            set(&self.limits.packets.get_or_create(&VerdictLabels { verdict: verdict.name() }), *count);
        }
    }

    /// Takes over the figures of the limits; called before [`Metrics::encode`].
    pub fn limits(&self, stats: &Stats) {
        for (limit, count) in &stats.keys {
            let gauge = self.limits.keys.get_or_create(&LimitLabels { limit: limit.name() });
            gauge.set(i64::try_from(*count).unwrap_or(i64::MAX));
        }
        self.limits.blocked.set(i64::try_from(stats.blocked).unwrap_or(i64::MAX));
    }
}
