//! The caller, as verified.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Serialize;
use sha2::{Digest as _, Sha256};

/// The verified bearer of a token, with what every call would otherwise compute of it anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    bearer: Arc<Bearer>,
    token: Option<Arc<Token>>,
    token_digest: Option<[u8; 32]>,
    identity: Identity,
    digest: [u8; 32],
    facts: Facts,
}

/// The facts in the audit log on a bearer besides name and tenant; made once, shared by all its records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// The issuer.
    pub issuer: Arc<str>,
    /// The groups, in the token's order.
    pub groups: Arc<[Arc<str>]>,
    /// The scopes, in the token's order.
    pub scopes: Arc<[Arc<str>]>,
}

/// A client's own token, kept for what is exchanged for it (RFC 8693). Never shown, logged or sent to a
/// server.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    text: Box<str>,
    digest: [u8; 32],
    expires_at: u64,
}

/// The facts in a token on its bearer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Bearer {
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

/// The identity that two tokens of one principal share: what is bound to one is worthless to all others.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Identity(Arc<(String, Option<String>, String)>);

impl Deref for Principal {
    type Target = Bearer;

    fn deref(&self) -> &Bearer {
        &self.bearer
    }
}

impl Principal {
    /// The principal of a verified token.
    pub fn new(bearer: Bearer) -> Self {
        let identity =
            Identity(Arc::new((bearer.issuer.clone(), bearer.tenant.clone(), bearer.subject.clone())));
        // Strings, numbers and maps of them: nothing in it can fail to be written.
        let digest = Sha256::digest(serde_json::to_vec(&bearer).unwrap_or_default()).into();
        let shared = |names: &[String]| names.iter().map(|name| Arc::from(name.as_str())).collect();
        let facts = Facts {
            issuer: bearer.issuer.as_str().into(),
            groups: shared(&bearer.groups),
            scopes: shared(&bearer.scopes),
        };
        Self { bearer: Arc::new(bearer), token: None, token_digest: None, identity, digest, facts }
    }

    /// The same for a token whose SHA-256 is `digest`.
    #[must_use]
    pub(crate) fn of_token(self, digest: [u8; 32]) -> Self {
        Self { token_digest: Some(digest), ..self }
    }

    /// SHA-256 of the token that says so.
    pub fn token_digest(&self) -> Option<&[u8; 32]> {
        self.token_digest.as_ref()
    }

    /// The same with the token that says so, whose SHA-256 is `digest`: for one request, and for what it
    /// begins.
    #[must_use]
    pub(crate) fn with_token(&self, text: &str, digest: [u8; 32]) -> Self {
        let token = Token { text: text.into(), digest, expires_at: self.bearer.expires_at };
        Self { token: Some(Arc::new(token)), ..self.clone() }
    }

    /// The token that says so, where something is exchanged for it.
    pub fn token(&self) -> Option<&Arc<Token>> {
        self.token.as_ref()
    }

    /// The facts on it that go on record.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// SHA-256 of all that a policy may read of the principal: two with the same digest are the same to it.
    pub fn digest(&self) -> &[u8; 32] {
        &self.digest
    }

    /// How long its token is good for; nothing when it has expired.
    pub fn life_left(&self) -> Duration {
        life_left(self.expires_at)
    }

    /// The owner of the token.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }
}

impl Token {
    /// The token itself.
    pub(crate) fn expose(&self) -> &str {
        &self.text
    }

    /// SHA-256 of the token.
    pub(crate) fn digest(&self) -> &[u8; 32] {
        &self.digest
    }

    /// How long it is good for; nothing when it has expired.
    pub(crate) fn life_left(&self) -> Duration {
        life_left(self.expires_at)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token")
    }
}

fn life_left(expires_at: u64) -> Duration {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Duration::from_secs(expires_at).saturating_sub(now)
}

impl Identity {
    /// The tenant.
    pub fn tenant(&self) -> Option<&str> {
        self.0.1.as_deref()
    }

    /// The issuer.
    pub fn issuer(&self) -> &str {
        &self.0.0
    }

    /// The subject.
    pub fn subject(&self) -> &str {
        &self.0.2
    }

    /// As bytes that no other identity has.
    pub fn bytes(&self) -> Vec<u8> {
        let (issuer, tenant, subject) = &*self.0;
        serde_json::to_vec(&(issuer, tenant, subject)).unwrap_or_default()
    }
}

#[cfg(test)]
impl Principal {
    /// One for a test: of this name, and with nothing else.
    pub(crate) fn named(subject: &str, tenant: Option<&str>) -> Self {
        Self::new(Bearer {
            subject: subject.into(),
            tenant: tenant.map(Into::into),
            groups: vec![],
            scopes: vec![],
            issuer: "https://idp".into(),
            claims: serde_json::Map::new(),
            expires_at: 0,
        })
    }
}
