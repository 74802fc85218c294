//! Whose token is it? (RFC 6750, RFC 9728)

use std::fmt::Write as _;
use std::sync::Arc;

use http::header::AUTHORIZATION;
use http::{HeaderMap, StatusCode, Uri};

use crate::auth::TokenError;
use crate::auth::principal::Principal;

use super::{Gateway, Refusal, Stage};

/// Verifies the bearer token of a request.
///
/// # Errors
/// 401 with a challenge that names the metadata, 403 for a principal without a required group, 503 where the issuer's
/// keys cannot be had.
pub async fn authenticate(
    gateway: &Gateway,
    uri: &Uri,
    headers: &HeaderMap,
) -> Result<Arc<Principal>, Refusal> {
    let metadata = metadata_url(&gateway.base_url, uri.path());
    if uri.query().is_some_and(|query| query.split('&').any(|pair| pair.starts_with("access_token="))) {
        return Err(unauthorized(
            &metadata,
            "tokens are taken from the Authorization header only",
            Some("invalid_request"),
        ));
    }
    let token = bearer(headers).map_err(|reason| unauthorized(&metadata, reason, None))?;
    if let Some(principal) = gateway.auth.cached(token) {
        return Ok(principal);
    }
    gateway.auth.authenticate(token).await.map_err(|error| refuse(&metadata, &error))
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

fn refuse(metadata: &str, error: &TokenError) -> Refusal {
    let mut refusal = match error.status() {
        StatusCode::UNAUTHORIZED => unauthorized(metadata, error.reason(), Some(error.error_code())),
        StatusCode::SERVICE_UNAVAILABLE => {
            let mut refusal =
                Refusal::new(Stage::Authenticate, StatusCode::SERVICE_UNAVAILABLE, error.reason());
            refusal.retry_after = Some(5);
            refusal
        }
        status => {
            let mut refusal = Refusal::new(Stage::Authenticate, status, error.reason());
            refusal.rule_id = Some("auth.required_groups".into());
            refusal
        }
    };
    refusal.detail = Some(error.to_string());
    refusal
}

fn unauthorized(metadata: &str, reason: &str, error: Option<&str>) -> Refusal {
    let mut refusal = Refusal::new(Stage::Authenticate, StatusCode::UNAUTHORIZED, reason);
    let mut challenge = format!("Bearer resource_metadata=\"{metadata}\"");
    if let Some(error) = error {
        let _ = write!(challenge, ", error=\"{error}\", error_description=\"{reason}\"");
    }
    refusal.challenge = Some(challenge);
    refusal
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
}
