//! Metrics of what happens before the first request of a connection.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::labels::ReasonLabels;
use super::register::registered;

/// The counters and gauges of connections that have not asked for anything yet.
#[derive(Debug)]
pub struct Edge {
    ended: Family<ReasonLabels, Counter>,
    handshakes: Family<ReasonLabels, Counter>,
    days_left: Gauge,
    reloads_refused: Counter,
}

impl Edge {
    pub(super) fn registered(r: &mut Registry) -> Self {
        Self {
            ended: registered(
                r,
                "connections_ended",
                "Client connections that Airlock ended of its own accord",
                Family::default(),
            ),
            handshakes: registered(
                r,
                "tls_handshakes_failed",
                "TLS handshakes of clients that failed",
                Family::default(),
            ),
            days_left: registered(
                r,
                "tls_certificate_days_left",
                "Whole days until the certificate in use ends; negative once it has; 0 without TLS",
                Gauge::default(),
            ),
            reloads_refused: registered(
                r,
                "tls_reloads_refused",
                "Times new certificate files were not good",
                Counter::default(),
            ),
        }
    }

    /// A client connection was ended. `reason` is one of few fixed words.
    pub fn connection_ended(&self, reason: &'static str) {
        self.ended.get_or_create(&ReasonLabels { reason }).inc();
    }

    /// A TLS handshake failed. `reason` is one of few fixed words.
    pub fn handshake_failed(&self, reason: &'static str) {
        self.handshakes.get_or_create(&ReasonLabels { reason }).inc();
    }

    /// New certificate files were not good.
    pub fn certificate_refused(&self) {
        self.reloads_refused.inc();
    }

    /// The certificate in use ends in so many whole days; gives them back.
    pub fn certificate_days(&self, days: i64) -> i64 {
        self.days_left.set(days);
        days
    }
}
