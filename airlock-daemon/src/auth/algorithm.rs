//! Signature algorithms by their names (RFC 7518 section 3.1, RFC 8037): those with a public key, and no
//! others.

use jsonwebtoken::Algorithm;

use crate::config::schema::SignatureAlgorithm::{
    self, ES256, ES384, EdDSA, PS256, PS384, PS512, RS256, RS384, RS512,
};

/// Those of an RSA key that does not say which one it is for.
pub(crate) const RSA: &[SignatureAlgorithm] = &[RS256, RS384, RS512, PS256, PS384, PS512];
/// All.
pub(crate) const ALL: [SignatureAlgorithm; 9] =
    [RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, EdDSA];

/// The algorithm of an `alg`, letter by letter.
pub(crate) fn of_token(name: &str) -> Option<SignatureAlgorithm> {
    ALL.into_iter().find(|algorithm| self::name(*algorithm) == name)
}

/// The algorithm of a key's `alg`. RFC 9864 names the curve instead of `EdDSA`: the same algorithm for this
/// curve.
pub(crate) fn of_key(name: &str) -> Option<SignatureAlgorithm> {
    if name == "Ed25519" { Some(EdDSA) } else { of_token(name) }
}

/// The name as tokens have it.
pub(crate) fn name(algorithm: SignatureAlgorithm) -> &'static str {
    match algorithm {
        RS256 => "RS256",
        RS384 => "RS384",
        RS512 => "RS512",
        PS256 => "PS256",
        PS384 => "PS384",
        PS512 => "PS512",
        ES256 => "ES256",
        ES384 => "ES384",
        EdDSA => "EdDSA",
    }
}

/// As the signature library calls it.
pub(crate) fn library(algorithm: SignatureAlgorithm) -> Algorithm {
    match algorithm {
        RS256 => Algorithm::RS256,
        RS384 => Algorithm::RS384,
        RS512 => Algorithm::RS512,
        PS256 => Algorithm::PS256,
        PS384 => Algorithm::PS384,
        PS512 => Algorithm::PS512,
        ES256 => Algorithm::ES256,
        ES384 => Algorithm::ES384,
        EdDSA => Algorithm::EdDSA,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        for algorithm in ALL {
            assert_eq!(of_token(name(algorithm)), Some(algorithm));
            assert_eq!(format!("{:?}", library(algorithm)), name(algorithm));
            assert_eq!(serde_json::to_value(algorithm).expect("a name"), name(algorithm));
        }
        for other in ["none", "HS256", "HS384", "HS512", "ES512", "ES256K", "Ed25519", "rs256", "", "RS256 "]
        {
            assert_eq!(of_token(other), None, "{other}");
        }
        assert_eq!(of_key("Ed25519"), Some(EdDSA));
    }
}
