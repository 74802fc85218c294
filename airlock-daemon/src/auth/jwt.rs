//! The form of a token: what can be refused before any key is looked at.
//!
//! A token is a JWS in compact form (RFC 7515 section 7.1) whose payload is a JSON object (RFC 7519, RFC
//! 9068). The rules here are stricter than those of the signature library: what two readers might understand
//! differently is refused.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use super::algorithm;
use super::error::{Quoted, TokenError};
use super::strict;
use crate::config::schema::SignatureAlgorithm;

/// Longer tokens are refused before anything is decoded.
pub const MAX_TOKEN_BYTES: usize = 16 * 1024;

/// Longest `kid` in bytes.
const MAX_KEY_ID_BYTES: usize = 512;

/// Header members that are refused: `crit` and `b64` change how a token is to be read (RFC 7515 section
/// 4.1.11, RFC 7797), the others bring a key along or say where to fetch one, and keys come from the issuer
/// alone.
const REFUSED_MEMBERS: [&str; 6] = ["crit", "b64", "jku", "jwk", "x5u", "x5c"];

/// A token whose form is right. Nothing in it is verified.
#[derive(Debug)]
pub struct Unverified<'a> {
    /// `alg`: one of the algorithms this program knows, none of them symmetric.
    pub algorithm: SignatureAlgorithm,
    /// `kid`.
    pub key_id: Option<String>,
    /// The payload, without duplicate members at any depth.
    pub claims: Map<String, Value>,
    /// The signed bytes: header and payload as received.
    pub signed: &'a str,
    /// The signature, still in base64url.
    pub signature: &'a str,
}

impl Unverified<'_> {
    /// The `iss` claim, which says whose keys to verify with.
    ///
    /// # Errors
    /// It is absent or not a string.
    pub fn issuer(&self) -> Result<&str, TokenError> {
        match self.claims.get("iss") {
            Some(Value::String(issuer)) => Ok(issuer),
            Some(_) => Err(TokenError::BadClaim { claim: "iss".into(), problem: "not a string" }),
            None => Err(TokenError::MissingClaim("iss")),
        }
    }
}

/// Takes a token apart and checks its form. Needs no key, does no I/O, never panics.
///
/// # Errors
/// See [`TokenError`]: too large, malformed, a refused header member, an algorithm that is unknown or
/// symmetric.
pub fn inspect(token: &str) -> Result<Unverified<'_>, TokenError> {
    if token.len() > MAX_TOKEN_BYTES {
        return Err(TokenError::TooLarge { bytes: token.len(), limit: MAX_TOKEN_BYTES });
    }
    let Segments { header, payload, signed, signature } = split(token)?;
    let header = json("header", header)?;
    let (algorithm, key_id) = check_header(&header)?;
    // Decoded here so that a signature that is not base64url is malformed rather than wrong.
    decode("signature", signature)?;
    let claims = json("payload", payload)?;
    Ok(Unverified { algorithm, key_id, claims, signed, signature })
}

/// The parts of a JWS in compact form, each still in base64url.
pub(super) struct Segments<'a> {
    pub(super) header: &'a str,
    pub(super) payload: &'a str,
    /// Header and payload as received.
    pub(super) signed: &'a str,
    pub(super) signature: &'a str,
}

/// # Errors
/// There are not three parts, or there is no signature.
pub(super) fn split(token: &str) -> Result<Segments<'_>, TokenError> {
    let segments = || TokenError::Malformed("expected three segments separated by dots".into());
    let (signed, signature) = token.rsplit_once('.').ok_or_else(segments)?;
    let (header, payload) = signed.split_once('.').ok_or_else(segments)?;
    if payload.contains('.') {
        return Err(segments());
    }
    if signature.is_empty() {
        return Err(TokenError::Malformed("the signature is empty".into()));
    }
    Ok(Segments { header, payload, signed, signature })
}

