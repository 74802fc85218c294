//! The keys of an issuer (RFC 7517 section 5), reduced to those that may verify a token.

use std::sync::Arc;

use serde::Deserialize;

use super::jwk::{Jwk, VerificationKey};
use crate::auth::error::{Quoted, TokenError};
use crate::auth::jwt::Unverified;
use crate::config::schema::SignatureAlgorithm;

/// More keys than this in one document are not read.
const MAX_KEYS: usize = 100;

/// The usable keys of an issuer at one time. A changed set has a new generation.
#[derive(Debug, Default)]
pub(crate) struct KeySet {
    /// 0 before the first fetch.
    pub(crate) generation: u64,
    pub(crate) keys: Vec<Arc<VerificationKey>>,
}

/// Why no key of a set verified a token.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NoKey {
    /// None fits; the issuer may have a newer one.
    Unknown,
    /// Several fit and the token names none.
    Ambiguous,
    /// The one that fits says no. Where the token names no key, the issuer may have a newer one.
    WrongSignature {
        /// True where the token named the key.
        named: bool,
    },
}

impl NoKey {
    /// True where newer keys could change the answer.
    pub(crate) fn may_be_outdated(&self) -> bool {
        matches!(self, Self::Unknown | Self::WrongSignature { named: false })
    }

    pub(crate) fn into_error(self, issuer: &str, token: &Unverified<'_>) -> TokenError {
        let issuer = issuer.to_owned();
        match self {
            Self::Unknown => TokenError::UnknownKey {
                issuer,
                key_id: Quoted::new(token.key_id.as_deref().unwrap_or("(no kid)")),
            },
            Self::Ambiguous => TokenError::MissingKeyId { issuer },
            Self::WrongSignature { .. } => TokenError::BadSignature { issuer },
        }
    }
}

impl KeySet {
    /// The key that signed the token.
    pub(crate) fn verify(&self, token: &Unverified<'_>) -> Result<&Arc<VerificationKey>, NoKey> {
        let fitting = || self.keys.iter().filter(|key| key.fits(token));
        let named = token.key_id.is_some();
        match fitting().count() {
            0 => return Err(NoKey::Unknown),
            1 => {}
            // Issuers that give two keys one name exist; a token without a name is another matter.
            _ if named => {}
            _ => return Err(NoKey::Ambiguous),
        }
        fitting().find(|key| key.verifies(token)).ok_or(NoKey::WrongSignature { named })
    }

    /// True where this very key is (still) in the set.
    pub(crate) fn holds(&self, key: &Arc<VerificationKey>) -> bool {
        self.keys.iter().any(|other| Arc::ptr_eq(other, key))
    }

    /// The set after a refresh: keys that did not change stay the same `Arc`, and a set that did not change
    /// keeps its generation, so that verified tokens stay verified.
    pub(crate) fn renewed(&self, fetched: Vec<VerificationKey>) -> Self {
        let keys: Vec<Arc<VerificationKey>> = fetched
            .into_iter()
            .map(|key| match self.keys.iter().find(|old| old.is_same(&key)) {
                Some(old) => Arc::clone(old),
                None => Arc::new(key),
            })
            .collect();
        let unchanged =
            self.generation > 0 && keys.len() == self.keys.len() && keys.iter().all(|key| self.holds(key));
        Self { generation: self.generation + u64::from(!unchanged), keys }
    }
}

/// The keys of a fetched document.
#[derive(Debug)]
pub(crate) struct Parsed {
    pub(crate) keys: Vec<VerificationKey>,
    /// Why others were left out, for the log.
    pub(crate) ignored: Vec<String>,
}

