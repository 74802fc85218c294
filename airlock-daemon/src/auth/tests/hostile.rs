//! Tokens that somebody made to get in.

use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Value, json};

use super::super::testing::{Provider, Signer, b64, claims, trust};
use super::super::*;
use super::{eager, patient, started};

/// A trusted provider with a key of each kind, a stranger with a key of a trusted name, and good claims to start from.
struct Forge {
    provider: Provider,
    rsa: Signer,
    p256: Signer,
    ed: Signer,
    stranger: Signer,
    good: Value,
}

/// An issuer that is trusted but does not answer.
const AWAY: &str = "https://127.0.0.1:1/away";

impl Forge {
    async fn new() -> Self {
        let (rsa, p256, ed) = (Signer::rsa("rsa"), Signer::p256("p256"), Signer::ed25519("ed"));
        let provider = Provider::with_keys(&[&rsa, &p256, &ed]).await;
        let good = claims(&provider.url);
        Self { provider, rsa, p256, ed, stranger: Signer::ed25519("ed"), good }
    }

    /// Good claims but for one, signed by the right key.
    fn claim(&self, name: &str, value: impl Into<Value>) -> String {
        let mut claims = self.good.clone();
        claims[name] = value.into();
        self.ed.sign(&claims)
    }

    /// Good claims with one more member at the end, as text.
    fn appended(&self, member: &str) -> String {
        let text = self.good.to_string();
        self.ed.sign_text(&self.ed.header().to_string(), &format!("{},{member}}}", &text[..text.len() - 1]))
    }

    /// A good token but for one header member.
    fn header(&self, signer: &Signer, name: &str, value: impl Into<Value>) -> String {
        let mut header = signer.header();
        header[name] = value.into();
        signer.sign_text(&header.to_string(), &self.good.to_string())
    }

    /// HMAC keyed with the public key: the classic confusion of algorithms.
    fn hmac(&self) -> String {
        let header = json!({"alg": "HS256", "typ": "JWT", "kid": "rsa"}).to_string();
        let signed = format!("{}.{}", b64(header), b64(self.good.to_string()));
        let secret = EncodingKey::from_secret(self.rsa.jwk["n"].as_str().expect("n").as_bytes());
        let signature =
            jsonwebtoken::crypto::sign(signed.as_bytes(), &secret, Algorithm::HS256).expect("signed");
        format!("{signed}.{signature}")
    }

    /// Each token is refused with an error that starts as expected, and nothing is remembered; the good ones pass.
    async fn try_all(&self, cases: &[(&str, String, &str)]) {
        let auth = started(vec![trust(&self.provider.url), trust(AWAY)], eager()).await;
        for (name, token, expected) in cases {
            let error = auth.authenticate(token, None).await.expect_err(name);
            assert!(error.to_string().starts_with(expected), "{name}: {error}");
            assert_eq!(auth.cached(token, None), None, "{name}");
        }
        assert_eq!(auth.cache.len(), 0);
        for signer in [&self.rsa, &self.p256, &self.ed] {
            auth.authenticate(&signer.sign(&self.good), None).await.expect("a good token");
        }
    }
}

