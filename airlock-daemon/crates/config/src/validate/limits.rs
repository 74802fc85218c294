//! Limits that would refuse everything, or nothing.

use super::checks::{Checks, at};
use crate::pattern::Pattern;
use crate::schema::{Config, KernelDrop, PerAddress};
use crate::yaml::tree::PathStep;

pub(super) fn check(config: &Config, checks: &mut Checks<'_>) {
    let limits = &config.rate_limiting;
    let requests = limits.per_tenant.as_ref().and_then(|tenant| tenant.requests);
    let streams = limits.per_tenant.as_ref().and_then(|tenant| tenant.streams);
    for (given, path) in [
        (limits.burst, at!["rate_limiting", "burst"] as &[PathStep<'_>]),
        (streams, at!["rate_limiting", "per_tenant", "streams"]),
        (limits.per_principal.streams, at!["rate_limiting", "per_principal", "streams"]),
    ] {
        if given == Some(0) {
            let (expected, help) = ("a number of at least 1", "write a larger number, or remove the key");
            checks.value(path, "nothing would ever be let through", expected, help);
        }
    }
    if limits.burst.is_some()
        && limits.per_token.is_none()
        && limits.per_address.given().is_none()
        && requests.is_none()
        && all_known(checks, &["per_token", "per_address", "per_tenant"])
    {
        checks.key(
            at!["rate_limiting", "burst"],
            "`burst` belongs to a rate, and there is none",
            "`per_token`, `per_address` or `per_tenant.requests` beside it",
            "add a rate, such as `per_token: 200/min`, or remove `burst`",
        );
    }
    if limits.per_tenant.is_some() && requests.is_none() && streams.is_none() {
        let path = at!["rate_limiting", "per_tenant"];
        if checks.known(path)
            && checks.known(at!["rate_limiting", "per_tenant", "requests"])
            && checks.known(at!["rate_limiting", "per_tenant", "streams"])
        {
            checks.key(
                path,
                "`per_tenant` limits nothing",
                "`requests`, `streams` or both below it",
                "add `requests: 2000/min`, `streams: 100` or both, or remove `per_tenant`",
            );
        }
    }
    for pattern in limits.per_tool.keys() {
        names_a_tool(config, at!["rate_limiting", "per_tool", pattern.as_str()], pattern, checks);
    }
    if let Some(drop) = &limits.kernel_drop {
        kernel_drop(config, drop, checks);
    }
}

/// Checks the name of an entry that is about some tools.
pub(super) fn names_a_tool(config: &Config, path: &[PathStep<'_>], pattern: &str, checks: &mut Checks<'_>) {
    let shown = pattern.escape_debug();
    let Some(parsed) = Pattern::parse(pattern) else {
        checks.key(
            path,
            format!("`{shown}` names no tool"),
            "the name of an upstream, a slash and the name of a tool, such as `docs/search`; `*` stands for any text",
            "write which tools of which upstream are meant; `*/*` means all",
        );
        return;
    };
    if checks.known(at!["upstreams"]) && !config.upstreams.iter().any(|one| parsed.concerns(&one.name)) {
        checks.key(
            path,
            format!("`{}` is no upstream, so this limits nothing", parsed.upstream().escape_debug()),
            "the name of an entry of `upstreams`, or `*`",
            "correct the name, or remove the entry",
        );
    }
}

fn kernel_drop(config: &Config, drop: &KernelDrop, checks: &mut Checks<'_>) {
    let limits = &config.rate_limiting;
    let path = |key| at!["rate_limiting", "kernel_drop", key].to_vec();
    if limits.failed_auth.is_none()
        && limits.per_address == PerAddress::Off
        && all_known(checks, &["failed_auth", "per_address"])
    {
        checks.key(
            at!["rate_limiting", "kernel_drop"],
            "no address can be blocked: neither `failed_auth` nor `per_address` is limited",
            "a limit of addresses beside it",
            "remove `per_address: null` or `failed_auth: null`, or remove `kernel_drop`",
        );
    }
    if drop.after == 0 && checks.known(&path("after")) {
        checks.value(
            &path("after"),
            "every address would be blocked before it did anything",
            "a number of at least 1",
            "write how many violations lead to a block, such as `3`",
        );
    }
    for (key, period) in [("for", drop.r#for), ("at_most", drop.at_most)] {
        if period.0.is_zero() && checks.known(&path(key)) {
            checks.value(
                &path(key),
                format!("`{key}` is zero, so nothing would ever be blocked"),
                "a time above zero, such as `5m`",
                "write how long a block lasts, or remove `kernel_drop`",
            );
        }
    }
    if drop.at_most < drop.r#for
        && !drop.at_most.0.is_zero()
        && checks.known(&path("for"))
        && checks.known(&path("at_most"))
    {
        checks.value(
            &path("at_most"),
            format!("the longest block ({}) is shorter than the first ({})", drop.at_most, drop.r#for),
            "at least the time of `for`",
            "write a longer `at_most`, such as `1h`, or a shorter `for`",
        );
    }
}

/// True where all of these are as the file has them, so that their absence is meant.
fn all_known(checks: &Checks<'_>, keys: &[&str]) -> bool {
    keys.iter().all(|key| checks.known(at!["rate_limiting", *key]))
}
