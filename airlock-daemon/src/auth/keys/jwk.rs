//! One public key (RFC 7517 section 4, RFC 7518 section 6, RFC 8037), and whether it may verify a token.

use std::collections::BTreeMap;

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, EcdsaVerificationAlgorithm, ParsedPublicKey,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::DecodingKey;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use crate::auth::algorithm;
use crate::auth::error::Quoted;
use crate::auth::jwt::Unverified;
use crate::config::schema::SignatureAlgorithm;

/// Sizes of the modulus in bits: below, RSA is too weak; above, one verification costs too much.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// One key that may verify a token.
#[derive(Debug)]
pub(crate) struct VerificationKey {
    id: Option<String>,
    /// The algorithms that it may be used with; one, unless it is an RSA key whose issuer does not say.
    algorithms: Vec<SignatureAlgorithm>,
    /// The public key's bytes, to recognise an unchanged key after a refresh.
    material: Vec<u8>,
    decoding: DecodingKey,
}

impl VerificationKey {
    /// True where the token may be by this key: the right algorithm, and no other key named.
    pub(crate) fn fits(&self, token: &Unverified<'_>) -> bool {
        self.algorithms.contains(&token.algorithm) && (token.key_id.is_none() || self.id == token.key_id)
    }

    /// True where it is the same key, published once more.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.id == other.id && self.algorithms == other.algorithms && self.material == other.material
    }

    /// True where the token's signature is by this key.
    pub(crate) fn verifies(&self, token: &Unverified<'_>) -> bool {
        // An error (a signature of the wrong length, say) is as good as `false`.
        self.algorithms.contains(&token.algorithm)
            && jsonwebtoken::crypto::verify(
                token.signature,
                token.signed.as_bytes(),
                &self.decoding,
                algorithm::library(token.algorithm),
            )
            .unwrap_or(false)
    }
}

/// The use of a key, its bytes, and its form for the signature library.
type Material = (&'static [SignatureAlgorithm], Vec<u8>, DecodingKey);

/// One entry of a key document.
#[derive(Deserialize)]
pub(crate) struct Jwk {
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
    /// SHA-256 of the members that make the key, in their canonical form (RFC 7638); none for a type that is
    /// not known. The key itself is judged by [`Jwk::into_key`].
    pub(crate) fn thumbprint(&self) -> Option<[u8; 32]> {
        let members: &[(&str, &Option<String>)] = match self.kty.as_str() {
            "EC" => &[("crv", &self.crv), ("x", &self.x), ("y", &self.y)],
            "OKP" => &[("crv", &self.crv), ("x", &self.x)],
            "RSA" => &[("e", &self.e), ("n", &self.n)],
            _ => return None,
        };
        let mut canonical = BTreeMap::from([("kty", self.kty.as_str())]);
        for (name, value) in members {
            canonical.insert(name, value.as_deref()?);
        }
        Some(Sha256::digest(serde_json::to_vec(&canonical).ok()?).into())
    }

    /// # Errors
    /// Why it may not verify tokens signed with one of `algorithms`.
    pub(crate) fn into_key(self, algorithms: &[SignatureAlgorithm]) -> Result<VerificationKey, String> {
        if self.usage.as_deref().is_some_and(|usage| usage != "sig") {
            return Err("not for signatures (`use`)".into());
        }
        if self.key_ops.as_ref().is_some_and(|ops| !ops.iter().any(|op| op == "verify")) {
            return Err("not for verifying (`key_ops`)".into());
        }
        let (family, material, decoding) = match (self.kty.as_str(), self.crv.as_deref()) {
            ("RSA", _) => self.rsa()?,
            ("EC", Some("P-256")) => self.ec(&[SignatureAlgorithm::ES256], 32, &ECDSA_P256_SHA256_FIXED)?,
            ("EC", Some("P-384")) => self.ec(&[SignatureAlgorithm::ES384], 48, &ECDSA_P384_SHA384_FIXED)?,
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
        let mut usable = family.to_vec();
        if let Some(alg) = self.alg.as_deref() {
            let named = algorithm::of_key(alg).filter(|named| family.contains(named));
            let Some(named) = named else {
                return Err(format!("its algorithm {} is not supported for such a key", Quoted::new(alg)));
            };
            usable = vec![named];
        }
        let wanted: Vec<_> = usable.iter().copied().filter(|one| algorithms.contains(one)).collect();
        if wanted.is_empty() {
            let names: Vec<_> = usable.into_iter().map(algorithm::name).collect();
            return Err(format!("{} is not in the issuer's configured `algorithms`", names.join(" or ")));
        }
        Ok(VerificationKey { id: self.kid, algorithms: wanted, material, decoding })
    }

    fn rsa(&self) -> Result<Material, String> {
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
        Ok((algorithm::RSA, material, decoding))
    }

    fn ec(
        &self,
        family: &'static [SignatureAlgorithm],
        size: usize,
        curve: &'static EcdsaVerificationAlgorithm,
    ) -> Result<Material, String> {
        let (x, y) = (member("x", self.x.as_deref())?, member("y", self.y.as_deref())?);
        let name = self.crv.as_deref().unwrap_or_default();
        if x.len() != size || y.len() != size {
            return Err(format!("coordinates of {name} are {size} bytes each"));
        }
        let material = [&[4], x.as_slice(), y.as_slice()].concat();
        ParsedPublicKey::new(curve, &material).map_err(|_| format!("not a point on {name}"))?;
        // The name says DER, the library reads the uncompressed point here as well as in its own
        // constructors.
        let decoding = DecodingKey::from_ec_der(&material);
        Ok((family, material, decoding))
    }

    fn ed25519(&self) -> Result<Material, String> {
        let material = member("x", self.x.as_deref())?;
        if material.len() != 32 {
            return Err("an Ed25519 key is 32 bytes".into());
        }
        ParsedPublicKey::new(&ED25519, &material).map_err(|_| "not an Ed25519 key")?;
        let decoding = DecodingKey::from_ed_der(&material);
        Ok((&[SignatureAlgorithm::EdDSA], material, decoding))
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
