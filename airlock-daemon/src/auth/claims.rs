//! The claims of a token whose signature is verified: from a JSON object to a [`Principal`].

use serde_json::{Map, Value};

use super::audience::{Audience, Reach};
use super::error::{Quoted, TokenError};
use super::lookup::{bad, is_here, list, scopes, seconds, text};
use super::principal::{Bearer, Principal};
use super::proof::binding::Binding;
use crate::config::schema;

/// An `exp` further ahead than this (ten years) is an error of its issuer, or not seconds at all.
const ABSURD_LIFETIME_SECS: u64 = 10 * 366 * 86_400;

/// The facts in the claims of a good token.
#[derive(Debug)]
pub(crate) struct Verified {
    /// The owner.
    pub(crate) principal: Principal,
    /// Where it is good.
    pub(crate) reach: Reach,
    /// To whom it is bound.
    pub(crate) binding: Binding,
}

/// The rules for claims of one issuer.
#[derive(Debug)]
pub(crate) struct Rules {
    issuer: String,
    audience: Audience,
    skew_secs: u64,
    tenant: Option<String>,
    tenant_optional: bool,
    groups: String,
    id_tokens: bool,
    required_groups: Vec<String>,
    required_scopes: Vec<String>,
}

impl Rules {
    /// The rules of one configured issuer.
    pub(crate) fn new(issuer: &schema::Issuer, auth: &schema::Auth, base_url: &str) -> Self {
        Self {
            issuer: issuer.issuer.clone(),
            audience: Audience::new(&issuer.audience, base_url),
            skew_secs: issuer.clock_skew.0.as_secs(),
            tenant: issuer.claims.tenant.clone(),
            tenant_optional: issuer.claims.tenant_optional,
            groups: issuer.claims.groups.clone().unwrap_or_else(|| "groups".to_owned()),
            id_tokens: issuer.takes_id_tokens(),
            required_groups: auth.required_groups.clone(),
            required_scopes: auth.required_scopes.clone(),
        }
    }

    /// The last second in which a token with this `exp` is accepted.
    pub(crate) fn accepted_until(&self, expires_at: u64) -> u64 {
        expires_at.saturating_add(self.skew_secs)
    }

    /// Checks every claim. `now` is in seconds since the Unix epoch.
    ///
    /// # Errors
    /// The first claim that does not hold.
    pub(crate) fn check(&self, claims: Map<String, Value>, now: u64) -> Result<Verified, TokenError> {
        // By their own names only: no path leads to a registered claim (RFC 7519 section 4.1), they have no
        // dots.
        let subject = text(&claims, "sub")?.ok_or(TokenError::MissingClaim("sub"))?;
        match text(&claims, "iss")? {
            Some(issuer) if issuer == self.issuer => {}
            Some(issuer) => return Err(TokenError::UnknownIssuer(Quoted::new(&issuer))),
            None => return Err(TokenError::MissingClaim("iss")),
        }
        let audience = list(&claims, "aud", false)?.ok_or(TokenError::MissingClaim("aud"))?;
        let reach = self.audience.reach(&audience).ok_or_else(|| TokenError::WrongAudience {
            issuer: self.issuer.clone(),
            has: Quoted::new(&audience.join(" ")),
            wanted: self.audience.to_string(),
        })?;
        let expires_at = self.check_times(&claims, now)?;
        // Logout tokens and their kin (RFC 8417) are signed by the same keys, often without a `typ` of their
        // own.
        if claims.contains_key("events") {
            return Err(bad("events", "tells of an event: not an access token"));
        }
        if let Some(mark) = foreign_mark(&claims, self.id_tokens) {
            return Err(TokenError::NotAccess { mark });
        }
        let binding = Binding::of(&claims)?;
        let tenant = match &self.tenant {
            Some(claim) => {
                is_here(&claims, claim)?;
                let named = text(&claims, claim)?;
                if named.is_none() && !self.tenant_optional {
                    return Err(TokenError::MissingTenant { claim: claim.clone() });
                }
                named
            }
            None => None,
        };
        is_here(&claims, &self.groups)?;
        let groups = list(&claims, &self.groups, false)?.unwrap_or_default();
        let scopes = scopes(&claims)?;
        let quoted = || Quoted::new(&subject);
        if !self.required_groups.is_empty()
            && !groups.iter().any(|group| self.required_groups.contains(group))
        {
            return Err(TokenError::Forbidden { subject: quoted(), required: self.required_groups.clone() });
        }
        if !self.required_scopes.iter().all(|scope| scopes.contains(scope)) {
            return Err(TokenError::MissingScope {
                subject: quoted(),
                required: self.required_scopes.clone(),
            });
        }
        let issuer = self.issuer.clone();
        let bearer = Bearer { subject, tenant, groups, scopes, issuer, claims, expires_at };
        Ok(Verified { principal: Principal::new(bearer), reach, binding })
    }

