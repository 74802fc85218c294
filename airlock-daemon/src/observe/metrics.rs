//! Metrics in the `OpenMetrics` text format, for Prometheus.
//!
//! Every label comes from a fixed list or from the configuration, so nobody outside can make the number of
//! series grow. Costs: [`UpstreamMetrics`] handles are an atomic or one short lock; [`Metrics::request`] and
//! [`Metrics::refusal`] are one hash look-up under a shared lock besides.

mod audit;
mod edge;
mod labels;
mod limits;
mod policy;
mod redaction;
mod register;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use prometheus_client::encoding::text;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::{Family, MetricConstructor};
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use crate::stage::Stage;

pub use audit::AuditFigures;
use audit::AuditMetrics;
use edge::Edge;
pub use labels::Outcome;
use labels::{
    BuildLabels, CallLabels, DeniedLabels, OUTCOMES, RedactionLabels, RefusalLabels, RequestLabels,
    UpstreamLabels,
};
use limits::LimitMetrics;
pub use policy::PolicyFigures;
use policy::PolicyMetrics;
use redaction::PackMetrics;
use register::registered;

/// The content type of [`Metrics::encode`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Upper bounds of the duration buckets, in seconds: fine below a millisecond, where Airlock's own cost lies.
const BUCKETS: [f64; 14] =
    [0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.1, 0.25, 1.0, 2.5, 10.0, 30.0];
/// Series of upstreams beyond this many share the name `other`.
const MAX_UPSTREAMS: usize = 1_000;
#[derive(Debug, Clone)]
struct Durations;

impl MetricConstructor<Histogram> for Durations {
    fn new_metric(&self) -> Histogram {
        Histogram::new(BUCKETS)
    }
}

/// The metrics of one upstream, found once and kept by whoever calls it.
#[derive(Debug)]
pub struct UpstreamMetrics {
    name: Arc<str>,
    calls: [Counter; OUTCOMES.len()],
    seconds: Histogram,
    processes: Gauge,
    circuit_opened: Counter,
    left_out: Gauge,
    held_back: Gauge,
}

impl UpstreamMetrics {
    /// So many definitions of the server's are not what is locked now.
    pub fn held_back(&self, definitions: usize) {
        self.held_back.set(i64::try_from(definitions).unwrap_or(i64::MAX));
    }

    /// So many entries of the server's lists are not passed on now.
    pub fn left_out(&self, entries: usize) {
        self.left_out.set(i64::try_from(entries).unwrap_or(i64::MAX));
    }

    /// The circuit breaker has opened: the server failed to start too often.
    pub fn circuit_opened(&self) {
        self.circuit_opened.inc();
    }

    /// A call ended after `duration`.
    pub fn call(&self, outcome: Outcome, duration: Duration) {
        if let Some(counter) = self.calls.get(outcome as usize) {
            counter.inc();
        }
        self.seconds.observe(duration.as_secs_f64());
    }

    /// A server process runs, for as long as the answer is held.
    pub fn process(&self) -> Held {
        Held::new(&self.processes)
    }
}

/// Counts one thing in a gauge until it is dropped.
#[derive(Debug)]
#[must_use = "the gauge goes down again when this is dropped"]
pub struct Held(Gauge);

