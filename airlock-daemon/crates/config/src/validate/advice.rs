//! Advice on values that are no mistake of the file but have been one most times that they were written: told
//! by `airlock check`, never refused.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::checks::{Checks, at};
use crate::schema::{Config, PinNetwork, Upstream, UpstreamKind};
use crate::yaml::tree::{PathStep, brief};

/// Programs that fetch what they run.
const FETCHERS: [(&str, &str); 6] = [
    ("npx", "install the package (`npm install -g PACKAGE`) and write the program that it brings"),
    ("bunx", "install the package (`bun add -g PACKAGE`) and write the program that it brings"),
    ("pnpx", "install the package (`pnpm add -g PACKAGE`) and write the program that it brings"),
    ("uvx", "install the package (`uv tool install PACKAGE`) and write the program that it brings"),
    ("pipx", "install the package (`pipx install PACKAGE`) and write the program that it brings"),
    (
        "docker",
        "write the server's own program, or start the container by a unit and let it dial in (`type: dial_in`)",
    ),
];
/// Directories that every server may read and execute, whatever `files` says.
const ALWAYS: [&str; 12] =
    ["/bin", "/dev", "/etc", "/lib", "/lib32", "/lib64", "/libx32", "/opt", "/proc", "/sbin", "/tmp", "/usr"];

pub(super) fn check(config: &Config, checks: &mut Checks<'_>) {
    for (index, upstream) in config.upstreams.iter().enumerate() {
        texts(index, upstream, checks);
        if upstream.kind == UpstreamKind::Stdio {
            fetcher(index, upstream, checks);
            outside(index, upstream, checks);
        }
    }
    issuers(config, checks);
    listeners(config, checks);
}

/// Nothing here is expanded as a shell would.
fn texts(index: usize, upstream: &Upstream, checks: &mut Checks<'_>) {
    let mut found: Vec<Vec<PathStep<'_>>> = Vec::new();
    let mut look = |steps, text: &str| {
        let home = text == "~" || text.starts_with("~/") || text.contains("=~/");
        if home || text.contains("${") || text.contains("$HOME") {
            found.push(steps);
        }
    };
    let base = || vec![PathStep::from("upstreams"), PathStep::from(index)];
    for (at, argument) in upstream.command.iter().enumerate() {
        look([base(), vec!["command".into(), at.into()]].concat(), argument);
    }
    for (name, value) in &upstream.env {
        look([base(), vec!["env".into(), name.as_str().into()]].concat(), value);
    }
    let paths = [("working_dir", &upstream.working_dir), ("socket", &upstream.socket)];
    for (key, path) in paths.into_iter().filter_map(|(key, path)| Some((key, path.as_ref()?))) {
        look([base(), vec![key.into()]].concat(), &path.to_string_lossy());
    }
    for (key, list) in
        upstream.files.iter().flat_map(|files| [("read", &files.read), ("write", &files.write)])
    {
        for (at, path) in list.iter().enumerate() {
            look([base(), vec!["files".into(), key.into(), at.into()]].concat(), &path.to_string_lossy());
        }
    }
    for path in found {
        checks.value(
            &path,
            "`~` and `${…}` are passed on as they are written: no shell reads this",
            "the value itself",
            "write the whole path; for a secret, `env_from: {NAME: FILE}`",
        );
    }
}

fn fetcher(index: usize, upstream: &Upstream, checks: &mut Checks<'_>) {
    let Some(program) = upstream.command.first() else { return };
    let name = Path::new(program).file_name().map(|name| name.to_string_lossy().into_owned());
    let found = FETCHERS.iter().find(|(fetcher, _)| name.as_deref() == Some(fetcher));
    if let Some((fetcher, remedy)) = found
        && upstream.pin.network == PinNetwork::None
    {
        checks.value(
            at!["upstreams", index, "command", 0],
            format!("`{fetcher}` needs the network to start anything, and a caged server has none"),
            "a program that is installed",
            remedy,
        );
    }
}

