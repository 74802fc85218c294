//! A claim by its name, or by the path to it.

use serde_json::{Map, Value};

use super::error::TokenError;

/// The claim of this name; where there is none and the name has dots, what the path leads to. A name that is
/// a URL has dots and no path (`https://example.com/groups`), so at each level what is left of the name is
/// first taken as it stands.
///
/// # Errors
/// The path leads through something that is not an object: whatever the issuer means by it, it is not "no
/// such claim".
fn find<'a>(claims: &'a Map<String, Value>, name: &str) -> Result<Option<&'a Value>, TokenError> {
    let (mut object, mut rest) = (claims, name);
    loop {
        if let Some(value) = object.get(rest) {
            return Ok(Some(value));
        }
        let Some((head, tail)) = rest.split_once('.') else { return Ok(None) };
        object = match object.get(head) {
            None => return Ok(None),
            Some(Value::Object(inner)) => inner,
            Some(_) => return Err(bad(name, "its path leads through something that is not an object")),
        };
        rest = tail;
    }
}

pub(crate) fn bad(claim: &str, problem: &'static str) -> TokenError {
    TokenError::BadClaim { claim: claim.to_owned(), problem }
}

/// Text that ends up in logs, policies and file names: not empty, no control characters.
fn word(claim: &str, text: &str) -> Result<String, TokenError> {
    if text.is_empty() {
        return Err(bad(claim, "empty"));
    }
    if text.chars().any(char::is_control) {
        return Err(bad(claim, "contains control characters"));
    }
    Ok(text.to_owned())
}

/// A string.
pub(crate) fn text(claims: &Map<String, Value>, claim: &str) -> Result<Option<String>, TokenError> {
    match find(claims, claim)? {
        None => Ok(None),
        Some(Value::String(value)) => word(claim, value).map(Some),
        Some(_) => Err(bad(claim, "not a string")),
    }
}

/// An array of strings or one string, which is split at spaces where `split` says so.
pub(crate) fn list(
    claims: &Map<String, Value>,
    claim: &str,
    split: bool,
) -> Result<Option<Vec<String>>, TokenError> {
    let words: Result<Vec<String>, TokenError> = match find(claims, claim)? {
        None => return Ok(None),
        Some(Value::String(value)) if split => {
            value.split(' ').filter(|part| !part.is_empty()).map(|part| word(claim, part)).collect()
        }
        Some(Value::String(value)) => word(claim, value).map(|one| vec![one]),
        Some(Value::Array(items)) => items
            .iter()
            .map(|item| match item {
                Value::String(value) => word(claim, value),
                _ => Err(bad(claim, "holds something that is not a string")),
            })
            .collect(),
        Some(_) => Err(bad(claim, "neither a string nor an array of strings")),
    };
    words.map(Some)
}

/// `scope` (RFC 8693 section 4.2: one string, separated by spaces) or `scp` (a string or an array).
pub(crate) fn scopes(claims: &Map<String, Value>) -> Result<Vec<String>, TokenError> {
    match claims.get("scope") {
        None => Ok(list(claims, "scp", true)?.unwrap_or_default()),
        Some(Value::String(_)) => Ok(list(claims, "scope", true)?.unwrap_or_default()),
        Some(_) => Err(bad("scope", "not a string")),
    }
}

/// Refuses a token that only refers to this claim (aggregated and distributed claims, `OpenID` Connect Core
/// section 5.6.2). Entra ID does so for somebody in more groups than fit: `_claim_names` in version 2, or
/// `hasgroups`. To read that as "no groups" would let a policy's rule about a group pass by.
pub(crate) fn is_here(claims: &Map<String, Value>, claim: &str) -> Result<(), TokenError> {
    let elsewhere = || Err(TokenError::ClaimElsewhere { claim: claim.to_owned() });
    match claims.get("_claim_names") {
        None => {}
        Some(Value::Object(names)) => {
            let head = claim.split('.').next().unwrap_or(claim);
            if names.contains_key(claim) || names.contains_key(head) {
                return elsewhere();
            }
        }
        Some(_) => return Err(bad("_claim_names", "not an object")),
    }
    match claims.get("hasgroups") {
        Some(said) if claim == "groups" && *said != Value::Bool(false) => elsewhere(),
        _ => Ok(()),
    }
}

/// A `NumericDate` (RFC 7519 section 2) in whole seconds; fractions are cut off.
pub(crate) fn seconds(claims: &Map<String, Value>, claim: &str) -> Result<Option<u64>, TokenError> {
    /// 2^53: below it a float holds every whole second exactly.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    let number = match claims.get(claim) {
        None => return Ok(None),
        Some(Value::Number(number)) => number,
        Some(_) => return Err(bad(claim, "not a number")),
    };
    if let Some(whole) = number.as_u64() {
        return Ok(Some(whole));
    }
    match number.as_f64() {
        Some(value) if (0.0..EXACT).contains(&value) => {
            // In range by the guard, and the fraction is meant to go.
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
            Ok(Some(value as u64))
        }
        _ => Err(bad(claim, "not a time since 1970")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn names_come_before_paths() {
        let claims = json!({
            "tenant": "flat", "realm.tenant": "exact", "realm": {"tenant": "nested", "a": {"b": "deep"}, "a.b": "inner"},
            "https://example.com/groups": ["url"], "https://example": {"com/groups": ["no"]},
            "resource_access": {"airlock": {"roles": ["reader"]}}, "empty": {}, "word": "x", "none": null,
        });
        let claims = claims.as_object().expect("an object");
        for (name, expected) in [
            ("tenant", Some("flat")),
            ("realm.tenant", Some("exact")),
            ("realm.a.b", Some("inner")),
            ("realm.b", None),
            ("empty.x", None),
            ("missing.x", None),
            ("", None),
            (".", None),
            ("realm.", None),
            (".tenant", None),
        ] {
            assert_eq!(text(claims, name).expect(name).as_deref(), expected, "{name}");
        }
        assert_eq!(list(claims, "https://example.com/groups", false), Ok(Some(vec!["url".to_owned()])));
        assert_eq!(list(claims, "resource_access.airlock.roles", false), Ok(Some(vec!["reader".to_owned()])));
        for name in ["word.x", "none.x", "tenant.a.b", "https://example.com/groups.x"] {
            let error = text(claims, name).expect_err(name).to_string();
            assert!(error.contains("path leads through"), "{name}: {error}");
        }
        // Null is a value, and not one that can be meant.
        assert!(text(claims, "none").is_err());
    }

    #[test]
    fn claims_that_stand_elsewhere_are_not_taken_for_absent() {
        let here = |claims: &Value, claim| is_here(claims.as_object().expect("an object"), claim);
        let overage = json!({"_claim_names": {"groups": "src1"}, "_claim_sources": {"src1": {"endpoint": "https://x"}}});
        assert!(matches!(here(&overage, "groups"), Err(TokenError::ClaimElsewhere { .. })));
        assert!(matches!(here(&overage, "groups.names"), Err(TokenError::ClaimElsewhere { .. })));
        assert_eq!(here(&overage, "roles"), Ok(()));
        assert!(here(&json!({"hasgroups": true}), "groups").is_err());
        assert!(here(&json!({"hasgroups": "true"}), "groups").is_err());
        assert_eq!(here(&json!({"hasgroups": false}), "groups"), Ok(()));
        assert_eq!(here(&json!({"hasgroups": true}), "roles"), Ok(()));
        assert!(here(&json!({"_claim_names": "groups"}), "groups").is_err());
        assert_eq!(here(&json!({}), "groups"), Ok(()));
    }
}
