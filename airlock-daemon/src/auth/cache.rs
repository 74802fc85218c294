//! Verified tokens, so that a token is verified once and not with each call.
//!
//! The key is the token's SHA-256: whoever reads this memory learns no token, and two tokens with one digest
//! do not exist. Refusals are never stored, so that a flood of bad tokens cannot push good ones out.

use std::sync::Arc;

use quick_cache::sync::Cache;
use sha2::{Digest as _, Sha256};

use super::audience::Reach;
use super::keys::jwk::VerificationKey;
use super::keys::jwks::KeySet;
use super::principal::Principal;
use super::proof::binding::Binding;

/// How many tokens are remembered, in the whole process.
pub(crate) const CAPACITY: usize = 10_000;

/// A verified token.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) principal: Arc<Principal>,
    /// Where the token is good.
    pub(crate) reach: Reach,
    /// To whom it is bound: remembered, and checked with each request.
    pub(crate) binding: Binding,
    /// Which issuer, as an index into the authenticator's list.
    pub(crate) issuer: usize,
    /// The generation of the issuer's keys at verification.
    pub(crate) generation: u64,
    /// The key that verified it.
    pub(crate) key: Arc<VerificationKey>,
    /// The first second (since the Unix epoch) in which the token is refused.
    pub(crate) until: u64,
}

impl Entry {
    /// True where the token would be accepted again: not expired, and its key still published.
    pub(crate) fn holds(&self, keys: &KeySet, now: u64) -> bool {
        now < self.until && (self.generation == keys.generation || keys.holds(&self.key))
    }
}

/// The SHA-256 of a token.
pub(crate) type Digest = [u8; 32];

/// The key by which a token is remembered.
pub(crate) fn digest(token: &str) -> Digest {
    Sha256::digest(token).into()
}

/// A bounded map from the digests of tokens to what they were verified as.
#[derive(Debug)]
pub(crate) struct TokenCache(Cache<Digest, Arc<Entry>>);

impl TokenCache {
    pub(crate) fn new(capacity: usize) -> Self {
        Self(Cache::new(capacity))
    }

    pub(crate) fn get(&self, token: &Digest) -> Option<Arc<Entry>> {
        self.0.get(token)
    }

    pub(crate) fn insert(&self, token: Digest, entry: Arc<Entry>) {
        self.0.insert(token, entry);
    }

    pub(crate) fn remove(&self, token: &Digest) {
        self.0.remove(token);
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::principal::Bearer;
    use super::super::testing::Signer;
    use super::*;
    use crate::auth::keys::jwks;
    use crate::config::schema::SignatureAlgorithm;

    fn key_set(old: &KeySet, signer: &Signer) -> KeySet {
        let document = json!({"keys": [signer.jwk]}).to_string();
        let parsed = jwks::parse(document.as_bytes(), &[SignatureAlgorithm::EdDSA]).expect("a usable key");
        old.renewed(parsed.keys)
    }

    fn entry(keys: &KeySet, until: u64) -> Entry {
        let principal = Principal::new(Bearer {
            subject: "alice".into(),
            tenant: None,
            groups: vec![],
            scopes: vec![],
            issuer: "https://idp.example".into(),
            claims: serde_json::Map::new(),
            expires_at: until,
        });
        let key = Arc::clone(&keys.keys[0]);
        let (principal, reach) = (Arc::new(principal), Reach::Everywhere);
        let binding = Binding::default();
        Entry { principal, reach, binding, issuer: 0, generation: keys.generation, key, until }
    }

    #[test]
    fn an_entry_holds_until_it_expires_or_its_key_goes() {
        let (one, two) = (Signer::ed25519("one"), Signer::ed25519("two"));
        let keys = key_set(&KeySet::default(), &one);
        let entry = entry(&keys, 1000);
        assert!(entry.holds(&keys, 999));
        assert!(!entry.holds(&keys, 1000));
        assert!(entry.holds(&key_set(&keys, &one), 999));
        assert!(!entry.holds(&key_set(&keys, &two), 999));
    }

    #[test]
    fn the_whole_token_is_the_key_and_the_number_is_bounded() {
        let keys = key_set(&KeySet::default(), &Signer::ed25519("one"));
        let cache = TokenCache::new(100);
        for number in 0..10_000 {
            cache.insert(digest(&format!("header.payload.{number}")), Arc::new(entry(&keys, 1000)));
        }
        assert!(cache.len() <= 100, "{}", cache.len());
        let known = digest("header.payload.signature");
        cache.insert(known, Arc::new(entry(&keys, 1000)));
        assert!(cache.get(&known).is_some());
        for other in ["header.payload.signaturE", "header.payload.signatur", "header.payload.signature ", ""]
        {
            assert!(cache.get(&digest(other)).is_none(), "{other}");
        }
        cache.remove(&known);
        assert!(cache.get(&known).is_none());
    }
}