fn check_header(header: &Map<String, Value>) -> Result<(SignatureAlgorithm, Option<String>), TokenError> {
    if let Some(member) = REFUSED_MEMBERS.iter().find(|member| header.contains_key(**member)) {
        return Err(TokenError::Header(format!("`{member}` is not accepted")));
    }
    // RFC 9068 section 4 asks for `at+jwt`; many providers say `JWT`. Anything else (ID tokens with a `typ`
    // of their own, proofs of possession, logout tokens) is not an access token.
    match header.get("typ") {
        None => {}
        Some(Value::String(kind)) if is_of_type(kind, "jwt") || is_of_type(kind, "at+jwt") => {}
        Some(_) => return Err(TokenError::Header("`typ` is neither `JWT` nor `at+jwt`".into())),
    }
    let key_id = match header.get("kid") {
        None => None,
        Some(Value::String(id)) if id.len() <= MAX_KEY_ID_BYTES => Some(id.clone()),
        Some(_) => return Err(TokenError::Header("`kid` is not a short string".into())),
    };
    match header.get("alg") {
        Some(Value::String(name)) => {
            let algorithm = algorithm::of_token(name)
                .ok_or_else(|| TokenError::UnsupportedAlgorithm(Quoted::new(name)))?;
            Ok((algorithm, key_id))
        }
        Some(_) => Err(TokenError::Header("`alg` is not a string".into())),
        None => Err(TokenError::Header("`alg` is missing".into())),
    }
}

/// True where a `typ` is this one. Media type prefix and letter case do not matter (RFC 7515 section 4.1.9).
pub(super) fn is_of_type(kind: &str, wanted: &str) -> bool {
    let bare = match kind.split_at_checked("application/".len()) {
        Some((prefix, rest)) if prefix.eq_ignore_ascii_case("application/") => rest,
        _ => kind,
    };
    bare.eq_ignore_ascii_case(wanted)
}

/// Base64url without padding and without loose bits in the last character, so that there is one spelling for
/// each token.
fn decode(part: &str, text: &str) -> Result<Vec<u8>, TokenError> {
    URL_SAFE_NO_PAD
        .decode(text)
        .map_err(|_| TokenError::Malformed(format!("the {part} is not base64url without padding")))
}

