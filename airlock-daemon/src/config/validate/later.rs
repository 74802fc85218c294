//! Keys that the schema knows and this release does not act on: refused, so that nobody relies on them.

use super::{Checks, at};
use crate::config::schema::{Config, PinNetwork, Upstream, UpstreamKind};
use crate::config::tree::Step;

/// The names of these keys: nobody is told to write one of them.
pub(in crate::config) const NOT_YET: [&str; 7] =
    ["checkpoint", "detectors", "dlp", "otlp_endpoint", "packs", "retention", "roots"];

pub(super) fn check(config: &Config, checks: &mut Checks<'_>) {
    let keys = [
        (!config.dlp.packs.is_empty(), ["dlp", "packs"]),
        (!config.dlp.detectors.is_empty(), ["dlp", "detectors"]),
        (config.audit.retention.is_some(), ["audit", "retention"]),
        (config.audit.checkpoint.is_some(), ["audit", "checkpoint"]),
        (config.observability.otlp_endpoint.is_some(), ["observability", "otlp_endpoint"]),
    ];
    for (given, path) in keys {
        if given {
            key(checks, at![path[0], path[1]], &path.join("."));
        }
    }
    if !config.roots.is_empty() {
        key(checks, at!["roots"], "roots");
    }
    for (index, one) in config.upstreams.iter().enumerate() {
        upstream(index, one, checks);
    }
}

fn upstream(index: usize, upstream: &Upstream, checks: &mut Checks<'_>) {
    // For other types nothing is pinned, which is told elsewhere.
    if upstream.kind == UpstreamKind::Stdio && upstream.pin.network == PinNetwork::Host {
        let path = at!["upstreams", index, "pin", "network"];
        value(checks, path, "a server with the host's network", "`none`, or no `network` at all");
    }
}

fn key(checks: &mut Checks<'_>, path: &[Step<'_>], name: &str) {
    checks.key(
        path,
        format!("`{name}` is not yet enforced"),
        "only keys that this release acts on",
        "remove the key; a later release will act on it",
    );
}

fn value(checks: &mut Checks<'_>, path: &[Step<'_>], what: &str, expected: &str) {
    checks.value(
        path,
        format!("{what} is not yet enforced"),
        expected,
        "remove the key or change the value; a later release will act on it",
    );
}
