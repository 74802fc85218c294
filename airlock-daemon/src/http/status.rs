//! The report that `airlock status` shows: everything that an operator may know, on the admin interface
//! alone.

mod alarms;
mod state;

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use serde::Serialize;

use crate::audit::Stats;
use crate::auth::IssuerStatus;
use crate::config::schema::{EraChoice, PolicyMode, Rung, UpstreamKind};
use crate::kernel::{Attached, EarlyDrop};
use crate::observe::logging;
use crate::policy::reload::PolicyStatus;
use crate::redaction::RedactionStatus;
use crate::runtime::tls::Tls;
use crate::stops::shown::ShownStop;

use self::alarms::Alarms;
use self::state::PartState;
use super::Service;
use crate::pipeline::Gateway;

/// The state of the daemon. Its JSON form is a stable contract: members are added, never renamed or removed.
#[derive(Debug, Serialize)]
pub struct Status {
    version: &'static str,
    pid: u32,
    uptime_secs: u64,
    /// When it was started (RFC 3339): all counts are since then.
    started_at: String,
    /// True where calls can be served, to upstreams that are not down.
    ready: bool,
    state: PartState,
    /// The faults that somebody should look at, a sentence each.
    alarms: Vec<String>,
    /// Upstreams that serve less than they could, a sentence for each reason. It is no alarm: the remedy is
    /// often somebody else's.
    warnings: Vec<String>,
    url: String,
    io: Io,
    policy: PolicyStatus,
    policy_mode: PolicyMode,
    redaction: RedactionStatus,
    /// When the certificate of the TLS listeners ends, in days; none without TLS.
    certificate_days_left: Option<i64>,
    /// The stops of an operator that are in force.
    stops: Vec<ShownStop>,
    /// Addresses that are blocked now.
    blocked_addresses: usize,
    issuers: Vec<IssuerStatus>,
    upstreams: Vec<Upstream>,
    sessions: usize,
    audit: Stats,
    /// Log lines that neither standard error nor journald took in time.
    log_lines_lost: u64,
    kernel: Kernel,
}

/// When the daemon was started, by both clocks.
#[derive(Debug, Clone, Copy)]
pub struct Started {
    instant: Instant,
    time: SystemTime,
}

impl Started {
    /// Now.
    pub fn now() -> Self {
        Self { instant: Instant::now(), time: SystemTime::now() }
    }
}

#[derive(Debug, Serialize)]
struct Io {
    backend: String,
    why: String,
}

#[derive(Debug, Serialize)]
struct Upstream {
    name: String,
    #[serde(rename = "type")]
    kind: UpstreamKind,
    /// As it was found, or as configured where it was not asked yet.
    era: EraChoice,
    revision: Option<String>,
    /// Why it cannot be used, after the last attempt.
    trouble: Option<String>,
}

#[derive(Debug, Serialize)]
struct Kernel {
    rung: Option<Rung>,
    minimum_rung: Rung,
    claim: &'static str,
    /// Where packets of blocked addresses are dropped.
    early_drop: Vec<Attached>,
    /// The slice whose units dial in, where it is pinned.
    #[serde(skip_serializing_if = "Option::is_none")]
    slice: Option<Slice>,
}

#[derive(Debug, Serialize)]
struct Slice {
    name: String,
    rung: Rung,
}

/// The state of the daemon now. Reads files and asks the name service.
pub fn of(service: &Arc<Service>, started: Started) -> Status {
    let gateway = &service.gateway;
    let Alarms { told: alarms, state } = alarms::of(service);
    let policy = gateway.policy.status();
    let report = gateway.kernel.report();
    let early_drop = gateway.kernel.early_drop().map(EarlyDrop::attached).unwrap_or_default();
    let slice = alarms::slice(&gateway.kernel).and_then(Result::ok);
    let upstreams = gateway.upstreams.iter().map(|upstream| {
        let facts = upstream.facts();
        Upstream {
            name: upstream.name.to_string(),
            kind: upstream.config.kind,
            era: facts.as_ref().map_or(upstream.config.era, |facts| facts.era.into()),
            revision: facts.map(|facts| facts.revision.clone()),
            trouble: upstream.trouble().map(|trouble| spoken(gateway, trouble.as_ref())),
        }
    });
    let warnings = gateway.upstreams.iter().flat_map(|upstream| {
        let sentences = upstream.warnings().into_iter();
        sentences.map(|sentence| format!("upstream {}: {sentence}", upstream.name))
    });
    Status {
        version: env!("CARGO_PKG_VERSION"),
        pid: std::process::id(),
        uptime_secs: started.instant.elapsed().as_secs(),
        started_at: humantime::format_rfc3339_seconds(started.time).to_string(),
        ready: state != PartState::NotReady,
        state,
        alarms: alarms.iter().map(|alarm| spoken(gateway, alarm)).collect(),
        warnings: warnings.collect(),
        url: gateway.base_url.clone(),
        io: Io { backend: gateway.io.backend.to_string(), why: gateway.io.why.clone() },
        policy,
        policy_mode: gateway.config.policy.mode,
        redaction: gateway.redaction.status(),
        certificate_days_left: service.door.tls.as_deref().map(Tls::days_left),
        stops: gateway.stops.shown(),
        blocked_addresses: gateway.limits.stats().blocked,
        issuers: gateway.auth.status(),
        upstreams: upstreams.collect(),
        sessions: service.sessions.len(),
        audit: gateway.audit.stats(),
        log_lines_lost: logging::lost(),
        kernel: Kernel {
            rung: report.rung,
            minimum_rung: report.minimum_rung,
            claim: report.claim,
            early_drop,
            slice: slice.map(|slice| Slice { name: slice.name().to_owned(), rung: slice.rung() }),
        },
    }
}

/// Words that may quote a server, as the log has them.
fn spoken(gateway: &Gateway, text: &str) -> String {
    gateway.redaction.logged(text).unwrap_or_else(|| text.to_owned())
}
