//! `upstreams`: names, and keys that fit the type.

use std::collections::BTreeMap;
use std::path::Path;

use super::checks::{Checks, at};
use super::{credential, net};
use crate::schema::{Config, EraChoice, Framing, Isolation, Pin, PinNetwork, Upstream, UpstreamKind};
use crate::units::ByteSize;

/// Longest name of an upstream in bytes.
const MAX_NAME: usize = 32;
/// Below this nothing that is linked to libraries starts.
const LEAST_OPEN_FILES: u32 = 16;
/// Less memory than this does not even start a process.
const LEAST_MEMORY: ByteSize = ByteSize::kib(1024);
/// In less than this no file system has room for anything.
const LEAST_TMP: ByteSize = ByteSize::kib(64);
/// Programs write logs and caches of this length before they do anything else.
const LEAST_FILE: ByteSize = ByteSize::kib(64);

pub(super) fn check(config: &Config, checks: &mut Checks<'_>) {
    let mut names: BTreeMap<&str, usize> = BTreeMap::new();
    for (index, upstream) in config.upstreams.iter().enumerate() {
        let path = at!["upstreams", index, "name"];
        if checks.known(path) {
            name(index, &upstream.name, checks);
            if let Some(first) = names.get(upstream.name.as_str()) {
                let first = checks.whereabouts(at!["upstreams", *first, "name"]);
                checks.value(
                    path,
                    format!("the name `{}` is given twice; first on {first}", upstream.name.escape_debug()),
                    "each name once",
                    "give this upstream another name",
                );
            } else {
                names.insert(&upstream.name, index);
            }
        }
        if checks.known(at!["upstreams", index, "type"]) {
            keys_of_type(index, upstream, checks);
        }
        process(index, upstream, checks);
        sharing(index, upstream, checks);
        credential::check(index, upstream, checks);
        if let Some(timeout) = upstream.timeout {
            checks.not_zero(at!["upstreams", index, "timeout"], "timeout", timeout);
        }
        timeout_total(index, upstream, config, checks);
    }
}

/// A call without progress has `timeout`; with progress it cannot have less.
fn timeout_total(index: usize, upstream: &Upstream, config: &Config, checks: &mut Checks<'_>) {
    let Some(total) = upstream.timeout_total else { return };
    let timeout = upstream.timeout(config.server.timeouts.upstream);
    if total.0 < timeout.0 {
        checks.value(
            at!["upstreams", index, "timeout_total"],
            format!(
                "`timeout_total` ({total}) is less than the deadline of a call without progress ({timeout})"
            ),
            "at least as much as `timeout`, or `server.timeouts.upstream` where that is absent",
            "write a longer time here, or a shorter `timeout`",
        );
    }
}

/// A name is a path segment and, before `__`, the prefix of its tools.
fn name(index: usize, name: &str, checks: &mut Checks<'_>) {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    let reason = if name.is_empty() {
        "is empty"
    } else if name.contains("__") {
        "holds `__`, which separates the name of an upstream from the name of a tool"
    } else if name.len() > MAX_NAME {
        "is too long"
    } else if !name.bytes().all(allowed) {
        "holds a character that a name may not have"
    } else if name.starts_with('-') || name.ends_with('-') {
        "begins or ends with `-`"
    } else {
        return;
    };
    checks.value(
        at!["upstreams", index, "name"],
        format!("the name `{}` {reason}", crate::yaml::tree::brief(name)),
        "1 to 32 of `a` to `z`, `0` to `9` and `-`, not beginning or ending with `-`",
        "write a short name, such as `docs`",
    );
}

