//! The keys of an issuer (RFC 7517), reduced to those that may verify a token.

use std::sync::Arc;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, ED25519, ParsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;

use super::error::{Quoted, TokenError};
use super::jwt::Unverified;
use crate::config::schema::SignatureAlgorithm;

/// More keys than this in one document are not read.
const MAX_KEYS: usize = 100;
/// Sizes of the modulus in bits: below, RSA is too weak; above, one verification costs too much.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// One key that may verify a token.
#[derive(Debug)]
pub(crate) struct Key {
    id: Option<String>,
    algorithm: SignatureAlgorithm,
    /// The public key's bytes, to recognise an unchanged key after a refresh.
    material: Vec<u8>,
    decoding: DecodingKey,
}

impl Key {
    fn is_same(&self, other: &Self) -> bool {
        self.id == other.id && self.algorithm == other.algorithm && self.material == other.material
    }

    /// Whether the token's signature is by this key.
    fn verifies(&self, token: &Unverified<'_>) -> bool {
        let algorithm = match self.algorithm {
            SignatureAlgorithm::RS256 => Algorithm::RS256,
            SignatureAlgorithm::ES256 => Algorithm::ES256,
            SignatureAlgorithm::EdDSA => Algorithm::EdDSA,
        };
        // An error (a signature of the wrong length, say) is as good as `false`.
        token.algorithm == self.algorithm
            && jsonwebtoken::crypto::verify(
                token.signature,
                token.signed.as_bytes(),
                &self.decoding,
                algorithm,
            )
            .unwrap_or(false)
    }
}

/// The usable keys of an issuer at one time. A changed set has a new generation.
#[derive(Debug, Default)]
pub(crate) struct KeySet {
    /// 0 before the first fetch.
    pub(crate) generation: u64,
    pub(crate) keys: Vec<Arc<Key>>,
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
        /// Whether the token named the key.
        named: bool,
    },
}

impl NoKey {
    /// Whether newer keys could change the answer.
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
    pub(crate) fn verify(&self, token: &Unverified<'_>) -> Result<&Arc<Key>, NoKey> {
        let fits = |key: &&Arc<Key>| {
            key.algorithm == token.algorithm && (token.key_id.is_none() || key.id == token.key_id)
        };
        let named = token.key_id.is_some();
        match self.keys.iter().filter(fits).count() {
            0 => Err(NoKey::Unknown),
            1 => Ok(()),
            // Issuers that give two keys one name exist; a token without a name is another matter.
            _ if named => Ok(()),
            _ => Err(NoKey::Ambiguous),
        }?;
        self.keys.iter().filter(fits).find(|key| key.verifies(token)).ok_or(NoKey::WrongSignature { named })
    }

    /// Whether this very key is (still) in the set.
    pub(crate) fn holds(&self, key: &Arc<Key>) -> bool {
        self.keys.iter().any(|other| Arc::ptr_eq(other, key))
    }

