//! Metrics of limits: who was refused by which, how many are remembered, and who is blocked.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::labels::{BlockLabels, KeptLabels, LimitLabels, StopLabels, VerdictLabels};
use super::register::{registered, set};

/// The counters and gauges of limits.
#[derive(Debug)]
pub struct LimitMetrics {
    limited: Family<LimitLabels, Counter>,
    keys: Family<LimitLabels, Gauge>,
    blocked: Gauge,
    blocks: Family<BlockLabels, Counter>,
    kept: Family<KeptLabels, Gauge>,
    given_up: Counter,
    no_room: Counter,
    made_room: Family<LimitLabels, Counter>,
    packets: Family<VerdictLabels, Counter>,
    stops: Family<StopLabels, Gauge>,
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
            stops: registered(
                r,
                "stops",
                "Stops of an operator in force, by what they stop",
                Family::default(),
            ),
            packets: registered(
                r,
                "early_drop_packets",
                "Packets that the early drop has judged, by what became of them",
                Family::default(),
            ),
        }
    }

    /// A request was refused by the limit of this name.
    pub fn limited(&self, limit: &'static str) {
        self.limited.get_or_create(&LimitLabels { limit }).inc();
    }

    /// A session ended so that another of its principal could be opened; `limit` is the key of the share that
    /// was used up.
    pub fn session_made_room(&self, limit: &'static str) {
        self.made_room.get_or_create(&LimitLabels { limit }).inc();
    }

    /// An address was blocked for one of few fixed reasons.
    pub fn address_blocked(&self, reason: &'static str) {
        self.blocks.get_or_create(&BlockLabels { reason }).inc();
    }

    /// Takes over the bytes that are kept for clients, by what they are, how often some were given up and how
    /// often there was no room; called before [`Metrics::encode`](super::Metrics::encode).
    pub fn kept(&self, used: impl IntoIterator<Item = (&'static str, usize)>, given_up: u64, refused: u64) {
        for (what, used) in used {
            self.kept.get_or_create(&KeptLabels { what }).set(i64::try_from(used).unwrap_or(i64::MAX));
        }
        for (counter, total) in [(&self.given_up, given_up), (&self.no_room, refused)] {
            set(counter, total);
        }
    }

    /// Takes over the packets that the early drop has counted on all processors, by their verdict; called
    /// before [`Metrics::encode`](super::Metrics::encode).
    pub fn early_drop(&self, counted: impl IntoIterator<Item = (&'static str, u64)>) {
        for (verdict, count) in counted {
            set(&self.packets.get_or_create(&VerdictLabels { verdict }), count);
        }
    }

    /// Takes over how many stops are in force, by their kind; called before
    /// [`Metrics::encode`](super::Metrics::encode).
    pub fn stops(&self, counts: impl IntoIterator<Item = (&'static str, usize)>) {
        for (kind, count) in counts {
            self.stops.get_or_create(&StopLabels { kind }).set(i64::try_from(count).unwrap_or(i64::MAX));
        }
    }

    /// Takes over how many are remembered, by limit, and how many addresses are blocked; called before
    /// [`Metrics::encode`](super::Metrics::encode).
    pub fn figures(&self, keys: impl IntoIterator<Item = (&'static str, usize)>, blocked: usize) {
        for (limit, count) in keys {
            self.keys.get_or_create(&LimitLabels { limit }).set(i64::try_from(count).unwrap_or(i64::MAX));
        }
        self.blocked.set(i64::try_from(blocked).unwrap_or(i64::MAX));
    }
}