/// Each type has its own keys, needs one of them and refuses those of the others.
fn keys_of_type(index: usize, upstream: &Upstream, checks: &mut Checks<'_>) {
    let (own, needed, given) = match upstream.kind {
        UpstreamKind::Stdio => ("stdio", "command", !upstream.command.is_empty()),
        UpstreamKind::Unix => ("unix", "socket", upstream.socket.is_some()),
        UpstreamKind::Http => ("http", "url", upstream.url.is_some()),
        UpstreamKind::DialIn => ("dial_in", "user", upstream.user.is_some()),
    };
    if !given && checks.known(at!["upstreams", index, needed]) {
        let path = at!["upstreams", index, needed];
        let message = format!("an upstream of the type `{own}` needs `{needed}`");
        let example = match upstream.kind {
            UpstreamKind::Stdio => "`command: [PROGRAM, ARGUMENT, …]`",
            UpstreamKind::Unix => "`socket: /PATH`",
            UpstreamKind::Http => "`url: https://…`",
            UpstreamKind::DialIn => "`user: NAME`, the user whose processes may dial in",
        };
        checks.value(path, message, example, &format!("add `{needed}`, or change the type"));
    }
    let foreign = [
        ("command", &["stdio"][..], !upstream.command.is_empty()),
        ("env", &["stdio"], !upstream.env.is_empty()),
        ("env_from", &["stdio"], !upstream.env_from.is_empty()),
        ("working_dir", &["stdio"], upstream.working_dir.is_some()),
        ("files", &["stdio"], upstream.files.is_some()),
        ("user", &["stdio", "dial_in"], upstream.user.is_some()),
        ("unit", &["dial_in"], upstream.unit.is_some()),
        ("yield_after", &["dial_in"], upstream.yield_after.is_some()),
        ("socket", &["unix", "dial_in"], upstream.socket.is_some()),
        ("framing", &["unix"], upstream.framing != Framing::Auto),
        ("url", &["http"], upstream.url.is_some()),
    ];
    for (key, belongs, given) in foreign {
        if given && !belongs.contains(&own) {
            let types: Vec<String> = belongs.iter().map(|kind| format!("`{kind}`")).collect();
            let types = types.join(" and ");
            checks.key(
                at!["upstreams", index, key],
                format!(
                    "`{key}` belongs to upstreams of the type {types}, and this one is of the type `{own}`"
                ),
                &format!("only keys of the type `{own}`"),
                "remove the key, or change the type",
            );
        }
    }
    if upstream.kind == UpstreamKind::Stdio && upstream.pin.network == PinNetwork::Host {
        checks.value(
            at!["upstreams", index, "pin", "network"],
            "a server that Airlock starts is given no network",
            "`none`, the default, for upstreams of the type `stdio`",
            "remove the key, or start the server by a unit of its own and write `type: dial_in`",
        );
    }
    match upstream.kind {
        UpstreamKind::Stdio if !upstream.pin.sockets.is_empty() => checks.key(
            at!["upstreams", index, "pin", "sockets"],
            "Airlock speaks to this server over its standard input and output, so it needs no socket",
            "`pin.sockets` only for upstreams of the type `dial_in`",
            "remove the key, or start the server by a unit of its own and write `type: dial_in`",
        ),
        UpstreamKind::Unix | UpstreamKind::Http => nothing_to_pin(index, &upstream.pin, checks),
        UpstreamKind::Stdio | UpstreamKind::DialIn => {}
    }
    if upstream.socket.as_ref().is_some_and(|socket| !socket.is_absolute()) {
        let path = at!["upstreams", index, "socket"];
        checks.value(path, "the path of the socket is relative", "an absolute path", "write the whole path");
    }
    if let Some(url) = &upstream.url
        && let Err(reason) = net::check_url(url)
    {
        checks.value(
            at!["upstreams", index, "url"],
            format!("{} cannot be the URL of a server: {reason}", net::shown(url)),
            "an `https` URL, or an `http` URL to loopback",
            "write the URL of its MCP endpoint",
        );
    }
}

/// Airlock confines the processes that it starts. Whoever writes a limit for another server must not believe
/// in it.
fn nothing_to_pin(index: usize, pin: &Pin, checks: &mut Checks<'_>) {
    let default = Pin::default();
    let keys = [
        ("network", pin.network != default.network),
        ("memory", pin.memory != default.memory),
        ("tasks", pin.tasks != default.tasks),
        ("tmp", pin.tmp != default.tmp),
        ("file_size", pin.file_size != default.file_size),
        ("cpu", pin.cpu != default.cpu),
        ("open_files", pin.open_files != default.open_files),
        ("sockets", pin.sockets != default.sockets),
    ];
    for (key, given) in keys {
        if given {
            checks.key(
                at!["upstreams", index, "pin", key],
                format!("`pin.{key}` has no effect here: Airlock does not start this server, so there is nothing to pin"),
                "`pin` only for upstreams of the type `stdio`",
                "remove the key, and confine the server where it is started",
            );
        }
    }
}

