//! `upstreams[].credential` and `env_from`: one kind, complete, and for a server that it can be presented to.

use std::path::Path;

use super::checks::{Checks, at};
use super::net;
use crate::schema::{Credential, Framing, Isolation, TokenClient, Upstream, UpstreamKind};
use crate::yaml::tree::PathStep;

/// Headers that are HTTP's or Airlock's own.
const TAKEN: [&str; 12] = [
    "host",
    "connection",
    "content-length",
    "content-type",
    "transfer-encoding",
    "te",
    "trailer",
    "upgrade",
    "accept",
    "user-agent",
    "last-event-id",
    "cookie",
];

pub(super) fn check(index: usize, upstream: &Upstream, checks: &mut Checks<'_>) {
    for (name, file) in &upstream.env_from {
        let path = at!["upstreams", index, "env_from", name.as_str()];
        if name.is_empty() || name.contains(['=', '\0']) {
            let expected = "a name without `=` and NUL";
            checks.key(path, "this cannot be the name of a variable", expected, "write `NAME: FILE`");
        } else if upstream.env.contains_key(name) {
            let message = format!("`{}` stands in `env` as well", name.escape_debug());
            checks.key(path, message, "each variable once", "remove one of the two");
        }
        secret(path, file, checks);
    }
    let Some(credential) = &upstream.credential else { return };
    let whole = at!["upstreams", index, "credential"];
    let speaks_http = match upstream.kind {
        UpstreamKind::Http => true,
        UpstreamKind::Unix => upstream.framing == Framing::Http,
        UpstreamKind::Stdio | UpstreamKind::DialIn => false,
    };
    if !speaks_http {
        checks.key(
            whole,
            "this server is not spoken to over HTTP, so nothing can be presented to it",
            "`credential` only with `type: http`, or `type: unix` and `framing: http`",
            "remove the key; a program that Airlock starts can be given secrets by `env_from`",
        );
        return;
    }
    kinds(index, credential, checks);
    if credential.token_exchange.is_some()
        && matches!(upstream.isolation, Some(Isolation::Shared | Isolation::Tenant))
    {
        checks.value(
            at!["upstreams", index, "isolation"],
            "with `token_exchange` each principal is another to the server, so none can share a session with others",
            "`subject` or `session`",
            "write `isolation: subject`, or remove the key",
        );
    }
}

fn kinds(index: usize, credential: &Credential, checks: &mut Checks<'_>) {
    let whole = at!["upstreams", index, "credential"];
    let given = [
        credential.bearer_file.is_some(),
        credential.header.is_some(),
        credential.client_credentials.is_some(),
        credential.token_exchange.is_some(),
    ];
    let names = "`bearer_file`, `header`, `client_credentials` or `token_exchange`";
    // A key that could not be read was reported, and may be the one.
    if given.iter().filter(|given| **given).count() != 1 && checks.known(whole) {
        let complete = ["bearer_file", "header", "client_credentials", "token_exchange"]
            .iter()
            .all(|key| checks.known(at!["upstreams", index, "credential", *key]));
        if complete {
            checks.key(whole, "a credential is one thing", &format!("one of {names}"), "keep one of them");
        }
    }
    if let Some(file) = &credential.bearer_file {
        secret(at!["upstreams", index, "credential", "bearer_file"], file, checks);
    }
    if let Some(header) = &credential.header {
        secret(at!["upstreams", index, "credential", "header", "value_file"], &header.value_file, checks);
        let lower = header.name.to_ascii_lowercase();
        let valid = header.name.parse::<http::HeaderName>().is_ok();
        if !valid || TAKEN.contains(&lower.as_str()) || lower.starts_with("mcp-") {
            checks.value(
                at!["upstreams", index, "credential", "header", "name"],
                format!("`{}` cannot be the header of a credential", crate::yaml::tree::brief(&header.name)),
                "the name of a header that neither HTTP nor MCP uses",
                "write a name such as `X-Api-Key`",
            );
        }
    }
    for (kind, client) in [
        ("client_credentials", &credential.client_credentials),
        ("token_exchange", &credential.token_exchange),
    ] {
        if let Some(client) = client {
            token_client(index, kind, client, checks);
        }
    }
}

fn token_client(index: usize, kind: &str, client: &TokenClient, checks: &mut Checks<'_>) {
    let at =
        |key| [PathStep::from("upstreams"), index.into(), "credential".into(), PathStep::from(kind), key];
    if let Err(reason) = net::check_url(&client.token_endpoint) {
        checks.value(
            &at("token_endpoint".into()),
            format!("{} cannot be a token endpoint: {reason}", net::shown(&client.token_endpoint)),
            "an `https` URL, or an `http` URL to loopback",
            "write the `token_endpoint` of the identity provider's metadata",
        );
    }
    if client.client_id.is_empty() {
        let path = at("client_id".into());
        checks.value(&path, "the client has no name", "the client's name at the provider", "write it");
    }
    secret(&at("client_secret_file".into()), &client.client_secret_file, checks);
    if client.scopes.iter().any(|scope| scope.is_empty() || scope.contains(|c: char| !c.is_ascii_graphic())) {
        checks.value(
            &at("scopes".into()),
            "a scope is text without spaces",
            "a list of scopes",
            "write one scope an entry",
        );
    }
}

/// A path, or the name of a systemd credential. The secret itself is looked for when it is needed: it may
/// come later.
pub(super) fn secret(path: &[PathStep<'_>], file: &Path, checks: &mut Checks<'_>) {
    let text = file.to_string_lossy();
    let name = !text.is_empty() && !text.contains('/') && text != "." && text != "..";
    if !file.is_absolute() && !name {
        checks.value(
            path,
            format!(
                "`{}` is neither an absolute path nor the name of a systemd credential",
                text.escape_debug()
            ),
            "an absolute path, or a name without `/`",
            "write the whole path, or the name that `LoadCredential=` gives the secret",
        );
    }
}
