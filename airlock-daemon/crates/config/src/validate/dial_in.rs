//! Servers that dial in: each on a socket of its own, pinned by a slice or openly not.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::checks::{Checks, at};
use crate::schema::{Config, KernelMode, Pin, PinNetwork, PinSocket, UpstreamKind};

/// Longest path of a unix socket in bytes, which leaves room for the NUL at its end.
const MAX_PATH: usize = 107;

pub(super) fn check(config: &Config, checks: &mut Checks<'_>) {
    slice(config, checks);
    let mut sockets: BTreeMap<PathBuf, usize> = BTreeMap::new();
    let others = [config.server.unix_socket.as_deref(), config.observability.admin_listen.socket()];
    for (index, upstream) in config.upstreams.iter().enumerate() {
        if upstream.kind != UpstreamKind::DialIn || !checks.known(at!["upstreams", index, "type"]) {
            continue;
        }
        let socket = upstream.dial_in_socket();
        let path = at!["upstreams", index, "socket"];
        if socket.as_os_str().len() > MAX_PATH {
            checks.value(
                path,
                "the path of the socket is too long for the kernel",
                "at most 107 bytes",
                "choose a shorter path",
            );
        }
        if let Some(first) = sockets.get(&socket) {
            let first = config.upstreams.get(*first).map_or("", |upstream| &upstream.name);
            checks.value(
                path,
                format!("the upstream `{first}` listens on this socket already"),
                "a socket for each server that dials in",
                "choose another path, or remove the key",
            );
        } else if others.into_iter().flatten().any(|other| *other == *socket) {
            checks.value(
                path,
                "Airlock listens on this socket for others already",
                "a socket for each server that dials in",
                "choose another path, or remove the key",
            );
        } else {
            sockets.insert(socket, index);
        }
        checks.not_zero(at!["upstreams", index, "yield_after"], "yield_after", upstream.yield_after());
        pin(index, config, checks);
        unit(index, config, checks);
    }
}

/// Two servers that the kernel's word cannot tell apart could each answer the other's calls.
fn unit(index: usize, config: &Config, checks: &mut Checks<'_>) {
    let Some(upstream) = config.upstreams.get(index) else { return };
    if upstream.unit.as_deref().is_some_and(|unit| !super::super::unit_names::is_unit_name(unit)) {
        checks.value(
            at!["upstreams", index, "unit"],
            "this is not the name of a unit that has processes",
            "the whole name of a service or scope, such as `notes.service` or `notes@1.service`",
            "write a name that `systemctl list-units --type=service` shows",
        );
        return;
    }
    let earlier = config.upstreams.get(..index).unwrap_or_default().iter();
    let mut rivals = earlier.filter(|other| {
        let is_apart = other.is_of_another_unit(upstream);
        other.kind == UpstreamKind::DialIn && other.user == upstream.user && !is_apart
    });
    let Some(rival) = rivals.next().filter(|_| upstream.user.is_some()) else { return };
    let key = if rival.unit.is_some() && upstream.unit.is_some() { "unit" } else { "user" };
    checks.value(
        at!["upstreams", index, key],
        format!("the upstream `{}` lets in the same `{key}`, so each of the two servers could serve the other's calls", rival.name),
        "a `user` for each server that dials in, or a `unit` for each of those with one user",
        "give each server a `User=` of its own, or write `unit: NAME.service` beside both, with two names",
    );
}

/// A server that Airlock does not start can only be let in or not: the limits are the unit's.
fn pin(index: usize, config: &Config, checks: &mut Checks<'_>) {
    let Some(upstream) = config.upstreams.get(index) else { return };
    let (pin, default) = (&upstream.pin, Pin::default());
    let limits = [
        ("memory", pin.memory != default.memory, "MemoryMax="),
        ("tasks", pin.tasks != default.tasks, "TasksMax="),
        ("tmp", pin.tmp != default.tmp, "TemporaryFileSystem=/tmp:size="),
        ("file_size", pin.file_size != default.file_size, "LimitFSIZE="),
        ("cpu", pin.cpu != default.cpu, "CPUQuota="),
        ("open_files", pin.open_files != default.open_files, "LimitNOFILE="),
    ];
    for (key, given, unit) in limits {
        if given {
            checks.key(
                at!["upstreams", index, "pin", key],
                format!("`pin.{key}` has no effect here: Airlock does not start this server"),
                "`network` and `sockets` for servers that dial in",
                &format!("remove the key, and write `{unit}` into the unit that starts the server"),
            );
        }
    }
    if pin.network == PinNetwork::Host && pin.sockets.contains(&PinSocket::Journal) {
        checks.key(
            at!["upstreams", index, "pin", "sockets"],
            "this server is not pinned (`pin.network: host`), so it may connect to every socket",
            "`journal` only beside `network: none`",
            "remove the key, or `network: host`",
        );
    }
    let pinned = pin.network == PinNetwork::None && config.kernel.mode != KernelMode::Off;
    if pinned && config.kernel.slice.is_none() && checks.known(at!["kernel", "slice"]) {
        checks.value(
            at!["upstreams", index, "type"],
            "this server is to be pinned (`pin.network: none`, the default), and no slice is",
            "`kernel.slice: airlock-mcp.slice`, and the server's unit in that slice",
            "set `kernel.slice`, or write `pin: {network: host}` to let the server in without a cage",
        );
    }
}

/// A slice's name is its place: `a-b.slice` lies in `a.slice`.
fn slice(config: &Config, checks: &mut Checks<'_>) {
    let Some(name) = &config.kernel.slice else { return };
    let path = at!["kernel", "slice"];
    if super::super::unit_names::slice_dir(name).is_none() {
        checks.value(
            path,
            format!("`{}` is not the name of a slice", name.escape_debug()),
            "the name of a systemd slice, such as `airlock-mcp.slice`",
            "write a name that `systemctl list-units --type=slice` shows",
        );
    } else if config.kernel.mode == KernelMode::Off && checks.known(at!["kernel", "mode"]) {
        checks.key(
            path,
            "a slice is to be pinned, but `kernel.mode` is `off`, so nothing is",
            "`kernel.mode: required` or `preferred` with a slice",
            "remove `slice`, or change `kernel.mode`",
        );
    }
}