/// A part as the JSON object that it must be, without duplicate members at any depth.
pub(super) fn json(part: &str, text: &str) -> Result<Map<String, Value>, TokenError> {
    strict::object(&decode(part, text)?)
        .map_err(|error| TokenError::Malformed(format!("the {part} is not a strict JSON object: {error}")))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn token(header: &str, payload: &str, signature: &[u8]) -> String {
        let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        format!("{}.{}.{}", encode(header.as_bytes()), encode(payload.as_bytes()), encode(signature))
    }

    #[test]
    fn a_token_is_taken_apart() {
        let text = token(r#"{"alg":"ES256","typ":"at+jwt","kid":"k"}"#, r#"{"iss":"i"}"#, b"sig");
        let token = inspect(&text).expect("well formed");
        assert_eq!(token.algorithm, SignatureAlgorithm::ES256);
        assert_eq!(token.key_id.as_deref(), Some("k"));
        assert_eq!(token.issuer(), Ok("i"));
        assert_eq!(format!("{}.{}", token.signed, token.signature), text);
    }

    #[test]
    fn access_token_types_are_accepted_in_every_spelling() {
        for kind in ["JWT", "jwt", "at+jwt", "AT+JWT", "application/at+jwt", "Application/JWT"] {
            let text = token(&format!(r#"{{"alg":"EdDSA","typ":"{kind}"}}"#), "{}", b"s");
            assert!(inspect(&text).is_ok(), "{kind}");
        }
    }

    #[test]
    fn headers_that_say_more_than_we_read_are_refused() {
        for header in [
            r#"{"alg":"EdDSA","crit":["exp"],"exp":1}"#,
            r#"{"alg":"EdDSA","crit":[]}"#,
            r#"{"alg":"EdDSA","b64":false}"#,
            r#"{"alg":"EdDSA","b64":true}"#,
            r#"{"alg":"EdDSA","jku":"https://evil.example/keys"}"#,
            r#"{"alg":"EdDSA","jwk":{"kty":"OKP"}}"#,
            r#"{"alg":"EdDSA","x5u":"https://evil.example/cert"}"#,
            r#"{"alg":"EdDSA","x5c":[]}"#,
            r#"{"alg":"EdDSA","typ":"dpop+jwt"}"#,
            r#"{"alg":"EdDSA","typ":"logout+jwt"}"#,
            r#"{"alg":"EdDSA","typ":"application/application/jwt"}"#,
            r#"{"alg":"EdDSA","typ":""}"#,
            r#"{"alg":"EdDSA","typ":null}"#,
            r#"{"alg":"EdDSA","kid":7}"#,
            r#"{"alg":["EdDSA"]}"#,
            r#"{"typ":"JWT"}"#,
        ] {
            let error = inspect(&token(header, "{}", b"s")).expect_err(header);
            assert!(matches!(error, TokenError::Header(_)), "{header}: {error}");
        }
        let long = format!(r#"{{"alg":"EdDSA","kid":"{}"}}"#, "k".repeat(MAX_KEY_ID_BYTES + 1));
        assert!(matches!(inspect(&token(&long, "{}", b"s")), Err(TokenError::Header(_))));
    }

    #[test]
    fn algorithms_without_a_public_key_are_refused() {
        for name in [
            "none", "None", "NONE", "nOnE", "HS256", "HS384", "HS512", "ES512", "ES256K", "rs256", "",
            "EdDSA ",
        ] {
            let text = token(&format!(r#"{{"alg":"{name}"}}"#), "{}", b"s");
            assert!(matches!(inspect(&text), Err(TokenError::UnsupportedAlgorithm(_))), "{name}");
        }
    }

    #[test]
    fn forms_that_are_not_compact_jws_are_refused() {
        let good = token(r#"{"alg":"EdDSA"}"#, "{}", b"sig");
        let (head, rest) = good.split_once('.').expect("three segments");
        let (body, signature) = rest.split_once('.').expect("three segments");
        for text in [
            String::new(),
            ".".into(),
            "..".into(),
            head.into(),
            format!("{head}.{body}"),
            format!("{head}.{body}."),
            format!("{head}..{signature}"),
            format!(".{body}.{signature}"),
            format!("{good}.{signature}"),
            format!("{good}."),
            format!(".{good}"),
            format!("{good} "),
            format!(" {good}"),
            format!("{good}\n"),
            format!("{good}="),
            format!("{head}=.{body}.{signature}"),
            format!("{}.{body}.{signature}", head.replace('e', "+")),
            token(r#"{"alg":"EdDSA","alg":"EdDSA"}"#, "{}", b"s"),
            token(r#"{"alg":"EdDSA"}"#, r#"{"tenant":"a","tenant":"b"}"#, b"s"),
            token(r#"{"alg":"EdDSA"}"#, r#"{"x":{"a":1,"a":2}}"#, b"s"),
            token(r#"{"alg":"EdDSA"}"#, "[]", b"s"),
            token(r#"{"alg":"EdDSA"}"#, "{} ", b"s").replace('.', ".."),
            token(r#"{"alg":"EdDSA"} {}"#, "{}", b"s"),
        ] {
            assert!(
                matches!(inspect(&text), Err(TokenError::Malformed(_))),
                "{text:?}: {:?}",
                inspect(&text)
            );
        }
        // "c2ln" + one loose bit in the last character of a two-byte value: another spelling of the same
        // bytes.
        assert!(inspect(&format!("{head}.{body}.c2k")).is_ok());
        assert!(matches!(inspect(&format!("{head}.{body}.c2l")), Err(TokenError::Malformed(_))));
    }

    #[test]
    fn size_is_checked_before_anything_is_decoded() {
        let text = "x".repeat(60_000);
        assert_eq!(
            inspect(&text).map(|_| ()),
            Err(TokenError::TooLarge { bytes: 60_000, limit: MAX_TOKEN_BYTES })
        );
        // At the limit the size is no reason any more.
        assert!(matches!(inspect(&"x".repeat(MAX_TOKEN_BYTES)), Err(TokenError::Malformed(_))));
    }

    proptest! {
        #[test]
        fn any_text_is_refused_or_taken_apart(text in ".{0,200}") {
            let _ = inspect(&text);
        }

        #[test]
        fn any_three_segments_are_refused_or_taken_apart(header in ".{0,80}", payload in ".{0,80}", signature in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = inspect(&token(&header, &payload, &signature));
        }

        #[test]
        fn any_header_members_are_refused_or_taken_apart(name in "[a-z0-9]{1,4}", value in "(null|true|1|\"[a-zA-Z+]{0,7}\"|\\[\\]|\\{\\})", payload in "\\{\"[a-z]{3}\":(1|-1|1e300|\"x\"|null|\\[\\])\\}") {
            let text = token(&format!(r#"{{"alg":"ES256","{name}":{value}}}"#), &payload, b"s");
            if let Ok(token) = inspect(&text) {
                prop_assert!(!REFUSED_MEMBERS.contains(&name.as_str()));
                let _ = token.issuer();
            }
        }
    }
}
