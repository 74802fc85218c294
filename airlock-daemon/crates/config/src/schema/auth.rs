//! `auth`: whose tokens are believed.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::units::Period;

/// `auth`: whose tokens are believed.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Auth {
    /// Trusted identity providers.
    pub issuers: Vec<Issuer>,
    /// Groups of which a principal must have at least one; none required when empty.
    pub required_groups: Vec<String>,
    /// Scopes that every token must have, all of them. Challenges and metadata name them, so that clients
    /// know what to ask for; a token without one is answered with 403 and the whole list.
    pub required_scopes: Vec<String>,
    /// An issuer inside the daemon, for development on loopback only. A release has none and refuses the key.
    pub development_issuer: Option<DevelopmentIssuer>,
}

/// `auth.issuers[]`.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Issuer {
    /// The issuer identifier, https (or http to loopback); discovery starts here.
    pub issuer: String,
    /// Accepted values of `aud`; a token must carry one of them. The URL of the merged endpoint (`…/mcp`)
    /// also admits tokens whose audience is the URL of one upstream's endpoint (`…/mcp/docs`): such a token
    /// is good at that endpoint alone. Any other value is good at all endpoints.
    pub audience: Vec<String>,
    /// How long fetched keys are used before they are fetched again.
    #[serde(default = "Issuer::default_ttl")]
    pub jwks_cache_ttl: Period,
    /// Tolerance for `exp` and `nbf`.
    #[serde(default = "Issuer::default_skew")]
    pub clock_skew: Period,
    /// Signature algorithms that are accepted; `RS256`, `ES256` and `EdDSA` when absent.
    #[serde(default = "Issuer::default_algorithms")]
    pub algorithms: Vec<SignatureAlgorithm>,
    /// Which claims carry what.
    #[serde(default)]
    pub claims: ClaimNames,
    /// Its metadata and keys may also be fetched from private addresses (RFC 1918, unique local, shared,
    /// loopback); without it only from public ones. Link-local, multicast and cloud metadata addresses are
    /// never connected to.
    #[serde(default)]
    pub allow_private_addresses: bool,
    /// Its ID tokens are taken as if they were access tokens. Only for an issuer that has no access tokens
    /// that others can verify; when absent, that is so for `https://accounts.google.com` alone.
    #[serde(default)]
    pub id_tokens: Option<bool>,
}

/// `auth.issuers[].algorithms[]`: asymmetric signatures only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
pub enum SignatureAlgorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    RS256,
    /// RSASSA-PKCS1-v1_5 with SHA-384.
    RS384,
    /// RSASSA-PKCS1-v1_5 with SHA-512.
    RS512,
    /// RSASSA-PSS with SHA-256.
    PS256,
    /// RSASSA-PSS with SHA-384.
    PS384,
    /// RSASSA-PSS with SHA-512.
    PS512,
    /// ECDSA on P-256 with SHA-256.
    ES256,
    /// ECDSA on P-384 with SHA-384.
    ES384,
    /// Ed25519.
    EdDSA,
}

/// `auth.issuers[].claims`: which claims carry what. A name is first looked for as it stands
/// (`https://example.com/groups`), then as a path into nested objects (`realm_access.roles`).
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct ClaimNames {
    /// The claim that names the tenant.
    pub tenant: Option<String>,
    /// A principal without such a claim comes in without a tenant; without this key, a token without the
    /// claim is refused with 403.
    pub tenant_optional: bool,
    /// The claim that lists groups; `groups` when absent.
    pub groups: Option<String>,
}

/// `auth.development_issuer`.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct DevelopmentIssuer {
    /// A loopback address for its discovery, keys and token endpoint.
    pub listen: SocketAddr,
}

impl Issuer {
    /// True where its ID tokens are taken.
    pub fn takes_id_tokens(&self) -> bool {
        self.id_tokens.unwrap_or(self.issuer == "https://accounts.google.com")
    }

    fn default_ttl() -> Period {
        Period::secs(300)
    }

    fn default_skew() -> Period {
        Period::secs(120)
    }

    fn default_algorithms() -> Vec<SignatureAlgorithm> {
        vec![SignatureAlgorithm::RS256, SignatureAlgorithm::ES256, SignatureAlgorithm::EdDSA]
    }
}
