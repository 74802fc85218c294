use std::sync::LazyLock;

use serde_json::json;

use super::*;
use crate::auth::Principal;
use crate::auth::testing::{Signer, b64};

const NOW: u64 = 1_800_000_000;
const TOKEN: &str = "header.payload.signature";
static HOLDER: LazyLock<Identity> = LazyLock::new(|| Principal::named("alice", None).identity().clone());

fn request() -> Request<'static> {
    Request {
        method: "POST",
        base_url: "https://airlock.example",
        path: "/mcp/docs",
        token: TOKEN,
        holder: &HOLDER,
    }
}

fn header(signer: &Signer) -> Value {
    let mut jwk = signer.jwk.clone();
    for member in ["use", "kid", "alg"] {
        jwk.as_object_mut().expect("an object").remove(member);
    }
    json!({"typ": "dpop+jwt", "alg": format!("{:?}", signer.algorithm), "jwk": jwk})
}

fn claims(dpop: &Dpop, id: &str) -> Value {
    json!({"jti": id, "htm": "POST", "htu": "https://airlock.example/mcp/docs", "iat": NOW,
        "ath": b64(Sha256::digest(TOKEN)), "nonce": dpop.nonce(NOW)})
}

fn thumbprint(signer: &Signer) -> [u8; 32] {
    let jwk: Jwk = serde_json::from_value(signer.jwk.clone()).expect("a key");
    jwk.thumbprint().expect("a known type")
}

fn proof(signer: &Signer, header: &Value, claims: &Value) -> String {
    signer.sign_text(&header.to_string(), &claims.to_string())
}

