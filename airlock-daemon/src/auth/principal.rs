//! Who is calling, as verified.

use serde::Serialize;

/// The verified bearer of a token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Principal {
    /// The `sub` claim.
    #[serde(rename = "id")]
    pub subject: String,
    /// The tenant, where the issuer's configuration names a claim for it.
    pub tenant: Option<String>,
    /// Groups, in the token's order.
    pub groups: Vec<String>,
    /// Scopes of the `scope` (or `scp`) claim.
    pub scopes: Vec<String>,
    /// The `iss` claim.
    pub issuer: String,
    /// All claims of the token.
    pub claims: serde_json::Map<String, serde_json::Value>,
    /// When the token expires, in seconds since the Unix epoch.
    #[serde(skip)]
    pub expires_at: u64,
}
