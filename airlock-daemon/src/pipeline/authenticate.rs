//! Whose token is it? (RFC 6750, RFC 8705, RFC 9449, RFC 9728)

use std::fmt::Write as _;
use std::sync::Arc;

use http::header::AUTHORIZATION;
use http::request::Parts;
use http::{HeaderMap, HeaderName, StatusCode};

use crate::auth::principal::Principal;
use crate::auth::{Proof, Shown, TokenError, proof_algorithms};

use super::request::context::Peer;
use super::route::Endpoint;
use super::{Gateway, Refusal, limit};
use crate::stage::Stage;

/// A proof of possession (RFC 9449, section 4.1).
const DPOP: HeaderName = HeaderName::from_static("dpop");

/// Verifies the token of a request: that it is for the endpoint that the request was sent to, and is shown by
/// the client that it is bound to. A token that is known to be good passes whatever others at its address
/// have sent.
///
/// # Errors
/// 401 with a challenge that names the metadata, 403 for a principal without a required group or scope, 429
/// for an address of which too many tokens were refused, 503 where the issuer's keys cannot be had.
pub async fn authenticate(
    gateway: &Gateway,
    peer: &Peer,
    endpoint: &Endpoint,
    head: &Parts,
) -> Result<Arc<Principal>, Refusal> {
    let (base_url, path) = (gateway.base_url.as_str(), head.uri.path());
    let scopes = &gateway.config.auth.required_scopes;
    let challenge = Challenge { scheme: Scheme::Bearer, base_url, path, scopes };
    if head.uri.query().is_some_and(holds_token) {
        let reason = "tokens are taken from the Authorization header only";
        return Err(challenge.unauthorized(reason, Some("invalid_request")));
    }
    // Without a token there is nothing to guess; the answer to it begins every login.
    let (scheme, token) = shown(&head.headers).map_err(|reason| challenge.unauthorized(reason, None))?;
    let challenge = Challenge { scheme, ..challenge };
    let method = head.method.as_str();
    let proof =
        (scheme == Scheme::Dpop).then(|| Proof { jwt: one(&head.headers, &DPOP), method, base_url, path });
    let shown = Shown { token, proof, certificate: peer.certificate_digest.as_ref() };
    let upstream = match endpoint {
        Endpoint::Merged => None,
        Endpoint::One(name) => Some(name.as_str()),
    };
    let judged = if let Some(judged) = gateway.auth.known(&shown, upstream) {
        judged
    } else {
        limit::token(gateway, peer)?;
        gateway.auth.authenticate(shown, upstream).await
    };
    judged.map_err(|error| {
        limit::token_refused(gateway, peer, &error);
        challenge.refuse(&error, || gateway.auth.nonce())
    })
}

/// True for a query that has a token in it (RFC 6750 section 2.3), however its name is spelled: a URL ends up
/// in the logs of everything that the request has passed. Some servers take `;` for `&`.
fn holds_token(query: &str) -> bool {
    query.split(';').any(|part| {
        form_urlencoded::parse(part.as_bytes())
            .any(|(name, _)| name.trim().eq_ignore_ascii_case("access_token"))
    })
}

/// How a token is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scheme {
    /// It is enough to have it (RFC 6750).
    Bearer,
    /// With a proof that its key is there as well (RFC 9449).
    Dpop,
}

impl Scheme {
    const ALL: [Self; 2] = [Self::Bearer, Self::Dpop];

    fn name(self) -> &'static str {
        match self {
            Self::Bearer => "Bearer",
            Self::Dpop => "DPoP",
        }
    }
}

/// The token of a request's head, and its scheme.
fn shown(headers: &HeaderMap) -> Result<(Scheme, &str), &'static str> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let value = values.next().ok_or("a bearer token is required")?;
    if values.next().is_some() {
        return Err("the Authorization header is repeated");
    }
    let value = value.to_str().map_err(|_| "the Authorization header is not visible ASCII")?;
    let (scheme, token) = value.split_once(' ').unwrap_or((value, ""));
    let scheme = Scheme::ALL.into_iter().find(|one| one.name().eq_ignore_ascii_case(scheme));
    match (scheme, token.trim()) {
        (None, _) => Err("a bearer token is required"),
        (Some(_), "") => Err("the bearer token is empty"),
        (Some(scheme), token) => Ok((scheme, token)),
    }
}

/// The value of a header that is there once.
fn one<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(value)
}

/// The URL of the metadata of the resource at `path` (RFC 9728, section 3.1). A slash at its end is no part
/// of the resource's name.
pub fn metadata_url(base_url: &str, path: &str) -> String {
    let path = path.strip_suffix('/').unwrap_or(path);
    // Only path characters that cannot end the quoted string of the challenge.
    let path: String = path.chars().filter(|c| c.is_ascii_alphanumeric() || "-._~/".contains(*c)).collect();
    format!("{base_url}/.well-known/oauth-protected-resource{path}")
}

/// The words that tell a client how to get a (better) token.
struct Challenge<'a> {
    /// The scheme that the client uses.
    scheme: Scheme,
    base_url: &'a str,
    path: &'a str,
    scopes: &'a [String],
}

