//! Promises of the configuration that this host does not keep: said by `airlock kernel doctor` before a
//! start, and by `airlock status` after it.

use super::KernelHalf;
use super::cgroup::{LIMITS, Limit};
use super::confine::{landlock, seccomp};
use super::probe::permitted;
use super::process::users::{ROOT_BY_OMISSION, has_default_user, is_root_by_omission};
use airlock_config::schema::{Config, KernelMode, PinNetwork, Rung, UpstreamKind};

/// Layers that every server is given and that are no rungs.
const LAYERS: [&str; 3] = [seccomp::NAME, landlock::NAME, permitted::NAME];

/// Promises that are not kept, a sentence each. Asks the name service.
pub fn broken(config: &Config, half: &KernelHalf) -> Vec<String> {
    let report = half.report();
    let mut broken = Vec::new();
    if config.kernel.mode == KernelMode::Off {
        return broken;
    }
    if report.rung.is_none_or(|rung| rung < report.minimum_rung) {
        broken.push(format!(
            "kernel.minimum_rung is {}, and servers are pinned on rung {}",
            report.minimum_rung.name(),
            report.rung.map_or("none", Rung::name)
        ));
    }
    if let Some(Err(error)) = half.cage().fitting_slice() {
        broken.push(error.to_string());
    }
    let started = || config.upstreams.iter().filter(|upstream| upstream.kind == UpstreamKind::Stdio);
    let missing = report.layers.iter().filter(|layer| !layer.active && LAYERS.contains(&layer.name.as_str()));
    for layer in missing.filter(|_| started().next().is_some()) {
        let remedy = layer.remedy.as_ref().map(|remedy| format!("; {remedy}")).unwrap_or_default();
        broken.push(format!("servers are to have {}, and do not: {}{remedy}", layer.name, layer.detail));
    }
    for Limit { controller, key, is_set } in LIMITS {
        let wanting: Vec<_> = started()
            .filter(|upstream| is_set(&upstream.pin))
            .map(|upstream| upstream.name.as_str())
            .collect();
        if !wanting.is_empty() && !report.is_active(&format!("{controller} limit")) {
            let names = wanting.join(", ");
            broken.push(format!(
                "upstream {names} is to have {key}, and the {controller} controller is not there to enforce it"
            ));
        }
    }
    for upstream in started() {
        if config.kernel.mode == KernelMode::Required && is_root_by_omission(upstream.user.as_deref()) {
            broken.push(format!("upstream {}: {ROOT_BY_OMISSION}", upstream.name));
            continue;
        }
        let is_own_user = upstream.user.is_none() && !has_default_user();
        if upstream.pin.network == PinNetwork::None && is_own_user && !report.is_active("cgroup guard") {
            broken.push(format!(
                "upstream {} runs as airlock's own user, which may move it out of its cage: set `user`",
                upstream.name
            ));
        }
    }
    broken
}
