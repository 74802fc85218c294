//! Tokens that somebody made to get in.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Value, json};

use super::super::testing::{Provider, Signer, b64, claims, trust};
use super::super::*;
use super::{eager, patient, started};

/// A trusted provider with a key of each kind, a stranger with a key of a trusted name, and good claims to
/// start from.
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

    /// HMAC keyed with a public key that everybody knows: the classic confusion of algorithms.
    fn hmac(&self, algorithm: Algorithm, kid: &str, secret: &[u8]) -> String {
        let header = json!({"alg": format!("{algorithm:?}"), "typ": "JWT", "kid": kid}).to_string();
        let signed = format!("{}.{}", b64(header), b64(self.good.to_string()));
        let secret = EncodingKey::from_secret(secret);
        let signature = jsonwebtoken::crypto::sign(signed.as_bytes(), &secret, algorithm).expect("signed");
        format!("{signed}.{signature}")
    }

    /// Each token is refused with an error that starts as expected, and nothing is remembered; the good ones
    /// pass.
    async fn try_all<N: AsRef<str>>(&self, cases: &[(N, String, &str)]) {
        let auth = started(vec![trust(&self.provider.url), trust(AWAY)], eager()).await;
        for (name, token, expected) in cases {
            let name = name.as_ref();
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
            ("zeros for P-256", zeros(&forge.p256.sign(good)), wrong),
            ("zeros for RSA", zeros(&forge.rsa.sign(good)), wrong),
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

/// The same token with a signature of nothing but zeros.
fn zeros(token: &str) -> String {
    let (signed, signature) = token.rsplit_once('.').expect("three segments");
    format!("{signed}.{}", "A".repeat(signature.len()))
}

#[tokio::test]
async fn public_keys_are_no_secrets_of_a_mac() {
    let forge = Forge::new().await;
    let mut cases = Vec::new();
    for (kid, signer) in [("rsa", &forge.rsa), ("p256", &forge.p256), ("ed", &forge.ed)] {
        let lines: Vec<String> = STANDARD
            .encode(&signer.der)
            .as_bytes()
            .chunks(64)
            .map(|line| String::from_utf8_lossy(line).into_owned())
            .collect();
        let pem = format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----", lines.join("\n"));
        let member = if kid == "rsa" { "n" } else { "x" };
        let text = signer.jwk[member].as_str().expect("a member").to_owned();
        let raw = URL_SAFE_NO_PAD.decode(&text).expect("base64url");
        let secrets: [(&str, Vec<u8>); 8] = [
            ("PEM", pem.clone().into_bytes()),
            ("PEM and a line end", format!("{pem}\n").into_bytes()),
            ("DER", signer.der.clone()),
            ("base64 of DER", STANDARD.encode(&signer.der).into_bytes()),
            ("raw", raw),
            ("base64url of raw", text.into_bytes()),
            ("JWK", signer.jwk.to_string().into_bytes()),
            ("nothing", Vec::new()),
        ];
        for (form, secret) in secrets {
            for algorithm in [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512] {
                let token = forge.hmac(algorithm, kid, &secret);
                cases.push((format!("{algorithm:?} with {kid} as {form}"), token, "signature algorithm"));
            }
        }
    }
    forge.try_all(&cases).await;
}

#[tokio::test]
async fn names_of_algorithms_and_keys_are_nothing_but_names() {
    let forge = Forge::new().await;
    let ed = &forge.ed;
    let mut cases = Vec::new();
    for name in
        ["none", "None", "NONE", "nOnE", "none ", "", "HS256", "eddsa", "Ed25519", "ES512", "RS1", "dir"]
    {
        cases.push((format!("alg {name}"), forge.header(ed, "alg", name), "signature algorithm"));
    }
    // Signed with the right key, and announced as something else of its kind that is not configured.
    let pss = Signer::rsa("rsa").for_algorithm(Algorithm::PS256);
    cases.push(("PS256 where RS256 is configured".into(), pss.sign(&forge.good), "signature algorithm"));
    for kid in [
        "../../../../dev/null",
        "/proc/self/environ",
        "ed' OR '1'='1",
        "ed; SELECT 1",
        "",
        " ed",
        "ED",
        "ed\0",
        "https://evil.example/keys",
        "|/bin/true",
    ] {
        cases.push((format!("kid {kid:?}"), forge.header(ed, "kid", kid), "issuer"));
    }
    for kid in [json!(0), json!(null), json!(["ed"]), json!({"ed": 1}), json!(true), json!("k".repeat(600))] {
        cases.push((format!("kid {kid}"), forge.header(ed, "kid", kid), "header"));
    }
    for kind in [
        "dpop+jwt",
        "oauth-id-jag+jwt",
        "logout+jwt",
        "secevent+jwt",
        "token-introspection+jwt",
        "application/oauth-id-jag+jwt",
        "jwt+at",
        "JOSE+JSON",
        "none",
        "at+jwt ",
    ] {
        cases.push((format!("typ {kind}"), forge.header(ed, "typ", kind), "header"));
    }
    for member in ["jku", "jwk", "x5u", "x5c", "crit", "b64"] {
        for value in [json!(null), json!([]), json!(true), json!("https://evil.example/keys")] {
            cases.push((format!("{member} {value}"), forge.header(ed, member, value), "header"));
        }
    }
    forge.try_all(&cases).await;
}

/// An assertion of another authorization server's (ID-JAG) is for that server: neither its `typ` nor its
/// audience is ours. An ID token says `JWT` and is told from an access token by its audience alone, which is
/// the client's.
#[tokio::test]
async fn tokens_for_other_purposes_are_refused() {
    let forge = Forge::new().await;
    let jag = json!({"alg": "EdDSA", "typ": "oauth-id-jag+jwt", "kid": "ed"}).to_string();
    let plain = json!({"alg": "EdDSA", "typ": "JWT", "kid": "ed"}).to_string();
    let with = |change: &Value| {
        let mut claims = forge.good.clone();
        for (name, value) in change.as_object().expect("an object") {
            claims[name] = value.clone();
        }
        claims.to_string()
    };
    let for_server = with(&json!({"aud": forge.provider.url, "client_id": "c", "resource": "airlock"}));
    let logout =
        with(&json!({"events": {"http://schemas.openid.net/event/backchannel-logout": {}}, "sid": "s"}));
    let identity = with(&json!({"aud": "some-client", "nonce": "n", "at_hash": "h"}));
    forge
        .try_all(&[
            ("an ID-JAG", forge.ed.sign_text(&jag, &for_server), "header"),
            ("an ID-JAG for us", forge.ed.sign_text(&jag, &forge.good.to_string()), "header"),
            ("an ID-JAG without its type", forge.ed.sign_text(&plain, &for_server), "audience"),
            ("a logout token", forge.ed.sign_text(&plain, &logout), "claim `events`"),
            ("an ID token", forge.ed.sign_text(&plain, &identity), "audience"),
        ])
        .await;
}

#[tokio::test]
async fn what_is_no_compact_token_of_text_is_refused() {
    let forge = Forge::new().await;
    let (ed, good) = (&forge.ed, forge.good.to_string());
    let token = ed.sign(&forge.good);
    let parts: Vec<&str> = token.split('.').collect();
    let header = ed.header().to_string();
    let deep = |levels: usize| format!("{}1{}", r#"{"x":"#.repeat(levels), "}".repeat(levels));
    let flattened = json!({"protected": parts[0], "payload": parts[1], "signature": parts[2]}).to_string();
    let general =
        json!({"payload": parts[1], "signatures": [{"protected": parts[0], "signature": parts[2]}]})
            .to_string();
    let encrypted = b64(r#"{"alg":"RSA-OAEP","enc":"A256GCM"}"#);
    let huge = |size: usize| {
        ed.sign_text(&header, &format!("{},\"x\":\"{}\"}}", &good[..good.len() - 1], "x".repeat(size)))
    };
    forge
        .try_all(&[
            ("60 kB", huge(60_000), "token of"),
            ("4 MB", huge(4 << 20), "token of"),
            ("a JWE", format!("{encrypted}.AAAA.AAAA.AAAA.AAAA"), "malformed"),
            ("a JWE of three", format!("{encrypted}.AAAA.AAAA"), "signature algorithm"),
            ("flattened JSON", flattened, "malformed"),
            ("general JSON", general, "malformed"),
            (
                "deep claims",
                ed.sign_text(&header, &format!("{},\"x\":{}}}", &good[..good.len() - 1], deep(900))),
                "malformed",
            ),
            (
                "deep header",
                ed.sign_text(&format!("{},\"x\":{}}}", &header[..header.len() - 1], deep(900)), &good),
                "malformed",
            ),
            ("a nul in the claims", ed.sign_text(&header, &good.replace("alice", "ali\0ce")), "malformed"),
            ("an escaped nul", forge.claim("sub", "ali\0ce"), "claim `sub`"),
            ("nul bytes around", format!("\0{token}\0"), "malformed"),
            ("sub twice, once escaped", forge.appended(r#""\u0073ub":"root""#), "malformed"),
            ("a byte order mark", ed.sign_text(&header, &format!("\u{feff}{good}")), "malformed"),
            ("half a surrogate", forge.appended(r#""x":"\ud800""#), "malformed"),
            ("the standard alphabet", token.replace(['-', '_'], "+") + "+", "malformed"),
            ("padding", format!("{token}=="), "malformed"),
            ("a line end inside", format!("{}\n{}", &token[..20], &token[20..]), "malformed"),
            ("empty", String::new(), "malformed"),
            ("dots", "..".into(), "malformed"),
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
