//! To whom a token is bound (RFC 7800): the key of a client's proofs (RFC 9449), its certificate (RFC 8705),
//! or nobody but its bearer. A binding that is not checked is worth nothing, so one that cannot be is
//! refused.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use super::dpop::{Dpop, Request};
use crate::auth::error::{Quoted, TokenError};
use crate::auth::lookup::bad;
use crate::auth::principal::Identity;

/// The claim `cnf` of one token. All that is there must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Binding {
    /// `jkt`: the thumbprint of the key that signs proofs.
    key: Option<[u8; 32]>,
    /// `x5t#S256`: SHA-256 of the client's certificate.
    certificate: Option<[u8; 32]>,
}

/// The credentials that a request shows to be let in. Never shown itself.
#[derive(Clone, Copy)]
pub struct Shown<'a> {
    /// The access token.
    pub token: &'a str,
    /// The proof that came with it where its scheme is `DPoP`; none where it came as a bearer token.
    pub proof: Option<Proof<'a>>,
    /// SHA-256 of the certificate that the client showed on this connection and proved to be its own.
    pub certificate: Option<&'a [u8; 32]>,
}

/// A proof of possession, and the request that it must be about.
#[derive(Clone, Copy)]
pub struct Proof<'a> {
    /// The value of the `DPoP` header; none where there is not exactly one.
    pub jwt: Option<&'a str>,
    /// The method.
    pub method: &'a str,
    /// Scheme, host and port under which clients know this host.
    pub base_url: &'a str,
    /// The path, without the query.
    pub path: &'a str,
}

impl<'a> From<&'a str> for Shown<'a> {
    fn from(token: &'a str) -> Self {
        Self { token, proof: None, certificate: None }
    }
}

impl<'a> From<&'a String> for Shown<'a> {
    fn from(token: &'a String) -> Self {
        token.as_str().into()
    }
}

impl Binding {
    /// Reads `cnf`.
    ///
    /// # Errors
    /// It has a member that is not known here, or none, or one that is not a thumbprint.
    pub(crate) fn of(claims: &Map<String, Value>) -> Result<Self, TokenError> {
        let members = match claims.get("cnf") {
            None => return Ok(Self::default()),
            Some(Value::Object(members)) if !members.is_empty() => members,
            Some(_) => return Err(bad("cnf", "not an object that names a key or a certificate")),
        };
        let mut binding = Self::default();
        for (name, value) in members {
            let place = match name.as_str() {
                "jkt" => &mut binding.key,
                "x5t#S256" => &mut binding.certificate,
                other => return Err(TokenError::UnknownBinding(Quoted::new(other))),
            };
            let text = value.as_str().unwrap_or_default();
            let bytes = URL_SAFE_NO_PAD.decode(text).unwrap_or_default();
            let thumbprint =
                bytes.try_into().map_err(|_| bad("cnf", "holds something that is not a thumbprint"));
            *place = Some(thumbprint?);
        }
        Ok(binding)
    }