impl Held {
    fn new(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// All metrics of the daemon.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    refusals: Family<RefusalLabels, Counter>,
    redactions: Family<RedactionLabels, Counter>,
    calls: Family<CallLabels, Counter>,
    seconds: Family<UpstreamLabels, Histogram, Durations>,
    processes: Family<UpstreamLabels, Gauge>,
    circuits: Family<UpstreamLabels, Counter>,
    left_out: Family<UpstreamLabels, Gauge>,
    held_back: Family<UpstreamLabels, Gauge>,
    connections: Gauge,
    denied: Family<DeniedLabels, Counter>,
    denied_untold: Counter,
    build: Family<BuildLabels, Gauge>,
    dropped: Counter,
    /// Connections before their first request.
    pub edge: Edge,
    /// The audit log.
    pub audit: AuditMetrics,
    /// Limits, blocks and memory.
    pub limits: LimitMetrics,
    /// The policy.
    pub policy: PolicyMetrics,
    /// The packs of detectors.
    pub packs: PackMetrics,
    upstreams: RwLock<HashMap<Arc<str>, Arc<UpstreamMetrics>>>,
}

impl Metrics {
    /// Metrics with nothing counted yet.
    pub fn new() -> Arc<Self> {
        let mut registry = Registry::with_prefix("airlock");
        let r = &mut registry;
        let metrics = Self {
            requests: registered(r, "requests", "HTTP requests answered", Family::default()),
            refusals: registered(r, "refusals", "Requests refused", Family::default()),
            redactions: registered(
                r,
                "redactions",
                "Findings of detectors, and what was done with them",
                Family::default(),
            ),
            calls: registered(r, "upstream_calls", "Calls to upstreams ended", Family::default()),
            seconds: Family::new_with_constructor(Durations),
            processes: registered(r, "upstream_processes", "Server processes running", Family::default()),
            circuits: registered(
                r,
                "upstream_circuit_opened",
                "Times a server that failed to start was left alone",
                Family::default(),
            ),
            left_out: registered(
                r,
                "upstream_entries_left_out",
                "Entries of a server's lists that are not passed on, because something is wrong with them",
                Family::default(),
            ),
            held_back: registered(
                r,
                "upstream_definitions_held_back",
                "Tools, prompts and templates that are not what is locked",
                Family::default(),
            ),
            connections: registered(r, "connections", "Client connections open", Gauge::default()),
            denied: registered(
                r,
                "kernel_denied",
                "Attempts of servers denied by the kernel",
                Family::default(),
            ),
            denied_untold: registered(
                r,
                "kernel_denied_untold",
                "Attempts denied by the kernel that came too fast to be recorded one by one",
                Counter::default(),
            ),
            build: registered(
                r,
                "build_info",
                "Version, and what pins servers on this host",
                Family::default(),
            ),
            dropped: registered(
                r,
                "stream_messages_dropped",
                "Messages that a client did not read in time",
                Counter::default(),
            ),
            edge: Edge::registered(r),
            audit: AuditMetrics::new(r),
            limits: LimitMetrics::new(r),
            policy: PolicyMetrics::new(r),
            packs: PackMetrics::new(r),
            upstreams: RwLock::default(),
            registry: Registry::default(),
        };
        registry.register_with_unit(
            "upstream_call_duration",
            "Time from sending a call to the end of its answer",
            Unit::Seconds,
            metrics.seconds.clone(),
        );
        Arc::new(Self { registry, ..metrics })
    }

    /// Says which version runs and what pins servers here (a rung's name, or `off`).
    pub fn build_info(&self, rung: &str) {
        self.build.clear();
        self.build
            .get_or_create(&BuildLabels { version: env!("CARGO_PKG_VERSION"), rung: rung.to_owned() })
            .set(1);
    }

    /// A request was answered. `method` is the MCP method as received; empty where none was read.
    pub fn request(&self, method: &str, status: u16) {
        let method = labels::method(method);
        let status = if (100..600).contains(&status) { status.into() } else { 0 };
        self.requests.get_or_create(&RequestLabels { method, status }).inc();
    }

    /// A request was refused at `stage`. `reason` is one of few fixed words, never text from outside.
    pub fn refusal(&self, stage: Stage, reason: &'static str) {
        self.refusals.get_or_create(&RefusalLabels { stage, reason }).inc();
    }

    /// A detector has found something so many times. The name of a detector is the configuration's or a
    /// pack's.
    pub fn redacted(&self, detector: &Arc<str>, direction: &'static str, action: &'static str, count: u64) {
        let labels = RedactionLabels { detector: Arc::clone(detector), direction, action };
        self.redactions.get_or_create(&labels).inc_by(count);
    }

    /// The metrics of a configured upstream; a caller that keeps the answer saves the look-up.
    pub fn upstream(&self, name: &str) -> Arc<UpstreamMetrics> {
        if let Some(known) = self.upstreams.read().get(name) {
            return known.clone();
        }
        let mut upstreams = self.upstreams.write();
        let name: Arc<str> = if upstreams.len() < MAX_UPSTREAMS { name.into() } else { "other".into() };
        upstreams
            .entry(name.clone())
            .or_insert_with(|| {
                let labels = UpstreamLabels { upstream: name.clone() };
                Arc::new(UpstreamMetrics {
                    calls: OUTCOMES.map(|outcome| {
                        self.calls.get_or_create_owned(&CallLabels { upstream: name.clone(), outcome })
                    }),
                    seconds: self.seconds.get_or_create_owned(&labels),
                    processes: self.processes.get_or_create_owned(&labels),
                    circuit_opened: self.circuits.get_or_create_owned(&labels),
                    left_out: self.left_out.get_or_create_owned(&labels),
                    held_back: self.held_back.get_or_create_owned(&labels),
                    name,
                })
            })
            .clone()
    }

    /// A call to `upstream` ended after `duration`.
    pub fn call(&self, upstream: &str, outcome: Outcome, duration: Duration) {
        self.upstream(upstream).call(outcome, duration);
    }

