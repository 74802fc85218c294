//! `auth`: there is somebody whose tokens are believed, and nobody else can stand in for them.

use std::time::Duration;

use super::checks::{Checks, at};
use super::net;
use crate::schema::{Config, DevelopmentIssuer, Issuer};

/// Greatest tolerance for clocks that differ.
const MAX_SKEW: Duration = Duration::from_mins(5);

/// The reason of a refusal by a build without the development issuer.
pub const NO_DEVELOPMENT_ISSUER: &str =
    "this build has no development issuer: a release cannot give tokens to whoever asks";

/// `has_issuer` tells whether this build has the development issuer.
pub(super) fn check(config: &Config, checks: &mut Checks<'_>, has_issuer: bool) {
    let auth = &config.auth;
    if auth.issuers.is_empty()
        && auth.development_issuer.is_none()
        && checks.known(at!["auth", "issuers"])
        && checks.known(at!["auth", "development_issuer"])
    {
        checks.value(
            at!["auth", "issuers"],
            "no identity provider is trusted, so nobody could be let in",
            "at least one entry below `auth.issuers`",
            if has_issuer {
                "add `- {issuer: https://…, audience: [https://…]}`, or on a developer's machine \
                 `development_issuer: {listen: \"127.0.0.1:8090\"}`"
            } else {
                "add `- {issuer: https://…, audience: [https://…]}`"
            },
        );
    }
    for (index, issuer) in auth.issuers.iter().enumerate() {
        one(index, issuer, checks);
        endpoints(index, issuer, config, checks);
        if let Some(first) = auth.issuers.iter().take(index).position(|other| other.issuer == issuer.issuer) {
            let first = checks.whereabouts(at!["auth", "issuers", first, "issuer"]);
            checks.value(
                at!["auth", "issuers", index, "issuer"],
                format!("{} is given twice; first on {first}", net::shown(&issuer.issuer)),
                "each issuer once",
                "put all its audiences into one entry",
            );
        }
    }
    for (index, group) in auth.required_groups.iter().enumerate() {
        if group.trim().is_empty() {
            let path = at!["auth", "required_groups", index];
            checks.value(
                path,
                "an empty name of a group",
                "the name of a group",
                "write the name or remove it",
            );
        }
    }
    for (index, scope) in auth.required_scopes.iter().enumerate() {
        // RFC 6749 section 3.3; nothing that could end the quoted string of a challenge.
        let legal = |c: char| matches!(c, '!' | '#'..='[' | ']'..='~');
        if scope.is_empty() || !scope.chars().all(legal) {
            checks.value(
                at!["auth", "required_scopes", index],
                "not the name of a scope",
                "one scope, of visible ASCII characters without space, `\"` and `\\`",
                "write each scope as an entry of its own",
            );
        }
    }
    match &auth.development_issuer {
        Some(_) if !has_issuer => checks.key(
            at!["auth", "development_issuer"],
            NO_DEVELOPMENT_ISSUER,
            "an identity provider in `auth.issuers`",
            "remove the key and name a provider in `auth.issuers`, or on a developer's machine take a debug \
             build, which `cargo xtask build` makes",
        ),
        Some(development) => development_issuer(config, development, checks),
        None => {}
    }
}

fn one(index: usize, issuer: &Issuer, checks: &mut Checks<'_>) {
    if let Err(reason) = net::check_url(&issuer.issuer) {
        checks.value(
            at!["auth", "issuers", index, "issuer"],
            format!("{} cannot be an issuer: {reason}", net::shown(&issuer.issuer)),
            "an `https` URL, or an `http` URL to loopback",
            "write the issuer exactly as it stands in `iss` of its tokens",
        );
    }
    if issuer.audience.is_empty() {
        checks.value(
            at!["auth", "issuers", index, "audience"],
            "no audience, so tokens made for any other service would have to be accepted",
            "at least one value of `aud`",
            "write the identifier under which this host is registered at the identity provider",
        );
    }
    for (place, audience) in issuer.audience.iter().enumerate() {
        if audience.trim().is_empty() {
            let path = at!["auth", "issuers", index, "audience", place];
            checks.value(path, "an empty audience", "a value of `aud`", "write the value or remove it");
        }
    }
    checks.not_zero(at!["auth", "issuers", index, "jwks_cache_ttl"], "jwks_cache_ttl", issuer.jwks_cache_ttl);
    if issuer.clock_skew.0 > MAX_SKEW {
        checks.value(
            at!["auth", "issuers", index, "clock_skew"],
            format!("the tolerance of {} would keep expired tokens alive", issuer.clock_skew),
            "at most `5m`",
            "write `2m`, the default, and set the clocks by NTP",
        );
    }
    if issuer.algorithms.is_empty() {
        checks.value(
            at!["auth", "issuers", index, "algorithms"],
            "no algorithm, so no token could be verified",
            "at least one of `RS256`, `RS384`, `RS512`, `PS256`, `PS384`, `PS512`, `ES256`, `ES384`, `EdDSA`",
            "name those that the identity provider signs with, or remove the key for `RS256`, `ES256` and `EdDSA`",
        );
    }
    for (name, claim) in [("tenant", &issuer.claims.tenant), ("groups", &issuer.claims.groups)] {
        if claim.as_ref().is_some_and(|claim| claim.trim().is_empty()) {
            let path = at!["auth", "issuers", index, "claims", name];
            checks.value(
                path,
                "an empty name of a claim",
                "the name of a claim",
                "write it or remove the key",
            );
        } else if claim.as_ref().is_some_and(|claim| !is_path(claim)) {
            let path = at!["auth", "issuers", index, "claims", name];
            checks.value(
                path,
                "a path with an empty part",
                "the name of a claim, or a path such as `realm_access.roles`",
                "remove the dot that has nothing before or behind it",
            );
        }
    }
}