    /// Checks that who shows the token of `holder` is the one that it is bound to. A proof that is good is
    /// used up by it.
    ///
    /// # Errors
    /// The scheme is not that of such a token, the certificate is missing or another, or the proof is not
    /// good.
    pub(crate) fn check(
        &self,
        shown: &Shown<'_>,
        holder: &Identity,
        dpop: &Dpop,
        now: u64,
    ) -> Result<(), TokenError> {
        match (self.certificate, shown.certificate) {
            (None, _) => {}
            (Some(_), None) => return Err(TokenError::CertificateMissing),
            (Some(wanted), Some(has)) if wanted == *has => {}
            (Some(_), Some(_)) => return Err(TokenError::WrongCertificate),
        }
        match (self.key, shown.proof) {
            (None, None) => Ok(()),
            (Some(_), None) => Err(TokenError::ProofNeeded),
            (None, Some(_)) => Err(TokenError::NotBound),
            (Some(key), Some(Proof { jwt, method, base_url, path })) => {
                let request = Request { method, base_url, path, token: shown.token, holder };
                dpop.verify(jwt, &key, &request, now).map_err(TokenError::Proof)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::auth::Principal;

    const OTHER: [u8; 32] = [8; 32];

    fn holder() -> Identity {
        Principal::named("alice", None).identity().clone()
    }

    fn binding(cnf: &Value) -> Result<Binding, TokenError> {
        Binding::of(json!({"cnf": cnf}).as_object().expect("an object"))
    }

    #[test]
    fn bindings_that_are_not_known_are_refused() {
        let thumbprint = URL_SAFE_NO_PAD.encode([7; 32]);
        let key = binding(&json!({"jkt": thumbprint})).expect("a key");
        assert_eq!((key.key, key.certificate), (Some([7; 32]), None));
        let both = binding(&json!({"jkt": thumbprint, "x5t#S256": thumbprint})).expect("both");
        assert_eq!((both.key, both.certificate), (Some([7; 32]), Some([7; 32])));
        for cnf in [
            json!({"jwk": {"kty": "EC"}}),
            json!({"jwe": "x"}),
            json!({"kid": "k"}),
            json!({"jku": "https://evil.example"}),
            json!({"x5t": thumbprint}),
            json!({"x5t#s256": thumbprint}),
            json!({"jkt": thumbprint, "kid": "k"}),
        ] {
            let error = binding(&cnf).expect_err("not known");
            assert!(matches!(error, TokenError::UnknownBinding(_)), "{cnf}: {error}");
        }
        for cnf in [
            json!({}),
            json!(null),
            json!("x"),
            json!([]),
            json!({"jkt": 1}),
            json!({"jkt": null}),
            json!({"jkt": ""}),
            json!({"jkt": "abc"}),
            json!({"x5t#S256": format!("{thumbprint}=")}),
            json!({"x5t#S256": format!("{thumbprint}AA")}),
        ] {
            let error = binding(&cnf).expect_err("not a thumbprint");
            assert!(matches!(error, TokenError::BadClaim { .. }), "{cnf}: {error}");
        }
    }

    #[test]
    fn a_certificate_must_be_the_one() {
        let bound = Binding { certificate: Some([7; 32]), key: None };
        let dpop = Dpop::new().expect("random numbers");
        let check = |binding: &Binding, certificate| {
            binding.check(&Shown { certificate, ..Shown::from("token") }, &holder(), &dpop, 0)
        };
        assert_eq!(check(&bound, Some(&[7; 32])), Ok(()));
        assert_eq!(check(&bound, Some(&OTHER)), Err(TokenError::WrongCertificate));
        assert_eq!(check(&bound, None), Err(TokenError::CertificateMissing));
        // Whoever shows one may also bring a token that is nobody's in particular.
        assert_eq!(check(&Binding::default(), Some(&OTHER)), Ok(()));
        let both = Binding { certificate: Some([7; 32]), key: Some([7; 32]) };
        assert_eq!(check(&both, Some(&[7; 32])), Err(TokenError::ProofNeeded));
    }

    #[test]
    fn the_scheme_goes_with_the_token() {
        let dpop = Dpop::new().expect("random numbers");
        let proof = Proof { jwt: Some("x"), method: "POST", base_url: "https://a", path: "/mcp" };
        let shown = Shown { proof: Some(proof), ..Shown::from("token") };
        assert_eq!(Binding::default().check(&shown, &holder(), &dpop, 0), Err(TokenError::NotBound));
        let bound = Binding { key: Some([7; 32]), certificate: None };
        assert_eq!(bound.check(&Shown::from("token"), &holder(), &dpop, 0), Err(TokenError::ProofNeeded));
        assert!(matches!(bound.check(&shown, &holder(), &dpop, 0), Err(TokenError::Proof(_))));
    }
}
