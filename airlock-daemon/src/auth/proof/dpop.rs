//! Proofs of possession (RFC 9449): a client shows with each request that it holds the key to which its token
//! is bound.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac::{self, HMAC_SHA256};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::Uri;
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use super::replay::{Replay, Seen};
use crate::auth::jwt::Unverified;
use crate::auth::keys::jwk::Jwk;
use crate::auth::principal::Identity;
use crate::auth::proof_error::{ProofError, WINDOW_SECS};
use crate::auth::{AuthSetupError, algorithm, jwt};

/// Longer proofs are refused before anything is decoded.
const MAX_PROOF_BYTES: usize = 8 * 1024;
/// Longest `jti` in bytes.
const MAX_ID_BYTES: usize = 256;
/// How long one nonce is given out, in seconds; it is taken as long again.
const NONCE_SECS: u64 = 120;
/// Bytes of the time in a nonce.
const TIME: usize = 8;
/// Bytes of the code behind it.
const CODE: usize = 16;

/// Header members that are refused (RFC 7515 section 4.1, RFC 7797): they change how a proof is to be read,
/// or name another key.
const REFUSED_MEMBERS: [&str; 6] = ["crit", "b64", "jku", "x5u", "x5c", "x5t"];
/// Members of a key that nobody else may know (RFC 7518 section 6).
const PRIVATE_MEMBERS: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

/// The request that a proof must be about.
#[derive(Clone, Copy)]
pub(crate) struct Request<'a> {
    pub(crate) method: &'a str,
    pub(crate) base_url: &'a str,
    pub(crate) path: &'a str,
    pub(crate) token: &'a str,
    /// The owner of the token.
    pub(crate) holder: &'a Identity,
}

/// Judges proofs: knows the nonces that it gave out, and the proofs that it has seen.
#[derive(Debug)]
pub(crate) struct Dpop {
    /// It belongs to this process alone: what an earlier one has seen is known to nobody, and its nonces are
    /// not taken.
    key: hmac::Key,
    replay: Replay,
}

impl Dpop {
    /// # Errors
    /// The kernel has no random numbers.
    pub(crate) fn new() -> Result<Self, AuthSetupError> {
        let mut secret = [0; 32];
        getrandom::fill(&mut secret).map_err(|error| AuthSetupError::Random(error.to_string()))?;
        let key = hmac::Key::new(HMAC_SHA256, &secret);
        Ok(Self { key, replay: Replay::default() })
    }

    /// The nonce that proofs must have from now on (RFC 9449 section 9). It needs no memory: it is the time,
    /// and a code that nobody else can make.
    pub(crate) fn nonce(&self, now: u64) -> String {
        self.nonce_of(now / NONCE_SECS)
    }

    fn nonce_of(&self, turn: u64) -> String {
        let time = turn.to_be_bytes();
        let tag = hmac::sign(&self.key, &time);
        let code = tag.as_ref().get(..CODE).unwrap_or_default();
        URL_SAFE_NO_PAD.encode([&time, code].concat())
    }

    fn is_nonce(&self, nonce: &str, now: u64) -> bool {
        let turn = now / NONCE_SECS;
        let Ok(bytes) = URL_SAFE_NO_PAD.decode(nonce) else { return false };
        let Some((time, _)) = bytes.split_first_chunk::<TIME>() else { return false };
        let given = u64::from_be_bytes(*time);
        (given == turn || given.checked_add(1) == Some(turn))
            && verify_slices_are_equal(nonce.as_bytes(), self.nonce_of(given).as_bytes()).is_ok()
    }

