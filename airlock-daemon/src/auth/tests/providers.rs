//! The claims of well-known providers' tokens, with the configuration that reads them. The claims have the
//! shapes that the providers document; names and numbers are made up.

use serde_json::{Map, Value};

use super::super::claims::Rules;
use super::super::principal::Bearer;
use super::super::*;

const NOW: u64 = 1_800_000_100;

fn read(config: &str, claims: &str) -> Result<Bearer, TokenError> {
    let issuer: schema::Issuer = serde_json::from_str(config).expect("a configuration");
    let rules = Rules::new(&issuer, &schema::Auth::default(), super::BASE);
    let claims: Map<String, Value> = serde_json::from_str(claims).expect("claims");
    rules.check(claims, NOW).map(|verified| (*verified.principal).clone())
}

/// Subject, tenant, groups, scopes.
type Expected = (&'static str, Option<&'static str>, &'static [&'static str], &'static [&'static str]);

const TENANT: &str = "72f988bf-86f1-41af-91ab-2d7cd011db47";
const PAIRWISE: &str = "HKZpfaHyWadeOouYlitjrI-KffTm222X5rrV3xDqfKQ";

/// The name of the case, `auth.issuers[]`, the claims, and the principal.
const CASES: &[(&str, &str, &str, Expected)] = &[
    (
        "Okta: scopes are an array; a custom authorization server adds groups",
        r#"{"issuer": "https://acme.okta.com/oauth2/default", "audience": ["api://airlock"]}"#,
        include_str!("../testdata/providers/okta.json"),
        ("alice@acme.example", None, &["Everyone", "mcp.users"], &["openid", "mcp:use"]),
    ),
    (
        "Auth0: an action adds claims, whose names must be URLs",
        r#"{"issuer": "https://acme.eu.auth0.com/", "audience": ["https://airlock.example/mcp"],
                "claims": {"tenant": "https://acme.example/tenant", "groups": "https://acme.example/groups"}}"#,
        include_str!("../testdata/providers/auth0.json"),
        ("auth0|5f7c8ec7c33c6c004bbafe82", Some("acme"), &["mcp.users"], &["openid", "profile", "mcp:use"]),
    ),
    (
        "Auth0: an organisation as the tenant, permissions as groups",
        r#"{"issuer": "https://acme.eu.auth0.com/", "audience": ["https://airlock.example/mcp"],
                "claims": {"tenant": "org_id", "groups": "permissions"}}"#,
        include_str!("../testdata/providers/auth0.json"),
        ("auth0|5f7c8ec7c33c6c004bbafe82", Some("org_acme"), &["mcp:use"], &["openid", "profile", "mcp:use"]),
    ),
    (
        "Entra ID, version 1: groups are ids",
        r#"{"issuer": "https://sts.windows.net/72f988bf-86f1-41af-91ab-2d7cd011db47/", "audience": ["api://airlock"],
                "claims": {"tenant": "tid"}}"#,
        include_str!("../testdata/providers/entra_v1.json"),
        (
            PAIRWISE,
            Some(TENANT),
            &["9a31e1a0-3f5c-4c5e-9d1b-0f6a2f0a4b11"],
            &["mcp.use", "user_impersonation"],
        ),
    ),
    (
        "Entra ID, version 2: application roles as groups",
        r#"{"issuer": "https://login.microsoftonline.com/72f988bf-86f1-41af-91ab-2d7cd011db47/v2.0",
                "audience": ["6e74172b-be56-4843-9ff4-e66a39bb12e3"], "claims": {"tenant": "tid", "groups": "roles"}}"#,
        include_str!("../testdata/providers/entra_v2.json"),
        (PAIRWISE, Some(TENANT), &["mcp.users"], &["mcp.use"]),
    ),
    (
        "Entra ID, too many groups, which do not matter where roles are read",
        r#"{"issuer": "https://login.microsoftonline.com/72f988bf-86f1-41af-91ab-2d7cd011db47/v2.0",
                "audience": ["6e74172b-be56-4843-9ff4-e66a39bb12e3"], "claims": {"tenant": "tid", "groups": "roles"}}"#,
        include_str!("../testdata/providers/entra_v2_overage.json"),
        (PAIRWISE, Some(TENANT), &["mcp.users"], &["mcp.use"]),
    ),
    (
        "Keycloak: roles of the realm, nested",
        r#"{"issuer": "https://keycloak.example/realms/acme", "audience": ["https://airlock.example/mcp"],
                "claims": {"tenant": "organization.tenant", "groups": "realm_access.roles"}}"#,
        include_str!("../testdata/providers/keycloak.json"),
        (
            "f:8d3f0c1e:alice",
            Some("acme"),
            &["offline_access", "uma_authorization", "mcp.users"],
            &["openid", "profile", "mcp:use"],
        ),
    ),
    (
        "Keycloak: roles of a client",
        r#"{"issuer": "https://keycloak.example/realms/acme", "audience": ["https://airlock.example/mcp"],
                "claims": {"groups": "resource_access.account.roles"}}"#,
        include_str!("../testdata/providers/keycloak.json"),
        ("f:8d3f0c1e:alice", None, &["manage-account", "view-profile"], &["openid", "profile", "mcp:use"]),
    ),
    (
        "Google: an ID token, the hosted domain as the tenant",
        r#"{"issuer": "https://accounts.google.com", "audience": ["407408718192.apps.googleusercontent.com"],
                "claims": {"tenant": "hd"}}"#,
        include_str!("../testdata/providers/google.json"),
        ("110169484474386276334", Some("acme.example"), &[], &[]),
    ),
];

#[test]
fn tokens_of_well_known_providers_are_read() {
    for (name, config, claims, expected) in CASES {
        let bearer = read(config, claims).expect(name);
        let (subject, tenant, groups, scopes) = expected;
        assert_eq!((bearer.subject.as_str(), bearer.tenant.as_deref()), (*subject, *tenant), "{name}");
        assert_eq!((bearer.groups, bearer.scopes), (strings(groups), strings(scopes)), "{name}");
        // All else is there for the policy.
        let all: Map<String, Value> = serde_json::from_str(claims).expect("claims");
        assert_eq!(bearer.claims, all, "{name}");
    }
}

fn strings(words: &[&str]) -> Vec<String> {
    words.iter().map(ToString::to_string).collect()
}

#[test]
fn too_many_groups_are_not_no_groups() {
    let config = r#"{"issuer": "https://login.microsoftonline.com/72f988bf-86f1-41af-91ab-2d7cd011db47/v2.0",
        "audience": ["6e74172b-be56-4843-9ff4-e66a39bb12e3"], "claims": {"tenant": "tid"}}"#;
    let error =
        read(config, include_str!("../testdata/providers/entra_v2_overage.json")).expect_err("overage");
    assert_eq!((error.status().as_u16(), error.rule_id()), (403, Some("auth.issuers.claims")));
    assert!(
        error.to_string().contains("application roles") && error.reason().contains("too many"),
        "{error}"
    );
}

#[test]
fn a_path_that_leads_nowhere_it_could_is_refused() {
    let config = r#"{"issuer": "https://keycloak.example/realms/acme", "audience": ["https://airlock.example/mcp"],
        "claims": {"groups": "typ.roles"}}"#;
    let error =
        read(config, include_str!("../testdata/providers/keycloak.json")).expect_err("`typ` is a string");
    assert!(matches!(error, TokenError::BadClaim { .. }), "{error}");
}