    fn check_times(&self, claims: &Map<String, Value>, now: u64) -> Result<u64, TokenError> {
        let expires_at = seconds(claims, "exp")?.ok_or(TokenError::MissingClaim("exp"))?;
        if expires_at > now.saturating_add(ABSURD_LIFETIME_SECS) {
            return Err(TokenError::BadClaim { claim: "exp".into(), problem: "more than ten years ahead" });
        }
        if self.accepted_until(expires_at) <= now {
            return Err(TokenError::Expired { seconds: now.saturating_sub(expires_at) });
        }
        for claim in ["nbf", "iat"] {
            if let Some(from) = seconds(claims, claim)?
                && from > now.saturating_add(self.skew_secs)
            {
                return Err(TokenError::NotYetValid { claim, seconds: from.saturating_sub(now) });
            }
        }
        Ok(expires_at)
    }
}

/// The claim by which a token is known not to be an access token. ID tokens are made for the client that
/// asked for them, are shown to more than one party, and are bound to no resource (`OpenID` Connect Core
/// section 2); many providers sign them with the same keys, and without a `typ` of their own in the header.
fn foreign_mark(claims: &Map<String, Value>, id_tokens: bool) -> Option<&'static str> {
    /// Claims of ID tokens alone (`OpenID` Connect Core sections 2 and 3.3.2.11, FAPI).
    const MARKS: [&str; 4] = ["nonce", "at_hash", "c_hash", "s_hash"];
    let is_one_of = |kind: &str, known: &[&str]| known.iter().any(|one| one.eq_ignore_ascii_case(kind));
    // Keycloak says it here; old ones put `nonce` into access tokens as well.
    match claims.get("typ").and_then(Value::as_str) {
        Some(kind) if is_one_of(kind, &["Bearer", "DPoP"]) => return None,
        Some(kind) if is_one_of(kind, &["Refresh", "Offline", "Logout"]) => return Some("typ"),
        Some(kind) if !id_tokens && is_one_of(kind, &["ID"]) => return Some("typ"),
        _ => {}
    }
    MARKS.into_iter().find(|mark| !id_tokens && claims.contains_key(*mark))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::schema::{ClaimNames, SignatureAlgorithm};
    use crate::config::units::Period;

    const NOW: u64 = 1_800_000_000;
    const SKEW: u64 = 120;

    fn rules(required_groups: &[&str]) -> Rules {
        let owned = |list: &[&str]| list.iter().map(ToString::to_string).collect();
        let auth = schema::Auth { required_groups: owned(required_groups), ..schema::Auth::default() };

        let issuer = schema::Issuer {
            issuer: "https://idp.example".into(),
            audience: vec!["https://one.example/mcp".into(), "two".into()],
            jwks_cache_ttl: Period::secs(300),
            clock_skew: Period::secs(SKEW),
            algorithms: vec![SignatureAlgorithm::ES256],
            claims: ClaimNames { tenant: Some("tid".into()), ..ClaimNames::default() },
            allow_private_addresses: false,
            id_tokens: None,
        };
        Rules::new(&issuer, &auth, "https://one.example")
    }

    /// Good claims with `change` laid over them; `null` removes a claim.
    fn claims(change: &Value) -> Map<String, Value> {
        let mut claims = json!({
            "iss": "https://idp.example", "sub": "alice", "aud": "two", "exp": NOW + 600, "iat": NOW, "nbf": NOW,
            "tid": "acme", "groups": ["mcp.users", "dev"], "scope": "read write",
        });
        let members = claims.as_object_mut().expect("an object");
        for (name, value) in change.as_object().expect("an object") {
            if value.is_null() {
                members.remove(name);
            } else {
                members.insert(name.clone(), value.clone());
            }
        }
        members.clone()
    }

    fn check(change: &Value) -> Result<Principal, TokenError> {
        rules(&[]).check(claims(change), NOW).map(|verified| verified.principal)
    }

    #[test]
    fn good_claims_become_a_principal() {
        let alice = check(&json!({"custom": {"a": 1}})).expect("good claims");
        assert_eq!((alice.subject.as_str(), alice.tenant.as_deref()), ("alice", Some("acme")));
        assert_eq!(alice.groups, ["mcp.users", "dev"]);
        assert_eq!(alice.scopes, ["read", "write"]);
        assert_eq!((alice.issuer.as_str(), alice.expires_at), ("https://idp.example", NOW + 600));
        assert_eq!(alice.claims["custom"], json!({"a": 1}));
    }

    #[test]
    fn every_legal_spelling_is_understood() {
        for change in [
            json!({"aud": ["x", "https://one.example/mcp"]}),
            json!({"exp": 1_800_000_600.75}),
            json!({"iat": null, "nbf": null}),
            json!({"nbf": NOW + SKEW, "iat": NOW + SKEW}),
            json!({"exp": NOW - SKEW + 1}),
            json!({"nbf": 0}),
            json!({"groups": null, "scope": null}),
        ] {
            assert!(check(&change).is_ok(), "{change}: {:?}", check(&change));
        }
        assert_eq!(check(&json!({"groups": "one"})).expect("one group").groups, ["one"]);
        for scp in [json!("a b"), json!(["a", "b"])] {
            assert_eq!(check(&json!({"scope": null, "scp": scp})).expect("scp").scopes, ["a", "b"]);
        }
    }

    #[test]
    fn claims_that_do_not_hold_are_refused() {
        for (change, expected) in [
            (json!({"sub": null}), "claim `sub` is missing"),
            (json!({"sub": ""}), "claim `sub`: empty"),
            (json!({"sub": 7}), "claim `sub`: not a string"),
            (json!({"sub": "a\nb"}), "claim `sub`: contains control characters"),
            (json!({"iss": null}), "claim `iss` is missing"),
            (json!({"iss": ["https://idp.example"]}), "claim `iss`: not a string"),
            (json!({"iss": "https://idp.example/"}), "issuer \"https://idp.example/\" is not configured"),
            (json!({"aud": null}), "claim `aud` is missing"),
            (json!({"aud": []}), "audience of the token is none"),
            (json!({"aud": "Two"}), "audience of the token is none"),
            (json!({"aud": ["two", 3]}), "claim `aud`: holds something"),
            (json!({"aud": {"two": true}}), "claim `aud`: neither"),
            (json!({"exp": null}), "claim `exp` is missing"),
            (json!({"exp": "1800000600"}), "claim `exp`: not a number"),
            (json!({"exp": -1}), "claim `exp`: not a time"),
            (json!({"exp": 1e30}), "claim `exp`: not a time"),
            (json!({"exp": u64::MAX}), "claim `exp`: more than ten years"),
            (json!({"exp": NOW * 1000}), "claim `exp`: more than ten years"),
            (json!({"exp": NOW - SKEW}), "token expired 120 s ago"),
            (json!({"exp": 0}), "token expired"),
            (json!({"nbf": NOW + SKEW + 1}), "token is valid only in 121 s (`nbf`)"),
            (json!({"nbf": "0"}), "claim `nbf`: not a number"),
            (json!({"iat": NOW + SKEW + 1}), "token is valid only in 121 s (`iat`)"),
            (json!({"iat": true}), "claim `iat`: not a number"),
            (json!({"tid": ["acme"]}), "claim `tid`: not a string"),
            (json!({"tid": ""}), "claim `tid`: empty"),
            (json!({"groups": [["x"]]}), "claim `groups`: holds something"),
            (json!({"groups": 1}), "claim `groups`: neither"),
            (json!({"groups": ["a", ""]}), "claim `groups`: empty"),
            (json!({"scope": ["read"]}), "claim `scope`: not a string"),
            (json!({"scope": null, "scp": [1]}), "claim `scp`: holds something"),
            (json!({"events": {"http://schemas.openid.net/event/backchannel-logout": {}}}), "claim `events`"),
            (
                json!({"groups": null, "_claim_names": {"groups": "src1"}}),
                "claim `groups` is not in the token",
            ),
        ] {
            let error = check(&change).expect_err(&change.to_string()).to_string();
            assert!(error.starts_with(expected), "{change}: {error}");
        }
    }

    #[test]
    fn a_tenant_that_is_looked_for_must_be_there() {
        let none = || claims(&json!({"tid": null}));
        let error = rules(&[]).check(none(), NOW).expect_err("no tenant");
        assert_eq!((error.status().as_u16(), error.rule_id()), (403, Some("auth.issuers.claims")));
        assert!(error.reason().contains("the claim tid is missing"), "{}", error.reason());
        assert!(error.to_string().contains("tenant_optional: true") && !error.is_guess(), "{error}");
        let optional = Rules { tenant_optional: true, ..rules(&[]) };
        assert_eq!(optional.check(none(), NOW).expect("optional").principal.tenant, None);
        let named = optional.check(claims(&json!({})), NOW).expect("named").principal;
        assert_eq!(named.tenant.as_deref(), Some("acme"));
        assert!(optional.check(claims(&json!({"tid": 7})), NOW).is_err(), "it is there, and cannot be meant");
    }

    #[test]
    fn a_wrong_audience_is_told_with_the_right_one() {
        let error = check(&json!({"aud": ["three", "four"]})).expect_err("for others").to_string();
        assert!(
            error.ends_with("it is for \"three four\", and here is https://one.example/mcp, two"),
            "{error}"
        );
    }

    #[test]
    fn id_tokens_are_no_access_tokens() {
        let read = |change: &Value, id_tokens| {
            Rules { id_tokens, ..rules(&[]) }.check(claims(change), NOW).map(|verified| verified.principal)
        };
        for (change, mark) in [
            (json!({"nonce": "n"}), "nonce"),
            (json!({"nonce": ""}), "nonce"),
            (json!({"at_hash": "h"}), "at_hash"),
            (json!({"c_hash": "h"}), "c_hash"),
            (json!({"s_hash": "h"}), "s_hash"),
            (json!({"typ": "ID"}), "typ"),
            (json!({"typ": "id"}), "typ"),
        ] {
            assert_eq!(read(&change, false), Err(TokenError::NotAccess { mark }), "{change}");
            assert!(read(&change, true).is_ok(), "{change}");
        }
        for typ in ["Refresh", "Offline", "Logout"] {
            for id_tokens in [false, true] {
                let error = read(&json!({"typ": typ}), id_tokens).expect_err(typ);
                assert_eq!(error, TokenError::NotAccess { mark: "typ" });
            }
        }
        // An old Keycloak's access token, which says that it is one.
        assert!(read(&json!({"typ": "Bearer", "nonce": "n"}), false).is_ok());
    }

    #[test]
    fn a_required_group_is_required() {
        assert!(rules(&["ops", "dev"]).check(claims(&json!({})), NOW).is_ok());
        for change in [json!({"groups": null}), json!({"groups": ["Dev"]}), json!({"groups": []})] {
            let error = rules(&["ops", "dev"]).check(claims(&change), NOW).expect_err("no required group");
            assert!(
                matches!(&error, TokenError::Forbidden { required, .. } if required == &["ops", "dev"]),
                "{error}"
            );
        }
        // A bad token is not told about groups.
        let error = rules(&["ops"]).check(claims(&json!({"exp": 1})), NOW).expect_err("expired");
        assert!(matches!(error, TokenError::Expired { .. }), "{error}");
    }
}
