//! Names in the configuration that do not fit this host and that `airlock serve` would fail on: programs,
//! files, users, addresses.

use std::fs;
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::checks::{Checks, at};
use super::files::secrets;
use crate::regular::open_file;
use crate::schema::{Config, Upstream, UpstreamKind};
use crate::yaml::tree::{Located, PathStep, brief};

/// The facts of the host that the configuration is held against, besides its files and its ports.
pub struct Host<'a> {
    /// Where a program without a path is looked up, as `PATH` is written.
    pub path: &'a str,
    /// True where there is a user of this name, and where that cannot be said.
    pub has_user: &'a dyn Fn(&str) -> bool,
}

pub(super) fn check(config: &Config, host: &Host<'_>, checks: &mut Checks<'_>) {
    for (index, upstream) in config.upstreams.iter().enumerate() {
        if upstream.kind == UpstreamKind::Stdio {
            program(index, upstream, host, checks);
            paths(index, upstream, checks);
        }
        if let Some(user) = upstream.user.as_deref().filter(|user| !(host.has_user)(user)) {
            checks.value(
                at!["upstreams", index, "user"],
                format!("this host has no user `{}`", brief(user)),
                "a user of this host",
                "create it (`useradd --system NAME`), or write another",
            );
        }
    }
    let directories = [
        (["server", "unix_socket"], config.server.unix_socket.as_deref().and_then(Path::parent)),
        (
            ["observability", "admin_listen"],
            config.observability.admin_listen.socket().and_then(Path::parent),
        ),
        (["audit", "dir"], config.audit.dir.parent()),
    ];
    for (path, directory) in directories {
        let path = path.map(PathStep::from);
        // Defaults are made by the service's unit.
        let is_written = matches!(checks.root.locate(&path), Located::At { whole: true, .. });
        if let Some(directory) = directory.filter(|directory| is_written && !directory.is_dir()) {
            checks.value(
                &path,
                format!("there is no directory `{}`", brief(&directory.to_string_lossy())),
                "a path in a directory that exists",
                "create the directory, or write another path",
            );
        }
    }
    // A relative path names a credential of systemd's, which only the service is given.
    for (at, file) in secrets(config).into_iter().filter(|(_, file)| file.is_absolute()) {
        let Err(error) = open_file(file) else { continue };
        checks.value(
            &at,
            format!("the secret in `{}` cannot be read: {error}", brief(&file.to_string_lossy())),
            "a file that the user who runs Airlock may read",
            "create it, let Airlock read it, or correct the path",
        );
    }
    for (index, address) in config.server.listen.iter().enumerate() {
        port(*address, at!["server", "listen", index], checks);
    }
    if let Some(address) = config.observability.metrics_listen {
        port(address, at!["observability", "metrics_listen"], checks);
    }
}

fn program(index: usize, upstream: &Upstream, host: &Host<'_>, checks: &mut Checks<'_>) {
    let Some(program) = upstream.command.first().filter(|program| !program.is_empty()) else { return };
    let is_program = |path: &Path| {
        fs::metadata(path).is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
    };
    let path = at!["upstreams", index, "command", 0];
    if program.starts_with('/') {
        if !Path::new(program).exists() {
            let message = format!("there is no program `{}` on this host", brief(program));
            checks.value(path, message, "a program of this host", "install it, or correct the path");
        } else if !is_program(Path::new(program)) {
            let message = format!("`{}` cannot be executed", brief(program));
            checks.value(
                path,
                message,
                "a file with the right to execute",
                "make it executable (`chmod +x`)",
            );
        }
    } else if !program.contains('/')
        && !host.path.split(':').any(|dir| is_program(&Path::new(dir).join(program)))
    {
        checks.value(
            path,
            format!("there is no program `{}` in `{}`", brief(program), host.path),
            "a program of this host",
            "install it for all users, or write its whole path",
        );
    }
}

/// The directories and files that the server is given have to be there.
fn paths(index: usize, upstream: &Upstream, checks: &mut Checks<'_>) {
    if let Some(directory) = upstream.working_dir.as_deref().filter(|directory| !directory.is_dir()) {
        checks.value(
            at!["upstreams", index, "working_dir"],
            format!("there is no directory `{}`", brief(&directory.to_string_lossy())),
            "a directory of this host",
            "create the directory, or write another",
        );
    }
    for (key, list) in
        upstream.files.iter().flat_map(|files| [("read", &files.read), ("write", &files.write)])
    {
        for (at, path) in list.iter().enumerate().filter(|(_, path)| path.symlink_metadata().is_err()) {
            checks.value(
                at!["upstreams", index, "files", key, at],
                format!("there is no `{}` on this host", brief(&path.to_string_lossy())),
                "a file or a directory of this host",
                "create it, or correct the path",
            );
        }
    }
}

fn port(address: SocketAddr, path: &[PathStep<'_>], checks: &mut Checks<'_>) {
    let Err(error) = TcpListener::bind(address) else { return };
    let (message, help) = match error.kind() {
        ErrorKind::AddrInUse => (
            format!("something listens on {address} already"),
            "end it, unless it is Airlock itself, or write another port",
        ),
        ErrorKind::AddrNotAvailable => (
            format!("no interface of this host has the address {}", address.ip()),
            "write an address of this host",
        ),
        // A service may get its sockets, or the right to open them, from systemd.
        _ => return,
    };
    checks.value(path, message, "an address that is free", help);
}
