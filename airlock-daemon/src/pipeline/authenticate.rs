//! Whose token is it? (RFC 6750, RFC 9728)

use std::fmt::Write as _;
use std::sync::Arc;

use http::header::AUTHORIZATION;
use http::{HeaderMap, StatusCode, Uri};

use crate::auth::TokenError;
use crate::auth::principal::Principal;

use super::context::Peer;
use super::route::Endpoint;
use super::{Gateway, Refusal, Stage, limit};

/// Verifies the bearer token of a request, for the endpoint that it was sent to. A token that is known to be good passes whatever
/// others at its address have sent.
///
/// # Errors
/// 401 with a challenge that names the metadata, 403 for a principal without a required group or scope, 429 for an address of
/// which too many tokens were refused, 503 where the issuer's keys cannot be had.
pub async fn authenticate(
    gateway: &Gateway,
    peer: &Peer,
    endpoint: &Endpoint,
    uri: &Uri,
    headers: &HeaderMap,
) -> Result<Arc<Principal>, Refusal> {
    let challenge = Challenge {
        base_url: &gateway.base_url,
        path: uri.path(),
        scopes: &gateway.config.auth.required_scopes,
    };
    if uri.query().is_some_and(holds_token) {
        let reason = "tokens are taken from the Authorization header only";
        return Err(challenge.unauthorized(reason, Some("invalid_request")));
    }
    // Without a token there is nothing to guess; the answer to it begins every login.
    let token = bearer(headers).map_err(|reason| challenge.unauthorized(reason, None))?;
    let upstream = match endpoint {
        Endpoint::Merged => None,
        Endpoint::One(name) => Some(name.as_str()),
    };
    if let Some(principal) = gateway.auth.cached(token, upstream) {
        return Ok(principal);
    }
    limit::token(gateway, peer)?;
    gateway.auth.authenticate(token, upstream).await.map_err(|error| {
        limit::token_refused(gateway, peer, &error);
        challenge.refuse(&error)
    })
}

/// Whether a query has a token in it (RFC 6750 section 2.3), however its name is spelled: what stands in a URL ends up in the
/// logs of everything that the request has passed. Some servers take `;` for `&`.
fn holds_token(query: &str) -> bool {
    query.split(';').any(|part| {
        form_urlencoded::parse(part.as_bytes())
            .any(|(name, _)| name.trim().eq_ignore_ascii_case("access_token"))
    })
}

/// The bearer token of a request's head.
fn bearer(headers: &HeaderMap) -> Result<&str, &'static str> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let value = values.next().ok_or("a bearer token is required")?;
    if values.next().is_some() {
        return Err("the Authorization header is repeated");
    }
    let value = value.to_str().map_err(|_| "the Authorization header is not visible ASCII")?;
    let (scheme, token) = value.split_once(' ').unwrap_or((value, ""));
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err("a bearer token is required");
    }
    match token.trim() {
        "" => Err("the bearer token is empty"),
        token => Ok(token),
    }
}

/// Where the metadata of the resource at `path` is (RFC 9728, section 3.1).
pub fn metadata_url(base_url: &str, path: &str) -> String {
    // Only path characters that cannot end the quoted string of the challenge.
    let path: String = path.chars().filter(|c| c.is_ascii_alphanumeric() || "-._~/".contains(*c)).collect();
    format!("{base_url}/.well-known/oauth-protected-resource{path}")
}

/// What tells a client how to get a (better) token.
struct Challenge<'a> {
    base_url: &'a str,
    path: &'a str,
    scopes: &'a [String],
}

impl Challenge<'_> {
    fn refuse(&self, error: &TokenError) -> Refusal {
        let mut refusal = match error.status() {
            StatusCode::UNAUTHORIZED => self.unauthorized(error.reason(), Some(error.error_code())),
            status => Refusal::new(Stage::Authenticate, status, error.reason()),
        };
        match error {
            TokenError::KeysUnavailable { .. } => refusal.retry_after = Some(5),
            // More scopes can be asked for, and all at once; there is no such way to more groups.
            TokenError::MissingScope { .. } => {
                refusal.challenge = Some(self.text(Some((error.error_code(), error.reason()))));
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
        let mut text = format!("Bearer resource_metadata=\"{}\"", metadata_url(self.base_url, self.path));
        if !self.scopes.is_empty() {
            let _ = write!(text, ", scope=\"{}\"", self.scopes.join(" "));
        }
        if let Some((code, reason)) = error {
            let _ = write!(text, ", error=\"{code}\", error_description=\"{reason}\"");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn only_one_bearer_token_will_do() {
        let mut headers = HeaderMap::new();
        assert!(bearer(&headers).is_err());
        for (value, good) in [
            ("Bearer abc", true),
            ("bearer  abc ", true),
            ("Basic abc", false),
            ("Bearer", false),
            ("Bearer ", false),
        ] {
            headers.insert(AUTHORIZATION, HeaderValue::from_static(value));
            assert_eq!(bearer(&headers).is_ok(), good, "{value}");
        }
        headers.insert(AUTHORIZATION, HeaderValue::from_static("Bearer abc"));
        headers.append(AUTHORIZATION, HeaderValue::from_static("Bearer def"));
        assert!(bearer(&headers).is_err());
    }

    #[test]
    fn a_path_cannot_break_out_of_the_challenge() {
        assert_eq!(
            metadata_url("https://a", "/mcp/x\", error=\"y"),
            "https://a/.well-known/oauth-protected-resource/mcp/xerrory"
        );
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
        let challenge = Challenge { base_url: "https://a", path: "/mcp/x", scopes: &scopes };
        assert_eq!(
            challenge.text(Some(("invalid_token", "No."))),
            "Bearer resource_metadata=\"https://a/.well-known/oauth-protected-resource/mcp/x\", scope=\"mcp:use mcp:read\", error=\"invalid_token\", \
             error_description=\"No.\""
        );
        let bare = Challenge { base_url: "https://a", path: "/mcp", scopes: &[] };
        assert_eq!(
            bare.text(None),
            "Bearer resource_metadata=\"https://a/.well-known/oauth-protected-resource/mcp\""
        );
    }
}
