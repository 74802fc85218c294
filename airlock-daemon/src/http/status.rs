//! What `airlock status` shows: everything that an operator may know, on the admin interface alone.

use std::sync::Arc;
use std::time::Instant;

use serde::Serialize;

use crate::audit::Stats;
use crate::auth::IssuerStatus;
use crate::config::schema::{EraChoice, PolicyMode, Rung, UpstreamKind};
use crate::kernel::{Attached, EarlyDrop};
use crate::observe::logging;
use crate::policy::reload::PolicyStatus;
use crate::runtime::tls::{Tls, WARN_DAYS};

use super::{Service, health};

/// The state of the daemon. Its JSON form is a stable contract: members are added, never renamed or removed.
#[derive(Debug, Serialize)]
pub struct Status {
    version: &'static str,
    pid: u32,
    uptime_secs: u64,
    /// Whether calls can be served, to upstreams that are not down.
    ready: bool,
    state: State,
    /// What somebody should look at, a sentence each.
    alarms: Vec<String>,
    /// What serves less than it could, a sentence each. It is no alarm: the remedy is often somebody else's.
    warnings: Vec<String>,
    url: String,
    io: Io,
    policy: PolicyStatus,
    policy_mode: PolicyMode,
    /// When the certificate of the TLS listeners ends, in days; none without TLS.
    certificate_days_left: Option<i64>,
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

/// The state in a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum State {
    /// All of it can be served.
    Ready,
    /// Calls are served, but an upstream cannot be used.
    Degraded,
    /// Nothing can be served.
    NotReady,
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

/// The state of the daemon now.
pub fn of(service: &Arc<Service>, started: Instant) -> Status {
    let gateway = &service.gateway;
    let mut alarms: Vec<String> = health::door(service)
        .into_iter()
        .filter_map(|(name, trouble)| trouble.map(|trouble| format!("{name}: {trouble}")))
        .collect();
    let ready = alarms.is_empty();
    let down = health::upstreams(service).into_iter();
    alarms.extend(down.filter_map(|(name, trouble)| Some(format!("upstream {name}: {}", trouble?))));
    let state = match (ready, alarms.is_empty()) {
        (false, _) => State::NotReady,
        (true, false) => State::Degraded,
        (true, true) => State::Ready,
    };
    let issuers = gateway.auth.status();
    alarms.extend(issuers.iter().filter_map(|issuer| {
        let error = issuer.error.as_ref().filter(|_| issuer.keys > 0)?;
        Some(format!("issuer {}: older keys are used, since {error}", issuer.issuer))
    }));
    let policy = gateway.policy.status();
    if let Some(rejected) = &policy.rejected
        && gateway.policy.trouble().is_none()
    {
        alarms.push(format!("policy: the one on disk was refused at {}: {}", rejected.at, rejected.error));
    }
    if gateway.config.policy.mode == PolicyMode::Shadow {
        alarms.push("policy: mode is `shadow`, so what it refuses is done all the same".to_owned());
    }
    let certificate_days_left = service.door.tls.as_deref().map(Tls::days_left);
    if let Some(days) = certificate_days_left.filter(|days| *days < WARN_DAYS) {
        alarms.push(if days < 0 {
            "server.tls: the certificate has expired".to_owned()
        } else {
            format!("server.tls: the certificate ends in {days} days")
        });
    }
    alarms.extend(gateway.audit.alarms());
    if logging::lost() > 0 {
        let lost = logging::lost();
        alarms.push(format!("log: {lost} lines were lost, because their reader did not take them in time"));
    }
    let report = gateway.kernel.report();
    if report.rung.is_none_or(|rung| rung < report.minimum_rung) {
        alarms.push(format!("kernel: {}", report.claim));
    }
    let early_drop = gateway.kernel.early_drop().map(EarlyDrop::attached).unwrap_or_default();
    let wanted = &gateway.config.kernel.xdp.interfaces;
    let bare = wanted.iter().filter(|name| early_drop.iter().all(|place| place.interface != **name));
    alarms.extend(bare.map(|name| format!("kernel: the early drop is not attached to {name}")));
    let slice = gateway.kernel.fitting_slice().and_then(|slice| {
        let fits = slice
            .map_err(|error| error.to_string())
            .and_then(|slice| slice.stands().and_then(|()| slice.is_alone()).map(|()| slice));
        fits.inspect_err(|error| alarms.push(format!("kernel: {error}"))).ok()
    });
    let upstreams = gateway.upstreams.iter().map(|upstream| {
        let facts = upstream.facts();
        Upstream {
            name: upstream.name.to_string(),
            kind: upstream.config.kind,
            era: facts.as_ref().map_or(upstream.config.era, |facts| facts.era.into()),
            revision: facts.map(|facts| facts.revision.clone()),
            trouble: upstream.trouble().map(|trouble| trouble.as_ref().clone()),
        }
    });
    let warnings = gateway.upstreams.iter().flat_map(|upstream| {
        let sentences = upstream.left_out().into_iter();
        sentences.map(|sentence| format!("upstream {}: {sentence}", upstream.name))
    });
    Status {
        version: env!("CARGO_PKG_VERSION"),
        pid: std::process::id(),
        uptime_secs: started.elapsed().as_secs(),
        ready,
        state,
        alarms,
        warnings: warnings.collect(),
        url: gateway.base_url.clone(),
        io: Io { backend: gateway.io.backend.to_string(), why: gateway.io.why.clone() },
        policy,
        policy_mode: gateway.config.policy.mode,
        certificate_days_left,
        blocked_addresses: gateway.limits.stats().blocked,
        issuers,
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