impl Challenge<'_> {
    fn refuse(&self, error: &TokenError, nonce: impl FnOnce() -> String) -> Refusal {
        let scheme = if error.is_about_proofs() { Scheme::Dpop } else { self.scheme };
        let this = Challenge { scheme, ..*self };
        let mut refusal = match error.status() {
            StatusCode::UNAUTHORIZED => this.unauthorized(&error.reason(), Some(error.error_code())),
            status => Refusal::new(Stage::Authenticate, status, error.reason()),
        };
        if scheme == Scheme::Dpop && refusal.challenge.is_some() {
            refusal.dpop_nonce = Some(nonce());
        }
        match error {
            TokenError::KeysUnavailable { .. } => refusal.retry_after = Some(5),
            // More scopes can be asked for, and all at once; there is no such way to more groups.
            TokenError::MissingScope { .. } => {
                refusal.challenge = Some(this.text(Some((error.error_code(), &error.reason()))));
            }
            _ => {}
        }
        refusal.rule_id = error.rule_id().map(Into::into);
        refusal.detail = Some(error.to_string());
        refusal
    }

    fn unauthorized(&self, reason: &str, error: Option<&str>) -> Refusal {
        let mut refusal = Refusal::new(Stage::Authenticate, StatusCode::UNAUTHORIZED, reason);
        refusal.challenge = Some(self.text(error.map(|code| (code, reason))));
        refusal
    }

    /// The value of `WWW-Authenticate`. The configuration admits no scope that could end a quoted string.
    fn text(&self, error: Option<(&str, &str)>) -> String {
        let scheme = self.scheme.name();
        let mut text = format!("{scheme} resource_metadata=\"{}\"", metadata_url(self.base_url, self.path));
        if !self.scopes.is_empty() {
            let _ = write!(text, ", scope=\"{}\"", self.scopes.join(" "));
        }
        if let Some((code, reason)) = error {
            let _ = write!(text, ", error=\"{code}\", error_description=\"{reason}\"");
        }
        if self.scheme == Scheme::Dpop {
            let _ = write!(text, ", algs=\"{}\"", proof_algorithms().collect::<Vec<_>>().join(" "));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn only_one_token_will_do() {
        let mut headers = HeaderMap::new();
        assert!(shown(&headers).is_err());
        for (value, good) in [
            ("Bearer abc", true),
            ("bearer  abc ", true),
            ("Basic abc", false),
            ("Bearer", false),
            ("Bearer ", false),
            ("DPoP abc", true),
            ("dpop abc", true),
            ("DPoP", false),
        ] {
            headers.insert(AUTHORIZATION, HeaderValue::from_static(value));
            assert_eq!(shown(&headers).is_ok(), good, "{value}");
        }
        headers.insert(AUTHORIZATION, HeaderValue::from_static("Bearer abc"));
        headers.append(AUTHORIZATION, HeaderValue::from_static("Bearer def"));
        assert!(shown(&headers).is_err());
    }

    #[test]
    fn a_path_cannot_break_out_of_the_challenge() {
        assert_eq!(
            metadata_url("https://a", "/mcp/x\", error=\"y"),
            "https://a/.well-known/oauth-protected-resource/mcp/xerrory"
        );
        assert_eq!(metadata_url("https://a", "/mcp/"), "https://a/.well-known/oauth-protected-resource/mcp");
    }

    #[test]
    fn tokens_in_queries_are_found_however_they_are_spelled() {
        for query in [
            "access_token=x",
            "a=b&access_token=x",
            "access_token",
            "a&access_token=",
            "access%5Ftoken=x",
            "%61ccess_token=x",
            "%61%63%63%65%73%73%5f%74%6f%6b%65%6e=x",
            "a=b&&access%5ftoken=x&c",
            "a=b;access_token=x",
            "Access_Token=x",
            "+access_token=x",
            "access_token+=x",
        ] {
            assert!(holds_token(query), "{query}");
        }
        for query in
            ["", "token=x", "q=access_token", "q=access_token%3Dx", "access_tokens=x", "access%255Ftoken=x"]
        {
            assert!(!holds_token(query), "{query}");
        }
    }

    #[test]
    fn a_challenge_names_all_that_a_client_needs() {
        let scopes = ["mcp:use".to_owned(), "mcp:read".to_owned()];
        let challenge =
            Challenge { scheme: Scheme::Bearer, base_url: "https://a", path: "/mcp/x", scopes: &scopes };
        assert_eq!(
            challenge.text(Some(("invalid_token", "No."))),
            "Bearer resource_metadata=\"https://a/.well-known/oauth-protected-resource/mcp/x\", scope=\"mcp:use mcp:read\", error=\"invalid_token\", \
             error_description=\"No.\""
        );
        let bare = Challenge { scheme: Scheme::Bearer, base_url: "https://a", path: "/mcp", scopes: &[] };
        assert_eq!(
            bare.text(None),
            "Bearer resource_metadata=\"https://a/.well-known/oauth-protected-resource/mcp\""
        );
        let refusal = bare.refuse(&TokenError::ProofNeeded, || "n".to_owned());
        let challenge = refusal.challenge.as_deref().unwrap_or_default();
        assert!(
            challenge.starts_with("DPoP resource_metadata=") && challenge.contains("algs=\"RS256 "),
            "{challenge}"
        );
        assert_eq!(refusal.dpop_nonce.as_deref(), Some("n"));
        // Whoever does not know of proofs is not told of nonces.
        let refusal = bare.refuse(&TokenError::Expired { seconds: 1 }, || "n".to_owned());
        assert_eq!((refusal.dpop_nonce.as_deref(), refusal.status.as_u16()), (None, 401));
    }
}
