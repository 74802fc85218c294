//! `server`: addresses, URL, origins, sizes, times.

use std::time::SystemTime;

use super::checks::{Checks, Files, at};
use super::net;
use crate::network::Network;
use crate::schema::{ClientAuth, Config, ProxyProtocol};
use crate::tls_files;
use crate::translators::LENGTHS;
use crate::units::ByteSize;
use crate::yaml::tree::PathStep;

pub(super) fn check(config: &Config, checks: &mut Checks<'_>, files: Files) {
    let server = &config.server;
    if server.listen.is_empty() && server.unix_socket.is_none() && checks.known(at!["server", "unix_socket"])
    {
        checks.value(
            at!["server", "listen"],
            "no address to listen on",
            "at least one address and port, or a `unix_socket` beside it",
            "write `[\"127.0.0.1:8080\"]`, or remove the key for the same",
        );
    }
    unix_socket(config, checks);
    public_url(config, checks);
    tls(config, checks, files);
    proxies(config, checks);
    translators(config, checks);
    for (name, count, most) in [
        ("max_connections", server.max_connections, 1_000_000),
        ("max_connections_per_address", server.max_connections_per_address, 1_000_000),
    ] {
        if count == 0 || count > most {
            checks.value(
                at!["server", name],
                format!("`{name}` is {count}"),
                &format!("a number from 1 to {most}"),
                "write how many connections the host can bear",
            );
        }
    }
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
        ("body", times.body),
        ("drain", times.drain),
        ("input", times.input),
    ] {
        checks.not_zero(at!["server", "timeouts", name], name, period);
    }
}

fn unix_socket(config: &Config, checks: &mut Checks<'_>) {
    let server = &config.server;
    let Some(path) = &server.unix_socket else { return };
    // The length that fits into sockaddr_un, with the zero at its end (unix(7)).
    if !path.is_absolute() || path.as_os_str().len() > 107 {
        checks.value(
            at!["server", "unix_socket"],
            format!("`{}` cannot be the path of a unix socket", path.display()),
            "an absolute path of at most 107 bytes",
            "write a path such as `/run/airlock/airlock.sock`",
        );
    }
    if server.unix_socket_mode.0 & 0o600 != 0o600 {
        checks.value(
            at!["server", "unix_socket_mode"],
            format!("with the mode {} not even its owner can connect", server.unix_socket_mode),
            "a mode that lets the owner read and write, such as `0660`",
            "write `0600` for the owner alone, `0660` for the group as well",
        );
    }
}

fn tls(config: &Config, checks: &mut Checks<'_>, files: Files) {
    let Some(tls) = &config.server.tls else { return };
    match (&tls.client_ca_file, tls.client_auth) {
        (None, ClientAuth::Optional | ClientAuth::Required)
            if checks.known(at!["server", "tls", "client_ca_file"]) =>
        {
            checks.value(
                at!["server", "tls", "client_auth"],
                "clients are asked for a certificate, but `client_ca_file` does not say whose signature is believed",
                "`client_ca_file` beside it",
                "add `client_ca_file`, or remove `client_auth`",
            );
            return;
        }
        (Some(_), ClientAuth::None) if checks.known(at!["server", "tls", "client_auth"]) => {
            checks.value(
                at!["server", "tls", "client_ca_file"],
                "authorities of clients are named, but clients are not asked for a certificate",
                "`client_auth: optional` or `client_auth: required` beside it",
                "add `client_auth`, or remove `client_ca_file`",
            );
            return;
        }
        _ => {}
    }
    // A stand-in for a mistake is no file to look for.
    let written = [at!["server", "tls", "cert_file"], at!["server", "tls", "key_file"]];
    if files == Files::Check && written.into_iter().all(|path| checks.known(path)) {
        let judged = tls_files::read(tls).and_then(|files| files.judge(tls, SystemTime::now()));
        if let Err(fault) = judged {
            checks.value(at!["server", "tls", fault.which.key()], fault.message, fault.expected, fault.help);
        }
    }
}

fn proxies(config: &Config, checks: &mut Checks<'_>) {
    let server = &config.server;
    for (index, text) in server.trusted_proxies.iter().enumerate() {
        let path = at!["server", "trusted_proxies", index];
        match text.parse::<Network>() {
            Err(reason) => checks.value(
                path,
                format!("`{}` is not a network: {reason}", text.escape_debug()),
                "an address, a slash and the length of the prefix, such as `192.0.2.0/24` or `2001:db8::/32`",
                "for one address write `/32` (IPv4) or `/128` (IPv6) behind it",
            ),
            Ok(network) if network.is_everybody() => checks.value(
                path,
                format!("`{text}` trusts everybody, so anybody could choose the address that policy and limits see"),
                "the networks of your proxies alone",
                "write their addresses, such as `10.0.0.5/32`",
            ),
            Ok(network) if network.has_host_bits() => checks.value(
                path,
                format!("`{text}` has bits behind its prefix, so it is not clear whether one address is meant or a network"),
                "an address whose bits behind the prefix are zero",
                "for one address write `/32` (IPv4) or `/128` (IPv6) behind it",
            ),
            Ok(_) => {}
        }
    }
    if server.proxy_protocol == ProxyProtocol::Required
        && server.trusted_proxies.is_empty()
        && checks.known(at!["server", "trusted_proxies"])
    {
        checks.value(
            at!["server", "proxy_protocol"],
            "a PROXY header is required of trusted proxies, but there are none",
            "`trusted_proxies` beside it",
            "add the addresses of your proxies as `trusted_proxies`, or remove `proxy_protocol`",
        );
    }
}

fn translators(config: &Config, checks: &mut Checks<'_>) {
    for (index, text) in config.server.nat64_prefixes.iter().enumerate() {
        let fault = match text.parse::<Network>() {
            Err(reason) => reason,
            Ok(network) if network.address().is_ipv4() => "a translator's prefix is one of IPv6",
            Ok(network) if !LENGTHS.contains(&network.prefix()) => {
                "an IPv4 address is embedded behind 32, 40, 48, 56, 64 or 96 bits (RFC 6052)"
            }
            Ok(network) if network.has_host_bits() => "bits are set behind its length",
            Ok(_) => continue,
        };
        checks.value(
            at!["server", "nat64_prefixes", index],
            format!("`{}` is not the prefix of a translator: {fault}", text.escape_debug()),
            "an IPv6 network of 32, 40, 48, 56, 64 or 96 bits, such as `2001:db8:64::/96`",
            "write the prefix that the translator is configured with; `64:ff9b::/96` is known without being written",
        );
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
            } else if server.tls.is_some() && !url.starts_with("https:") {
                checks.value(
                    path,
                    format!(
                        "{} is not `https`, but `server.tls` makes all addresses of this host so",
                        net::shown(url)
                    ),
                    "`https://HOST` or `https://HOST:PORT`",
                    "write `https`, or remove `server.tls`",
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

fn size(checks: &mut Checks<'_>, path: &[PathStep<'_>], name: &str, size: ByteSize, largest: ByteSize) {
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