    /// Judges the proof of a request with a token that is bound to the key of this thumbprint. A good one is
    /// used up.
    ///
    /// # Errors
    /// The first check that fails (RFC 9449 section 4.3).
    pub(crate) fn verify(
        &self,
        proof: Option<&str>,
        thumbprint: &[u8; 32],
        request: &Request<'_>,
        now: u64,
    ) -> Result<(), ProofError> {
        let proof = proof.ok_or(ProofError::Missing)?;
        let malformed = |problem: &str| ProofError::Malformed(problem.to_owned());
        if proof.len() > MAX_PROOF_BYTES {
            return Err(malformed("it is too large"));
        }
        let form = |error: crate::auth::TokenError| ProofError::Malformed(error.to_string());
        let parts = jwt::split(proof).map_err(form)?;
        let header = jwt::json("header", parts.header).map_err(form)?;
        if let Some(member) = REFUSED_MEMBERS.iter().find(|member| header.contains_key(**member)) {
            return Err(ProofError::Malformed(format!("`{member}` is not accepted")));
        }
        if header.get("typ").and_then(Value::as_str).is_none_or(|typ| !jwt::is_of_type(typ, "dpop+jwt")) {
            return Err(malformed("`typ` is not `dpop+jwt`"));
        }
        let named = header.get("alg").and_then(Value::as_str).and_then(algorithm::of_token);
        let algorithm = named.ok_or_else(|| malformed("`alg` is no asymmetric algorithm that is known"))?;
        let jwk =
            header.get("jwk").filter(|jwk| jwk.is_object()).ok_or_else(|| malformed("`jwk` is missing"))?;
        if PRIVATE_MEMBERS.iter().any(|member| jwk.get(member).is_some()) {
            return Err(malformed("`jwk` has private parts"));
        }
        let jwk: Jwk = serde_json::from_value(jwk.clone()).map_err(|_| malformed("`jwk` is not a key"))?;
        let has = jwk.thumbprint().ok_or_else(|| malformed("`jwk` is of a type that is not known"))?;
        if has != *thumbprint {
            return Err(ProofError::WrongKey);
        }
        let key = jwk.into_key(&[algorithm]).map_err(ProofError::Malformed)?;
        let claims = jwt::json("payload", parts.payload).map_err(form)?;
        let id = text(&claims, "jti")?;
        if id.is_empty() || id.len() > MAX_ID_BYTES {
            return Err(malformed("`jti` is empty or too long"));
        }
        about(&claims, request)?;
        let made = made_at(&claims)?;
        // Signatures are checked before the memory of the host is asked for anything.
        let signed = Unverified {
            algorithm,
            key_id: None,
            claims: Map::new(),
            signed: parts.signed,
            signature: parts.signature,
        };
        if !key.verifies(&signed) {
            return Err(ProofError::BadSignature);
        }
        if !claims.get("nonce").and_then(Value::as_str).is_some_and(|nonce| self.is_nonce(nonce, now)) {
            return Err(ProofError::NonceNeeded);
        }
        if made.abs_diff(now) > WINDOW_SECS {
            return Err(ProofError::WrongTime { seconds: made.abs_diff(now) });
        }
        match self.replay.see(request.holder, thumbprint, &id, made.saturating_add(WINDOW_SECS), now) {
            Seen::First => Ok(()),
            Seen::Again => Err(ProofError::Replayed),
            Seen::Full => Err(ProofError::TooMany),
        }
    }
}

/// Checks that the claims are about this method, this URL and this token.
fn about(claims: &Map<String, Value>, request: &Request<'_>) -> Result<(), ProofError> {
    if text(claims, "htm")? != request.method {
        return Err(ProofError::WrongRequest { claim: "htm", expected: request.method.to_owned() });
    }
    let expected = format!("{}{}", request.base_url, request.path);
    let (has, wanted) = (place(&text(claims, "htu")?), place(&expected));
    if has.is_none() || has != wanted {
        return Err(ProofError::WrongRequest { claim: "htu", expected });
    }
    let digest = URL_SAFE_NO_PAD.encode(Sha256::digest(request.token));
    if text(claims, "ath")? != digest {
        return Err(ProofError::WrongRequest { claim: "ath", expected: "the digest of the token".into() });
    }
    Ok(())
}

/// Scheme, host, port and path of a URL; its query and its fragment do not count (RFC 9449 section 4.3,
/// number 9).
fn place(url: &str) -> Option<(String, String, u16, String)> {
    let url: Uri = url.parse().ok()?;
    let scheme = url.scheme_str()?.to_ascii_lowercase();
    let usual = if scheme == "https" { 443 } else { 80 };
    let authority = url.authority().filter(|authority| !authority.as_str().contains('@'))?;
    let port = authority.port_u16().unwrap_or(usual);
    Some((scheme, authority.host().to_ascii_lowercase(), port, url.path().to_owned()))
}

fn text(claims: &Map<String, Value>, claim: &str) -> Result<String, ProofError> {
    let text = claims.get(claim).and_then(Value::as_str);
    text.map(str::to_owned).ok_or_else(|| ProofError::Malformed(format!("`{claim}` is missing, or no text")))
}

/// `iat` in whole seconds.
fn made_at(claims: &Map<String, Value>) -> Result<u64, ProofError> {
    match crate::auth::lookup::seconds(claims, "iat") {
        Ok(Some(made)) => Ok(made),
        _ => Err(ProofError::Malformed("`iat` is missing, or no time".into())),
    }
}

#[cfg(test)]
mod tests;