/// Reads a JWK set. Only keys for one of `algorithms` are kept; there must be at least one.
pub(crate) fn parse(document: &[u8], algorithms: &[SignatureAlgorithm]) -> Result<Parsed, String> {
    #[derive(Deserialize)]
    struct Set {
        keys: Vec<serde_json::Value>,
    }
    let set: Set = serde_json::from_slice(document)
        .map_err(|error| format!("the key document is not a JWK set: {error}"))?;
    if set.keys.len() > MAX_KEYS {
        return Err(format!("the key document lists {} keys, at most {MAX_KEYS} are read", set.keys.len()));
    }
    let mut parsed = Parsed { keys: Vec::new(), ignored: Vec::new() };
    for (index, value) in set.keys.into_iter().enumerate() {
        let id = value.get("kid").and_then(serde_json::Value::as_str).map(Quoted::new);
        match serde_json::from_value::<Jwk>(value)
            .map_err(|error| error.to_string())
            .and_then(|jwk| jwk.into_key(algorithms))
        {
            Ok(key) => parsed.keys.push(key),
            Err(problem) => parsed.ignored.push(match id {
                Some(id) => format!("key {id}: {problem}"),
                None => format!("key number {}: {problem}", index + 1),
            }),
        }
    }
    if parsed.keys.is_empty() {
        return Err(format!("the key document has no usable key ({})", parsed.ignored.join("; ")));
    }
    Ok(parsed)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::auth::jwt::inspect;
    use crate::auth::testing::{Signer, b64};

    const ALL: [SignatureAlgorithm; 3] =
        [SignatureAlgorithm::RS256, SignatureAlgorithm::ES256, SignatureAlgorithm::EdDSA];

    fn with(jwk: &Value, change: &Value) -> Value {
        let mut jwk = jwk.clone();
        for (name, value) in change.as_object().expect("an object") {
            jwk[name] = value.clone();
        }
        jwk
    }

    fn keys(signers: &[&Signer]) -> Vec<VerificationKey> {
        let keys: Vec<&Value> = signers.iter().map(|signer| &signer.jwk).collect();
        parse(json!({"keys": keys}).to_string().as_bytes(), &ALL).expect("usable keys").keys
    }

    #[test]
    fn keys_that_may_not_verify_are_left_out_and_the_others_kept() {
        let (rsa, p256, ed) = (Signer::rsa("r"), Signer::p256("p"), Signer::ed25519("e"));
        let bad = [
            (with(&rsa.jwk, &json!({"use": "enc"})), "not for signatures"),
            (with(&rsa.jwk, &json!({"key_ops": ["encrypt"]})), "not for verifying"),
            (with(&rsa.jwk, &json!({"alg": "RS512"})), "RS512 is not in the issuer's configured"),
            (with(&rsa.jwk, &json!({"alg": "ES256"})), "\"ES256\" is not supported"),
            (with(&rsa.jwk, &json!({"alg": "none"})), "\"none\" is not supported"),
            (with(&rsa.jwk, &json!({"alg": "HS256"})), "\"HS256\" is not supported"),
            (with(&rsa.jwk, &json!({"n": b64([0xff; 128])})), "modulus of 1024 bits"),
            (with(&rsa.jwk, &json!({"n": b64([[0; 128], [0xff; 128]].concat())})), "modulus of 1024 bits"),
            (with(&rsa.jwk, &json!({"n": b64([0x7f; 256])})), "modulus of 2047 bits"),
            (with(&rsa.jwk, &json!({"n": b64([0xff; 2048])})), "modulus of 16384 bits"),
            (with(&rsa.jwk, &json!({"n": ""})), "modulus of 0 bits"),
            (with(&rsa.jwk, &json!({"e": b64([1])})), "exponent"),
            (with(&rsa.jwk, &json!({"e": b64([0, 0, 1])})), "exponent"),
            (with(&rsa.jwk, &json!({"e": b64([1, 0, 0])})), "exponent"),
            (with(&rsa.jwk, &json!({"e": b64([0])})), "exponent"),
            (with(&rsa.jwk, &json!({"e": ""})), "exponent"),
            (with(&rsa.jwk, &json!({"e": b64([1, 0, 0, 0, 1])})), "exponent"),
            (with(&rsa.jwk, &json!({"n": "not base64!"})), "`n` is not base64url"),
            (with(&rsa.jwk, &json!({"d": "AQAB"})), "private part"),
            (with(&p256.jwk, &json!({"crv": "P-384"})), "coordinates of P-384 are 48 bytes"),
            (with(&p256.jwk, &json!({"alg": "ES384"})), "\"ES384\" is not supported"),
            (with(&p256.jwk, &json!({"crv": "P-521"})), "P-521 is not supported"),
            (Signer::p384("q").jwk, "ES384 is not in the issuer's configured"),
            (with(&p256.jwk, &json!({"crv": "secp256k1"})), "not supported"),
            (with(&p256.jwk, &json!({"x": b64([1; 32])})), "not a point"),
            (with(&p256.jwk, &json!({"x": b64([1; 31])})), "32 bytes"),
            (with(&ed.jwk, &json!({"crv": "Ed448"})), "not supported"),
            (with(&ed.jwk, &json!({"crv": "X25519"})), "not supported"),
            (with(&ed.jwk, &json!({"x": b64([1; 33])})), "32 bytes"),
            (with(&ed.jwk, &json!({"x": 7})), "expected a string"),
            (json!({"kty": "oct", "k": b64([7; 32]), "kid": "o", "alg": "HS256"}), "\"oct\""),
            (json!({"kty": "RSA"}), "`n` is missing"),
            (json!({}), "kty"),
            (json!("key"), "expected"),
        ];
        for (jwk, expected) in &bad {
            let document = json!({"keys": [jwk, p256.jwk]}).to_string();
            let parsed = parse(document.as_bytes(), &ALL).expect("the good key");
            assert_eq!((parsed.keys.len(), parsed.ignored.len()), (1, 1), "{jwk}");
            assert!(parsed.ignored[0].contains(expected), "{jwk}: {}", parsed.ignored[0]);
        }
        for good in [
            with(&rsa.jwk, &json!({"use": null, "alg": null, "kid": null})),
            with(&ed.jwk, &json!({"alg": "EdDSA"})),
            with(&ed.jwk, &json!({"alg": "Ed25519", "key_ops": ["verify"]})),
            with(&p256.jwk, &json!({"alg": "ES256", "x5t": "ignored"})),
        ] {
            assert!(parse(json!({"keys": [good]}).to_string().as_bytes(), &ALL).is_ok(), "{good}");
        }
    }

    #[test]
    fn documents_that_are_no_key_sets_are_refused() {
        let ed = Signer::ed25519("e");
        let many = json!({"keys": vec![&ed.jwk; MAX_KEYS + 1]}).to_string();
        for document in
            ["", "[]", "{}", r#"{"keys":{}}"#, r#"{"keys":[]}"#, r#"{"keys":[],"keys":[]}"#, &many]
        {
            assert!(parse(document.as_bytes(), &ALL).is_err(), "{document}");
        }
        let one = json!({"keys": [ed.jwk]}).to_string();
        let error = parse(one.as_bytes(), &[SignatureAlgorithm::RS256]).expect_err("not configured");
        assert!(error.contains("EdDSA is not in the issuer's configured"), "{error}");
    }

    #[test]
    fn a_renewed_set_recognises_what_did_not_change() {
        let (one, two) = (Signer::ed25519("one"), Signer::ed25519("two"));
        let first = KeySet::default().renewed(keys(&[&one]));
        assert_eq!(first.generation, 1);
        let same = first.renewed(keys(&[&one]));
        assert_eq!(same.generation, 1);
        assert!(same.holds(&first.keys[0]));
        let more = same.renewed(keys(&[&two, &one]));
        assert_eq!(more.generation, 2);
        assert!(more.holds(&first.keys[0]));
        let fewer = more.renewed(keys(&[&two]));
        assert_eq!(fewer.generation, 3);
        assert!(!fewer.holds(&first.keys[0]));
        // The same name for another key is another key.
        let impostor = first.renewed(keys(&[&Signer::ed25519("one")]));
        assert_eq!(impostor.generation, 2);
        assert!(!impostor.holds(&first.keys[0]));
    }

    #[test]
    fn two_keys_of_one_name_are_both_tried() {
        let (one, two) = (Signer::p256("same"), Signer::p256("same"));
        let set = KeySet::default().renewed(keys(&[&one, &two]));
        for signer in [&one, &two] {
            let token = signer.sign(&json!({}));
            assert!(set.verify(&inspect(&token).expect("well formed")).is_ok());
        }
        let token = Signer::p256("same").sign(&json!({}));
        let failure = set.verify(&inspect(&token).expect("well formed")).expect_err("a third key");
        assert_eq!(failure, NoKey::WrongSignature { named: true });
        assert!(!failure.may_be_outdated());
    }
}
