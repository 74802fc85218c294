//! Shares that are larger than what they are shares of, or too small for a single answer.

use super::checks::{Checks, at};
use crate::schema::Config;
use crate::yaml::tree::PathStep;

pub(super) fn check(config: &Config, checks: &mut Checks<'_>) {
    let memory = &config.limits.memory;
    let levels = [
        ("per_session", memory.per_session),
        ("per_principal", memory.per_principal),
        ("per_tenant", memory.per_tenant),
        ("total", memory.total),
    ];
    let path = |key| -> [PathStep<'_>; 3] { ["limits".into(), "memory".into(), key] };
    for pair in levels.windows(2) {
        let [(key, size), (above, most)] = pair else { continue };
        let (own, other) = (path((*key).into()), path((*above).into()));
        if size > most && checks.known(&own) && checks.known(&other) {
            let place = checks.whereabouts(&other);
            checks.value(
                &own,
                format!("`{key}` ({size}) is more than `{above}` ({most}, {place}), so it limits nothing"),
                "at most as much as the share above it",
                "write a smaller size here, or a larger one there",
            );
        }
    }
    let (sessions, processes) = (&config.limits.sessions, &config.limits.processes);
    for (section, total, tenant, principal) in [
        ("sessions", sessions.total, sessions.per_tenant, sessions.per_principal),
        ("processes", processes.total, processes.per_tenant, processes.per_principal),
    ] {
        for (key, share) in
            [("total", Some(total)), ("per_tenant", tenant), ("per_principal", Some(principal))]
        {
            if share == Some(0) {
                let (expected, help) = ("a number of at least 1", "write a larger number, or remove the key");
                checks.value(
                    at!["limits", section, key],
                    "nothing would ever be let through",
                    expected,
                    help,
                );
            }
        }
    }
    let answer = config.server.max_response_bytes;
    let own = path("per_session".into());
    let other: &[PathStep<'_>] = at!["server", "max_response_bytes"];
    if memory.per_session < answer && checks.known(&own) && checks.known(other) {
        let place = checks.whereabouts(other);
        checks.value(
            &own,
            format!(
                "`per_session` ({}) is less than `server.max_response_bytes` ({answer}, {place}), so the longest answers could never arrive",
                memory.per_session
            ),
            "at least as much as the longest answer",
            "write a larger size here, or a smaller one there",
        );
    }
}