/// The command and the environment of a process.
fn process(index: usize, upstream: &Upstream, checks: &mut Checks<'_>) {
    if let Some(program) = upstream.command.first() {
        let path = at!["upstreams", index, "command", 0];
        if program.is_empty() {
            checks.value(path, "the program has no name", "a program", "write the program first");
        } else if program.contains('/') && !Path::new(program).is_absolute() {
            checks.value(
                path,
                format!("`{}` is neither absolute nor a bare name", program.escape_debug()),
                "an absolute path, or a name that is looked up in `/usr/local/bin:/usr/bin:/bin`",
                "write the whole path of the program",
            );
        }
    }
    for (place, argument) in upstream.command.iter().enumerate() {
        if argument.contains('\0') {
            let path = at!["upstreams", index, "command", place];
            checks.value(path, "an argument holds a NUL character", "text without NUL", "remove `\\0`");
        }
    }
    for (key, value) in &upstream.env {
        let path = at!["upstreams", index, "env", key.as_str()];
        if key.is_empty() || key.contains(['=', '\0']) {
            let expected = "a name without `=` and NUL";
            checks.key(path, "this cannot be the name of a variable", expected, "write `NAME: value`");
        } else if value.contains('\0') {
            let message = format!("the value of `{}` holds a NUL character", key.escape_debug());
            checks.key(path, message, "text without NUL", "remove `\\0` from the value");
        }
    }
    if upstream.user.as_ref().is_some_and(|user| user.trim().is_empty() || user.contains(['\0', ':', '/'])) {
        let path = at!["upstreams", index, "user"];
        checks.value(
            path,
            "this is not the name of a user",
            "the name of a user",
            "write it or remove the key",
        );
    }
    if let Some(files) = &upstream.files {
        for (key, paths) in [("read", &files.read), ("write", &files.write)] {
            for (place, path) in paths.iter().enumerate() {
                if !path.is_absolute() {
                    let at = at!["upstreams", index, "files", key, place];
                    checks.value(at, "this path is relative", "an absolute path", "write the whole path");
                }
            }
        }
    }
    if upstream.working_dir.as_ref().is_some_and(|dir| !dir.is_absolute()) {
        let path = at!["upstreams", index, "working_dir"];
        checks.value(path, "the working directory is relative", "an absolute path", "write the whole path");
    }
    if upstream.kind != UpstreamKind::Stdio {
        return;
    }
    if upstream.pin.tasks == Some(0) {
        let path = at!["upstreams", index, "pin", "tasks"];
        checks.value(path, "no process could be started", "at least 1", "write a number, such as `64`");
    }
    if upstream.pin.open_files.is_some_and(|most| most < LEAST_OPEN_FILES) {
        let path = at!["upstreams", index, "pin", "open_files"];
        let message = "no program runs with so few descriptors";
        checks.value(
            path,
            message,
            &format!("at least {LEAST_OPEN_FILES}"),
            "write a number, such as `1024`",
        );
    }
    if upstream.pin.tmp < LEAST_TMP {
        let path = at!["upstreams", index, "pin", "tmp"];
        let message = format!("no program can keep its temporary files in {}", upstream.pin.tmp);
        checks.value(path, message, "at least `64KiB`", "write a size, such as `64MiB`");
    }
    if let Some(size) = upstream.pin.file_size.filter(|size| *size < LEAST_FILE) {
        let path = at!["upstreams", index, "pin", "file_size"];
        let message = format!("no program gets on with files of {size}");
        checks.value(
            path,
            message,
            "at least `64KiB`",
            "write a size, such as `1GiB`, or `null` for no limit",
        );
    }
    if let Some(memory) = upstream.pin.memory.filter(|memory| *memory < LEAST_MEMORY) {
        let path = at!["upstreams", index, "pin", "memory"];
        let message = format!("no process can run in {memory}");
        checks.value(path, message, "at least `1MiB`", "write a size, such as `512MiB`");
    }
}

/// A server with sessions knows only one client, so it cannot serve several.
fn sharing(index: usize, upstream: &Upstream, checks: &mut Checks<'_>) {
    if upstream.isolation == Some(Isolation::Shared)
        && upstream.era == EraChoice::Legacy
        && checks.known(at!["upstreams", index, "era"])
    {
        checks.value(
            at!["upstreams", index, "isolation"],
            "a server of the legacy era belongs to one session and cannot be shared",
            "`session`, or `shared` with `era: modern` or `era: auto`",
            "write `isolation: session`, or remove the key",
        );
    }
}