#[tokio::test]
async fn forged_signatures_are_refused() {
    let forge = Forge::new().await;
    let (good, ed) = (&forge.good, &forge.ed);
    let token = ed.sign(good);
    let other = forge.claim("sub", "bob");
    let parts: Vec<&str> = token.split('.').collect();
    let others: Vec<&str> = other.split('.').collect();
    let none = b64(r#"{"alg":"none"}"#);
    let wrong = "signature does not verify";
    forge
        .try_all(&[
            ("alg none", format!("{none}.{}.", parts[1]), "malformed"),
            ("alg none, signed", format!("{none}.{}.{}", parts[1], parts[2]), "signature algorithm"),
            ("HS256 with the public key", forge.hmac(), "signature algorithm"),
            ("another's key", forge.stranger.sign(good), wrong),
            ("key of another type", forge.header(ed, "kid", "p256"), "issuer"),
            ("key of another name", forge.header(ed, "kid", "rsa"), "issuer"),
            ("unknown key", forge.header(ed, "kid", "nobody's"), "issuer"),
            ("RS256 claimed for EdDSA", forge.header(ed, "alg", "RS256"), "issuer"),
            ("ES256 claimed for RSA", forge.header(&forge.rsa, "alg", "ES256"), "issuer"),
            ("EdDSA claimed for P-256", forge.header(&forge.p256, "alg", "EdDSA"), "issuer"),
            ("claims swapped", format!("{}.{}.{}", parts[0], others[1], parts[2]), wrong),
            ("signature swapped", format!("{}.{}.{}", parts[0], parts[1], others[2]), wrong),
            ("signature cut", token[..token.len() - 6].to_owned(), wrong),
            ("signature longer", format!("{token}AAAA"), wrong),
            ("signature empty", format!("{}.{}.", parts[0], parts[1]), "malformed"),
            ("signature of zeros", format!("{}.{}.{}", parts[0], parts[1], b64([0; 64])), wrong),
            ("another issuer's", forge.claim("iss", AWAY), "keys of"),
        ])
        .await;
}

#[tokio::test]
async fn forged_forms_are_refused() {
    let forge = Forge::new().await;
    let (good, ed) = (forge.good.to_string(), &forge.ed);
    let token = ed.sign(&forge.good);
    let own_key = json!({"alg": "EdDSA", "kid": "ed", "jwk": forge.stranger.jwk}).to_string();
    forge
        .try_all(&[
            ("four segments", format!("{token}.AAAA"), "malformed"),
            ("60 kB", forge.claim("x", "x".repeat(60_000)), "token of"),
            ("dpop proof", forge.header(ed, "typ", "dpop+jwt"), "header"),
            ("crit", forge.header(ed, "crit", json!(["exp"])), "header"),
            ("b64", forge.header(ed, "b64", false), "header"),
            ("jku", forge.header(ed, "jku", "https://evil.example/keys"), "header"),
            ("x5u", forge.header(ed, "x5u", "https://evil.example/keys"), "header"),
            ("its own key", forge.stranger.sign_text(&own_key, &good), "header"),
            ("alg twice", ed.sign_text(r#"{"alg":"none","alg":"EdDSA","kid":"ed"}"#, &good), "malformed"),
            ("tenant twice", forge.appended(r#""tenant":"evil""#), "malformed"),
            ("sub twice", forge.appended(r#""sub":"root""#), "malformed"),
            ("exp twice", forge.appended(r#""exp":9999999999"#), "malformed"),
            ("twice inside", forge.appended(r#""x":{"a":1,"a":2}"#), "malformed"),
            ("trailing data", ed.sign_text(&ed.header().to_string(), &format!("{good} {{}}")), "malformed"),
        ])
        .await;
}

#[tokio::test]
async fn signed_claims_that_do_not_hold_are_refused() {
    let forge = Forge::new().await;
    let now = unix_now();
    forge
        .try_all(&[
            ("no aud", forge.claim("aud", Value::Null), "claim `aud`"),
            ("wrong aud", forge.claim("aud", json!(["other"])), "audience"),
            ("no exp", forge.claim("exp", Value::Null), "claim `exp`"),
            ("exp of u64::MAX", forge.claim("exp", u64::MAX), "claim `exp`"),
            ("exp of 1e30", forge.claim("exp", 1e30), "claim `exp`"),
            ("expired", forge.claim("exp", now - 121), "token expired"),
            ("nbf ahead", forge.claim("nbf", now + 600), "token is valid only in"),
            ("iat ahead", forge.claim("iat", now + 600), "token is valid only in"),
            ("no sub", forge.claim("sub", Value::Null), "claim `sub`"),
            ("empty sub", forge.claim("sub", ""), "claim `sub`"),
            ("no iss", forge.claim("iss", Value::Null), "claim `iss`"),
            ("iss an array", forge.claim("iss", json!([forge.provider.url])), "claim `iss`"),
            ("iss unknown", forge.claim("iss", "https://evil.example"), "issuer \"https://evil"),
            ("iss nearly right", forge.claim("iss", format!("{}/", forge.provider.url)), "issuer \""),
            ("groups of numbers", forge.claim("groups", json!([1])), "claim `groups`"),
            ("tenant a list", forge.claim("tenant", json!(["acme"])), "claim `tenant`"),
        ])
        .await;
}

#[tokio::test]
async fn no_character_of_a_token_can_be_changed() {
    let forge = Forge::new().await;
    let auth = started(vec![trust(&forge.provider.url)], patient()).await;
    let token = forge.ed.sign(&forge.good);
    for position in 0..token.len() {
        for replacement in ["A", "b", "-", ".", "=", ""] {
            let changed = format!("{}{replacement}{}", &token[..position], &token[position + 1..]);
            if changed != token {
                let verdict = auth.authenticate(&changed, None).await;
                assert!(verdict.is_err(), "{changed} at {position}");
            }
        }
    }
    auth.authenticate(&token, None).await.expect("the token itself");
}