/// An argument that names a file which the server does not see.
fn outside(index: usize, upstream: &Upstream, checks: &mut Checks<'_>) {
    let Some(files) = &upstream.files else { return };
    let seen = |path: &Path| {
        let given = files.read.iter().chain(&files.write).map(PathBuf::as_path);
        let always = ALWAYS.iter().map(Path::new);
        given.chain(always).chain(upstream.working_dir.as_deref()).any(|root| path.starts_with(root))
    };
    for (at, argument) in upstream.command.iter().enumerate() {
        let path = argument.split_once('=').map_or(argument.as_str(), |(_, value)| value);
        if path.starts_with('/') && path.len() > 1 && !path.starts_with("//") && !seen(Path::new(path)) {
            checks.value(
                at!["upstreams", index, "command", at],
                format!("the server does not see `{}`: it is outside of its `files`", brief(path)),
                "a path below one of `files.read` and `files.write`",
                "add the path, or a directory above it, to `files`",
            );
        }
    }
}

fn issuers(config: &Config, checks: &mut Checks<'_>) {
    let merged =
        config.server.public_url.as_deref().map(|base| format!("{}/mcp", base.trim_end_matches('/')));
    for (index, issuer) in config.auth.issuers.iter().enumerate() {
        if let Some((before, _)) = issuer.issuer.split_once("/.well-known/") {
            checks.value(
                at!["auth", "issuers", index, "issuer"],
                "this is the address of the provider's metadata, and not the issuer that stands in its tokens",
                "the value of `issuer` in that document",
                &format!("write `{}`, as it stands there", brief(before)),
            );
        }
        let is_ours = |merged: &str, audience: &String| {
            audience.strip_prefix(merged).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        if let Some(merged) = &merged
            && !issuer.audience.iter().any(|audience| is_ours(merged, audience))
        {
            checks.value(
                at!["auth", "issuers", index, "audience"],
                format!(
                    "no `audience` of {} is `{merged}`, for which clients ask (RFC 8707)",
                    brief(&issuer.issuer)
                ),
                "",
                "add it, unless this provider puts something else into `aud` whatever it is asked for",
            );
        }
    }
}

/// Two own listeners in one place: the second does not start.
fn listeners(config: &Config, checks: &mut Checks<'_>) {
    let mut all: Vec<(Vec<PathStep<'_>>, String)> = Vec::new();
    for (index, address) in config.server.listen.iter().enumerate() {
        all.push((vec!["server".into(), "listen".into(), index.into()], address.to_string()));
    }
    if let Some(address) = config.observability.metrics_listen {
        all.push((vec!["observability".into(), "metrics_listen".into()], address.to_string()));
    }
    if let Some(issuer) = &config.auth.development_issuer {
        let path = vec!["auth".into(), "development_issuer".into(), "listen".into()];
        all.push((path, issuer.listen.to_string()));
    }
    for (path, socket) in [
        (["server", "unix_socket"], config.server.unix_socket.as_deref()),
        (["observability", "admin_listen"], config.observability.admin_listen.socket()),
    ] {
        if let Some(socket) = socket {
            all.push((path.map(PathStep::from).to_vec(), socket.display().to_string()));
        }
    }
    for (index, upstream) in config.upstreams.iter().enumerate() {
        if upstream.kind == UpstreamKind::DialIn {
            let path = vec!["upstreams".into(), index.into(), "socket".into()];
            all.push((path, upstream.dial_in_socket().display().to_string()));
        }
    }
    let mut seen: BTreeMap<String, Vec<PathStep<'_>>> = BTreeMap::new();
    for (path, place) in all {
        // The kernel chooses another one each time.
        if place.ends_with(":0") {
            continue;
        }
        if let Some(first) = seen.get(&place) {
            let first = checks.whereabouts(first);
            let message = format!("`{}` is listened on twice; first on {first}", brief(&place));
            checks.value(
                &path,
                message,
                "a place of its own for each listener",
                "write another address or path",
            );
        } else {
            seen.insert(place, path);
        }
    }
}
