//! Alarms: faults that somebody should look at, a sentence each.

use std::sync::Arc;

use crate::config::age::Age;
use crate::config::schema::PolicyMode;
use crate::kernel::{EarlyDrop, KernelHalf, Slice, promises};
use crate::observe::logging;
use crate::pipeline::Gateway;
use crate::runtime::tls::{Tls, WARN_DAYS};
use crate::stops::target::StopTarget;

use super::super::{Service, health};
use super::state::PartState;

/// All that is to be told.
pub(super) struct Alarms {
    pub(super) told: Vec<String>,
    pub(super) state: PartState,
}

/// The alarms now. Reads files and asks the name service.
pub(super) fn of(service: &Arc<Service>) -> Alarms {
    let gateway = &service.gateway;
    let door = health::door(service).into_iter();
    let mut told: Vec<_> = door.filter_map(|(name, trouble)| Some(format!("{name}: {}", trouble?))).collect();
    let ready = told.is_empty();
    let upstreams = health::upstreams(service).into_iter();
    told.extend(upstreams.filter_map(|(name, trouble)| Some(format!("upstream {name}: {}", trouble?))));
    let state = match (ready, told.is_empty()) {
        (false, _) => PartState::NotReady,
        (true, false) => PartState::Degraded,
        (true, true) => PartState::Ready,
    };
    told.extend(keys_and_policy(gateway));
    told.extend(gateway.redaction.status().rejected.map(|rejected| {
        format!("redaction: the packs on disk were refused at {}: {}", rejected.at, rejected.error)
    }));
    told.extend(stops(gateway));
    told.extend(gateway.tool_locks.alarms());
    told.extend(service.file.drift().map(|drift| format!("configuration: {drift}")));
    told.extend(service.door.tls.as_deref().into_iter().flat_map(certificate));
    told.extend(gateway.audit.alarms());
    if logging::lost() > 0 {
        told.push(format!(
            "log: {} lines were lost since the start, because their reader did not take them in time",
            logging::lost()
        ));
    }
    told.extend(kernel(gateway).into_iter().map(|alarm| format!("kernel: {alarm}")));
    Alarms { told, state }
}

/// The stops that are told with no other part, and what is wrong with their files.
fn stops(gateway: &Gateway) -> Vec<String> {
    let book = gateway.stops.in_force();
    let is_told = |target: &StopTarget| match target {
        StopTarget::All {} => true,
        StopTarget::Upstream { upstream } => gateway.upstreams.get(upstream).is_some(),
        _ => false,
    };
    let others = book.all().filter(|order| !is_told(&order.target));
    let told = others.map(|order| format!("stopped: {}: {} (`airlock stops`)", order.target, order.reason));
    told.chain(gateway.stops.alarms().into_iter().map(|alarm| format!("stops: {alarm}"))).collect()
}

fn keys_and_policy(gateway: &Gateway) -> Vec<String> {
    let issuers = gateway.auth.status();
    let stale = issuers.iter().filter_map(|issuer| {
        let error = issuer.error.as_ref().filter(|_| issuer.keys > 0)?;
        Some(format!("issuer {}: older keys are used, since {error}", issuer.issuer))
    });
    let mut told: Vec<_> = stale.collect();
    if let Some(rejected) = gateway.policy.status().rejected
        && gateway.policy.trouble().is_none()
    {
        told.push(format!("policy: the one on disk was refused at {}: {}", rejected.at, rejected.error));
    }
    if gateway.config.policy.mode == PolicyMode::Shadow {
        told.push("policy: mode is `shadow`, so what it refuses is done all the same".to_owned());
    }
    told
}

fn certificate(tls: &Tls) -> Vec<String> {
    let mut told = Vec::new();
    let days = tls.days_left();
    if days < 0 {
        told.push("server.tls: the certificate has expired".to_owned());
    } else if days < WARN_DAYS {
        told.push(format!("server.tls: the certificate ends in {days} days"));
    }
    if let Some((since, why)) = tls.refused() {
        let age = Age::since(since);
        told.push(format!(
            "server.tls: the files on disk are not the ones in use for {age}, since they are not good: {why}"
        ));
    }
    told
}

fn kernel(gateway: &Gateway) -> Vec<String> {
    let half = &gateway.kernel;
    let mut told = promises::broken(&gateway.config, half);
    let attached = half.early_drop().map(EarlyDrop::attached).unwrap_or_default();
    let wanted = gateway.config.kernel.xdp.interfaces.iter();
    let bare = wanted.filter(|name| attached.iter().all(|place| place.interface != **name));
    told.extend(bare.map(|name| format!("the early drop is not attached to {name}")));
    if half.cage().fitting_slice().is_some_and(|slice| slice.is_ok()) {
        told.extend(slice(half).and_then(Result::err));
    }
    told
}

/// The slice that is to be held, or what has become of it.
pub(super) fn slice(half: &KernelHalf) -> Option<Result<&Slice, String>> {
    let slice = half.cage().fitting_slice()?;
    Some(
        slice
            .map_err(|error| error.to_string())
            .and_then(|slice| slice.stands().and_then(|()| slice.is_alone()).map(|()| slice)),
    )
}