    /// A client connection is open, for as long as the answer is held.
    pub fn connection(&self) -> Held {
        Held::new(&self.connections)
    }

    /// The kernel denied a server of `upstream` something at `hook`.
    pub fn kernel_denied(&self, upstream: &str, hook: &'static str) {
        let upstream = self.upstream(upstream).name.clone();
        self.denied.get_or_create(&DeniedLabels { upstream, hook }).inc();
    }

    /// So many denials came too fast to be told one by one.
    pub fn kernel_denied_untold(&self, count: u64) {
        self.denied_untold.inc_by(count);
    }

    /// Messages were dropped that the client of an event stream did not read in time.
    pub fn messages_dropped(&self, count: u64) {
        self.dropped.inc_by(count);
    }

    /// All metrics as `OpenMetrics` text ([`CONTENT_TYPE`]).
    pub fn encode(&self) -> String {
        let mut out = String::with_capacity(16 * 1024);
        if let Err(error) = text::encode(&mut out, &self.registry) {
            tracing::error!("metrics cannot be written as text: {error}");
        }
        out
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_was_counted_is_in_the_text() {
        let metrics = Metrics::new();
        metrics.build_info("no-network");
        metrics.request("tools/call", 200);
        metrics.request("tools/call", 200);
        metrics.refusal(Stage::Authorize, "policy");
        metrics.call("docs", Outcome::Ok, Duration::from_millis(3));
        metrics.upstream("docs").call(Outcome::Timeout, Duration::from_mins(1));
        let process = metrics.upstream("docs").process();
        metrics.upstream("docs").circuit_opened();
        let connections = [metrics.connection(), metrics.connection()];
        metrics.kernel_denied("docs", "connect4");
        metrics.audit.figures(&AuditFigures {
            records: 5,
            queued: 2,
            refused: 1,
            healthy: true,
            ..AuditFigures::default()
        });
        metrics.audit.figures(&AuditFigures {
            records: 4,
            queued: 2,
            refused: 1,
            healthy: true,
            ..AuditFigures::default()
        });
        let text = metrics.encode();
        for line in [
            concat!("airlock_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\",rung=\"no-network\"} 1"),
            "airlock_requests_total{method=\"tools/call\",status=\"200\"} 2",
            "airlock_refusals_total{stage=\"authorize\",reason=\"policy\"} 1",
            "airlock_upstream_calls_total{upstream=\"docs\",outcome=\"ok\"} 1",
            "airlock_upstream_calls_total{upstream=\"docs\",outcome=\"timeout\"} 1",
            "airlock_upstream_call_duration_seconds_bucket{le=\"0.0025\",upstream=\"docs\"} 0",
            "airlock_upstream_call_duration_seconds_bucket{le=\"0.005\",upstream=\"docs\"} 1",
            "airlock_upstream_call_duration_seconds_count{upstream=\"docs\"} 2",
            "airlock_upstream_processes{upstream=\"docs\"} 1",
            "airlock_upstream_circuit_opened_total{upstream=\"docs\"} 1",
            "airlock_connections 2",
            "airlock_kernel_denied_total{upstream=\"docs\",hook=\"connect4\"} 1",
            "airlock_audit_records_total 5",
            "airlock_audit_queue 2",
            "airlock_audit_refused_total 1",
            "airlock_audit_healthy 1",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} in\n{text}");
        }
        assert!(text.ends_with("# EOF\n"));
        drop((process, connections));
        assert!(metrics.encode().contains("airlock_connections 0\n"));
        metrics.build_info("sealed");
        assert_eq!(metrics.encode().matches("airlock_build_info{").count(), 1);
    }

    #[test]
    fn callers_cannot_make_the_number_of_series_grow() {
        let metrics = Metrics::new();
        let series = |part: &str| metrics.encode().lines().filter(|line| line.contains(part)).count();
        for n in 0..1_000_u16 {
            metrics.request(&format!("evil/{n}"), 404);
            metrics.request("", 600 + n);
        }
        assert_eq!(series("_requests_total{"), 2);
        for n in 0..2 * MAX_UPSTREAMS {
            metrics.call(&format!("u{n}"), Outcome::Ok, Duration::ZERO);
        }
        assert_eq!(series("outcome=\"ok\""), MAX_UPSTREAMS + 1);
    }

    #[test]
    fn outcomes_are_counted_where_they_belong() {
        for (at, outcome) in OUTCOMES.into_iter().enumerate() {
            assert_eq!(outcome as usize, at);
        }
    }
}