/// A name with dots may be a path. That of a URL is none, and may have dots anywhere.
fn is_path(claim: &str) -> bool {
    claim.contains("://") || claim.split('.').all(|part| !part.is_empty())
}

/// An audience that is the URL of one upstream's endpoint admits tokens there alone, so there must be such an
/// upstream.
fn endpoints(index: usize, issuer: &Issuer, config: &Config, checks: &mut Checks<'_>) {
    for (place, audience) in issuer.audience.iter().enumerate() {
        let Ok(url) = audience.parse::<http::Uri>() else { continue };
        let named = url.path().strip_prefix("/mcp/").is_some_and(|name| !name.is_empty());
        if !named || !is_this_host(&url, config) {
            continue;
        }
        let base = config.server.public_url.as_deref().unwrap_or_default();
        if base.is_empty() || !audience.starts_with(&format!("{base}/mcp/")) {
            checks.value(
                at!["auth", "issuers", index, "audience", place],
                format!(
                    "{} looks like the endpoint of one upstream here, but does not begin as `server.public_url` does, so its tokens would be good at all of them",
                    net::shown(audience)
                ),
                "the endpoint's URL as its metadata gives it in `resource`",
                "write `server.public_url` and the audience with the same scheme, host and port, letter by letter",
            );
        }
    }
    let Some(base) = &config.server.public_url else { return };
    for (place, audience) in issuer.audience.iter().enumerate() {
        let below = audience.strip_prefix(base.as_str()).and_then(|rest| rest.strip_prefix("/mcp/"));
        let Some(name) = below else { continue };
        if !config.upstreams.iter().any(|upstream| upstream.name == name) {
            checks.value(
                at!["auth", "issuers", index, "audience", place],
                format!(
                    "{} is below this host's endpoint `/mcp`, but no upstream is called so",
                    net::shown(audience)
                ),
                "the URL of the merged endpoint, of an upstream's endpoint, or a name of your own",
                "write the URL as the endpoint's metadata gives it in `resource`, without a slash at its end",
            );
        }
    }
}

/// True where a URL with `/mcp/…` in it can only mean this host: by its name, however that is spelled, or
/// since this host has none.
fn is_this_host(url: &http::Uri, config: &Config) -> bool {
    let Some(own) = config.server.public_url.as_deref().and_then(|own| own.parse::<http::Uri>().ok()) else {
        let name = url.path().strip_prefix("/mcp/").unwrap_or_default();
        return config.upstreams.iter().any(|upstream| upstream.name == name);
    };
    url.host().is_some_and(|host| own.host().is_some_and(|own| own.eq_ignore_ascii_case(host)))
}

/// A development issuer gives tokens to whoever asks, so nobody outside this host may reach it or what
/// believes it.
fn development_issuer(config: &Config, issuer: &DevelopmentIssuer, checks: &mut Checks<'_>) {
    let own = at!["auth", "development_issuer", "listen"];
    if !net::is_loopback(issuer.listen.ip()) {
        checks.value(
            own,
            format!("the development issuer would listen on `{}`, which others can reach", issuer.listen),
            "a loopback address, such as `127.0.0.1:8090`",
            "write a loopback address; for others to come in, use a real identity provider in `auth.issuers`",
        );
    }
    let given = checks.whereabouts(at!["auth", "development_issuer"]);
    for (index, address) in config.server.listen.iter().enumerate() {
        if !net::is_loopback(address.ip()) {
            checks.value(
                at!["server", "listen", index],
                format!(
                    "`server.listen` has `{address}`, which others can reach, while `auth.development_issuer` \
                     ({given}) gives tokens to whoever asks"
                ),
                "only loopback addresses in `server.listen` beside `auth.development_issuer`",
                "listen on `127.0.0.1`, or replace `auth.development_issuer` by `auth.issuers`",
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::from_text;

    const TEXT: &str = "auth:\n  development_issuer: {listen: \"127.0.0.1:8090\"}\n";

    /// A release says of a development issuer where it is asked for, why there is none, and the way out.
    #[cfg(development_issuer)]
    #[test]
    fn a_release_refuses_a_development_issuer() {
        let config = from_text("airlock.yaml", TEXT).expect("this build has one");
        let parsed = crate::yaml::parse::parse(TEXT);
        let mut checks = Checks { root: parsed.root.as_ref().expect("YAML"), issues: Vec::new() };
        check(&config, &mut checks, false);
        let told = crate::Diagnostics::new("airlock.yaml", TEXT, &parsed.hidden, checks.issues);
        assert_refused(&told);
    }

    #[cfg(not(development_issuer))]
    #[test]
    fn a_release_refuses_a_development_issuer() {
        assert_refused(&from_text("airlock.yaml", TEXT).expect_err("this build has none"));
        let told = from_text("airlock.yaml", "server: {}\n").expect_err("nobody is trusted").to_string();
        assert!(!told.contains("development_issuer"), "{told}");
    }

    fn assert_refused(told: &crate::Diagnostics) {
        let [one] = told.entries() else { panic!("{told}") };
        assert_eq!((one.line, one.column), (Some(2), Some(3)), "{told}");
        assert_eq!(one.message, NO_DEVELOPMENT_ISSUER);
        assert!(one.help.contains("`auth.issuers`") && one.help.contains("debug build"), "{told}");
    }
}