    /// The set after a refresh: keys that did not change stay the same `Arc`, and a set that did not change keeps its
    /// generation, so that verified tokens stay verified.
    pub(crate) fn renewed(&self, fetched: Vec<Key>) -> Self {
        let keys: Vec<Arc<Key>> = fetched
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

/// What a fetched document yields.
#[derive(Debug)]
pub(crate) struct Parsed {
    pub(crate) keys: Vec<Key>,
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

#[derive(Deserialize)]
struct Jwk {
    kty: String,
    #[serde(rename = "use")]
    usage: Option<String>,
    key_ops: Option<Vec<String>>,
    alg: Option<String>,
    kid: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
    d: Option<serde_json::Value>,
}

impl Jwk {
    fn into_key(self, algorithms: &[SignatureAlgorithm]) -> Result<Key, String> {
        if self.usage.as_deref().is_some_and(|usage| usage != "sig") {
            return Err("not for signatures (`use`)".into());
        }
        if self.key_ops.as_ref().is_some_and(|ops| !ops.iter().any(|op| op == "verify")) {
            return Err("not for verifying (`key_ops`)".into());
        }
        let (algorithm, material, decoding) = match (self.kty.as_str(), self.crv.as_deref()) {
            ("RSA", _) => self.rsa()?,
            ("EC", Some("P-256")) => self.p256()?,
            ("OKP", Some("Ed25519")) => self.ed25519()?,
            (kty, crv) => {
                return Err(format!(
                    "key type {} {} is not supported",
                    Quoted::new(kty),
                    crv.unwrap_or_default()
                ));
            }
        };
        if self.d.is_some() {
            return Err("the issuer publishes its private part: anyone can sign with it".into());
        }
        let name = match algorithm {
            SignatureAlgorithm::RS256 => "RS256",
            SignatureAlgorithm::ES256 => "ES256",
            SignatureAlgorithm::EdDSA => "EdDSA",
        };
        // RFC 9864 names the curve instead: the same algorithm for this curve.
        let same_name = |alg: &str| alg == name || (name == "EdDSA" && alg == "Ed25519");
        if let Some(alg) = self.alg.as_deref().filter(|alg| !same_name(alg)) {
            return Err(format!("its algorithm {} is not supported", Quoted::new(alg)));
        }
        if !algorithms.contains(&algorithm) {
            return Err(format!("{name} is not in the issuer's configured `algorithms`"));
        }
        Ok(Key { id: self.kid, algorithm, material, decoding })
    }

    fn rsa(&self) -> Result<(SignatureAlgorithm, Vec<u8>, DecodingKey), String> {
        let modulus = stripped(member("n", self.n.as_deref())?);
        let exponent = stripped(member("e", self.e.as_deref())?);
        let bits = modulus.first().map_or(0, |first| modulus.len() * 8 - first.leading_zeros() as usize);
        if !RSA_BITS.contains(&bits) {
            return Err(format!(
                "RSA modulus of {bits} bits, expected {} to {}",
                RSA_BITS.start(),
                RSA_BITS.end()
            ));
        }
        // With the exponent 1 every text is its own signature; more than 4 bytes only makes verifying slow.
        if exponent.len() > 4 || exponent == [1] || exponent.last().is_none_or(|last| last % 2 == 0) {
            return Err("RSA exponent is not an odd number from 3 to 2^32".into());
        }
        let decoding = DecodingKey::from_rsa_raw_components(&modulus, &exponent);
        let mut material = modulus;
        material.extend_from_slice(&exponent);
        Ok((SignatureAlgorithm::RS256, material, decoding))
    }

    fn p256(&self) -> Result<(SignatureAlgorithm, Vec<u8>, DecodingKey), String> {
        let (x, y) = (member("x", self.x.as_deref())?, member("y", self.y.as_deref())?);
        if x.len() != 32 || y.len() != 32 {
            return Err("coordinates of P-256 are 32 bytes each".into());
        }
        let material = [&[4], x.as_slice(), y.as_slice()].concat();
        ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, &material).map_err(|_| "not a point on P-256")?;
        // The name says DER, the library reads the uncompressed point here as well as in its own constructors.
        let decoding = DecodingKey::from_ec_der(&material);
        Ok((SignatureAlgorithm::ES256, material, decoding))
    }

    fn ed25519(&self) -> Result<(SignatureAlgorithm, Vec<u8>, DecodingKey), String> {
        let material = member("x", self.x.as_deref())?;
        if material.len() != 32 {
            return Err("an Ed25519 key is 32 bytes".into());
        }
        ParsedPublicKey::new(&ED25519, &material).map_err(|_| "not an Ed25519 key")?;
        let decoding = DecodingKey::from_ed_der(&material);
        Ok((SignatureAlgorithm::EdDSA, material, decoding))
    }
}

fn member(name: &str, value: Option<&str>) -> Result<Vec<u8>, String> {
    let text = value.ok_or_else(|| format!("`{name}` is missing"))?;
    URL_SAFE_NO_PAD.decode(text).map_err(|_| format!("`{name}` is not base64url without padding"))
}

/// Without leading zeros, which some issuers send although RFC 7518 section 2 forbids them.
fn stripped(bytes: Vec<u8>) -> Vec<u8> {
    match bytes.iter().position(|byte| *byte != 0) {
        Some(0) | None => bytes,
        Some(first) => bytes[first..].to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::jwt::inspect;
    use super::super::testing::{Signer, b64};
    use super::*;

    const ALL: [SignatureAlgorithm; 3] =
        [SignatureAlgorithm::RS256, SignatureAlgorithm::ES256, SignatureAlgorithm::EdDSA];

    fn with(jwk: &Value, change: &Value) -> Value {
        let mut jwk = jwk.clone();
        for (name, value) in change.as_object().expect("an object") {
            jwk[name] = value.clone();
        }
        jwk
    }

    fn keys(signers: &[&Signer]) -> Vec<Key> {
        let keys: Vec<&Value> = signers.iter().map(|signer| &signer.jwk).collect();
        parse(json!({"keys": keys}).to_string().as_bytes(), &ALL).expect("usable keys").keys
    }

    #[test]
    fn keys_that_may_not_verify_are_left_out_and_the_others_kept() {
        let (rsa, p256, ed) = (Signer::rsa("r"), Signer::p256("p"), Signer::ed25519("e"));
        let bad = [
            (with(&rsa.jwk, &json!({"use": "enc"})), "not for signatures"),
            (with(&rsa.jwk, &json!({"key_ops": ["encrypt"]})), "not for verifying"),
            (with(&rsa.jwk, &json!({"alg": "RS512"})), "\"RS512\" is not supported"),
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
            (with(&p256.jwk, &json!({"crv": "P-384"})), "P-384 is not supported"),
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
