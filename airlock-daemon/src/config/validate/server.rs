//! `server`: addresses, URL, origins, sizes, times.

use super::{Checks, at, net};
use crate::config::schema::Config;
use crate::config::tree::Step;
use crate::config::units::ByteSize;

pub(super) fn check(config: &Config, checks: &mut Checks<'_>) {
    let server = &config.server;
    if server.listen.is_empty() {
        checks.value(
            at!["server", "listen"],
            "no address to listen on",
            "at least one address and port",
            "write `[\"127.0.0.1:8080\"]`, or remove the key for the same",
        );
    }
    public_url(config, checks);
    for (index, origin) in server.allowed_origins.iter().enumerate() {
        if let Err(reason) = net::check_origin(origin) {
            checks.value(
                at!["server", "allowed_origins", index],
                format!("{} is not an origin: {reason}", net::shown(origin)),
                "scheme, host and port as browsers send them, such as `https://app.example.com`",
                "write the origin without path and without a slash at its end",
            );
        }
    }
    let request = at!["server", "max_request_bytes"];
    size(checks, request, "max_request_bytes", server.max_request_bytes, ByteSize::kib(64 << 10));
    let response = at!["server", "max_response_bytes"];
    size(checks, response, "max_response_bytes", server.max_response_bytes, ByteSize::kib(1 << 20));
    let times = &server.timeouts;
    for (name, period) in [
        ("connect", times.connect),
        ("upstream", times.upstream),
        ("idle", times.idle),
        ("header", times.header),
        ("drain", times.drain),
        ("input", times.input),
    ] {
        checks.not_zero(at!["server", "timeouts", name], name, period);
    }
}

fn public_url(config: &Config, checks: &mut Checks<'_>) {
    let server = &config.server;
    let path = at!["server", "public_url"];
    match &server.public_url {
        Some(url) => {
            if let Err(reason) = net::check_bare_url(url) {
                checks.value(
                    path,
                    format!("{} cannot be the public URL: {reason}", net::shown(url)),
                    "`https://HOST` or `https://HOST:PORT` without a path (`http` to loopback only)",
                    "write the URL under which clients reach this host, without a slash at its end",
                );
            }
        }
        None if checks.known(path) => {
            if let Some(index) = server.listen.iter().position(|address| !net::is_loopback(address.ip())) {
                checks.value(
                    at!["server", "listen", index],
                    format!("`{}` is not loopback, but `server.public_url` is missing", server.listen[index]),
                    "`server.public_url` beside an address that others can reach",
                    "add `public_url: https://…`, by which clients find out where tokens come from",
                );
            }
        }
        None => {}
    }
}

fn size(checks: &mut Checks<'_>, path: &[Step<'_>], name: &str, size: ByteSize, largest: ByteSize) {
    let smallest = ByteSize::kib(1);
    if size < smallest || size > largest {
        checks.value(
            path,
            format!("`{name}` is {size}"),
            &format!("a size from {smallest} to {largest}"),
            "write a size between these, such as `256KiB`",
        );
    }
}