#[test]
fn the_thumbprint_is_that_of_the_specification() {
    // RFC 7638 section 3.1.
    let jwk: Jwk = serde_json::from_value(json!({
        "kty": "RSA", "alg": "RS256", "kid": "2011-04-29", "e": "AQAB",
        "n": "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw",
    }))
    .expect("a key");
    assert_eq!(b64(jwk.thumbprint().expect("RSA")), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
}

#[test]
fn a_good_proof_is_good_once() {
    let dpop = Dpop::new().expect("random numbers");
    for signer in [Signer::p256("k"), Signer::ed25519("k"), Signer::rsa("k"), Signer::p384("k")] {
        let proof = proof(&signer, &header(&signer), &claims(&dpop, "one"));
        let judge = || dpop.verify(Some(&proof), &thumbprint(&signer), &request(), NOW);
        assert_eq!(judge(), Ok(()), "{:?}", signer.algorithm);
        assert_eq!(judge(), Err(ProofError::Replayed));
    }
}

#[test]
fn urls_are_compared_as_urls() {
    let dpop = Dpop::new().expect("random numbers");
    let signer = Signer::ed25519("k");
    let mut number = 0;
    let mut judge = |url: &str| {
        number += 1;
        let mut claims = claims(&dpop, &number.to_string());
        claims["htu"] = json!(url);
        dpop.verify(Some(&proof(&signer, &header(&signer), &claims)), &thumbprint(&signer), &request(), NOW)
    };
    for url in [
        "https://airlock.example/mcp/docs",
        "HTTPS://Airlock.Example:443/mcp/docs",
        "https://airlock.example/mcp/docs?x=1",
        "https://airlock.example/mcp/docs#x",
    ] {
        assert_eq!(judge(url), Ok(()), "{url}");
    }
    for url in [
        "http://airlock.example/mcp/docs",
        "https://airlock.example/mcp",
        "https://airlock.example/mcp/docs/",
        "https://airlock.example/mcp/Docs",
        "https://airlock.example:8443/mcp/docs",
        "https://evil.example/mcp/docs",
        "https://airlock.example@evil.example/mcp/docs",
        "https://x@airlock.example/mcp/docs",
        "/mcp/docs",
        "",
    ] {
        assert!(matches!(judge(url), Err(ProofError::WrongRequest { claim: "htu", .. })), "{url}");
    }
}

#[test]
#[allow(clippy::too_many_lines, reason = "one table of faults")]
fn each_fault_of_a_proof_is_found() {
    let dpop = Dpop::new().expect("random numbers");
    let signer = Signer::p256("k");
    let with = |name: &str, value: Value| {
        let mut claims = claims(&dpop, "x");
        claims[name] = value;
        if claims[name].is_null() {
            claims.as_object_mut().expect("an object").remove(name);
        }
        proof(&signer, &header(&signer), &claims)
    };
    let headed = |name: &str, value: Value| {
        let mut header = header(&signer);
        header[name] = value;
        proof(&signer, &header, &claims(&dpop, "x"))
    };
    let good = with("jti", json!("y"));
    let (head, _) = good.rsplit_once('.').expect("a signature");
    let (_, stranger) = Signer::p256("k")
        .sign(&json!({}))
        .rsplit_once('.')
        .map(|(a, b)| (a.to_owned(), b.to_owned()))
        .expect("a signature");
    let mut private = header(&signer)["jwk"].clone();
    private["d"] = json!("AQAB");
    let judge = |proof: Option<&str>| dpop.verify(proof, &thumbprint(&signer), &request(), NOW);
    let malformed = |problem: &str| ProofError::Malformed(problem.to_owned());
    let another = Signer::p256("k");
    for (name, proof, expected) in [
        ("no form", "x".to_owned(), None),
        ("a bearer token", signer.sign(&claims(&dpop, "x")), None),
        ("too large", "x".repeat(MAX_PROOF_BYTES + 1), Some(malformed("it is too large"))),
        ("typ", headed("typ", json!("JWT")), Some(malformed("`typ` is not `dpop+jwt`"))),
        ("no typ", headed("typ", Value::Null), Some(malformed("`typ` is not `dpop+jwt`"))),
        ("none", headed("alg", json!("none")), None),
        ("HS256", headed("alg", json!("HS256")), None),
        ("another alg", headed("alg", json!("RS256")), None),
        ("crit", headed("crit", json!(["x"])), None),
        ("no key", headed("jwk", Value::Null), None),
        (
            "a symmetric key",
            headed("jwk", json!({"kty": "oct", "k": "AQAB"})),
            Some(malformed("`jwk` has private parts")),
        ),
        ("a private key", headed("jwk", private), Some(malformed("`jwk` has private parts"))),
        ("another key", proof(&another, &header(&another), &claims(&dpop, "x")), Some(ProofError::WrongKey)),
        (
            "by another key",
            proof(&another, &header(&signer), &claims(&dpop, "x")),
            Some(ProofError::BadSignature),
        ),
        ("another's signature", format!("{head}.{stranger}"), Some(ProofError::BadSignature)),
        ("no jti", with("jti", Value::Null), None),
        ("an empty jti", with("jti", json!("")), None),
        ("a long jti", with("jti", json!("x".repeat(MAX_ID_BYTES + 1))), None),
        ("no ath", with("ath", Value::Null), None),
        ("no iat", with("iat", Value::Null), None),
        ("iat in words", with("iat", json!("now")), None),
        (
            "old",
            with("iat", json!(NOW - WINDOW_SECS - 1)),
            Some(ProofError::WrongTime { seconds: WINDOW_SECS + 1 }),
        ),
        (
            "ahead",
            with("iat", json!(NOW + WINDOW_SECS + 1)),
            Some(ProofError::WrongTime { seconds: WINDOW_SECS + 1 }),
        ),
        ("no nonce", with("nonce", Value::Null), Some(ProofError::NonceNeeded)),
        ("a made up nonce", with("nonce", json!("x")), Some(ProofError::NonceNeeded)),
        (
            "another's nonce",
            with("nonce", json!(Dpop::new().expect("random").nonce(NOW))),
            Some(ProofError::NonceNeeded),
        ),
        (
            "an old nonce",
            with("nonce", json!(dpop.nonce(NOW - 2 * NONCE_SECS))),
            Some(ProofError::NonceNeeded),
        ),
        ("a future nonce", with("nonce", json!(dpop.nonce(NOW + NONCE_SECS))), Some(ProofError::NonceNeeded)),
    ] {
        let error = judge(Some(&proof)).expect_err(name);
        match expected {
            Some(expected) => assert_eq!(error, expected, "{name}"),
            None => assert!(matches!(error, ProofError::Malformed(_)), "{name}: {error}"),
        }
    }
    for (claim, value) in
        [("htm", json!("GET")), ("htm", json!("post")), ("ath", json!("x")), ("htu", json!("x"))]
    {
        let error = judge(Some(&with(claim, value))).expect_err(claim);
        assert!(matches!(error, ProofError::WrongRequest { claim: which, .. } if which == claim), "{error}");
    }
    assert_eq!(judge(None), Err(ProofError::Missing));
    // None of these has used up the good one, whose nonce may be of the turn before.
    assert_eq!(judge(Some(&good)), Ok(()));
    assert_eq!(judge(Some(&with("nonce", json!(dpop.nonce(NOW - NONCE_SECS))))), Ok(()));
}
