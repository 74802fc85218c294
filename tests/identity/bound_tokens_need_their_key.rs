//! Tokens that are bound to a key or a certificate, in the hands of somebody who has neither.

use airlock_tests::authority::Authority;
use airlock_tests::curl::{curl, shown};
use airlock_tests::http::{Request, Response};
use airlock_tests::mcp::modern;
use airlock_tests::{Airlock, Setup};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::issuer::{Issuer, IssuerKey, encode, now};
use super::trusting;

fn sha256(bytes: impl AsRef<[u8]>) -> String {
    encode(Sha256::digest(bytes))
}

/// The thumbprint of a key, as `cnf` has it (RFC 7638): the members of such a JWK stand in the right order.
fn thumbprint(key: &IssuerKey) -> String {
    sha256(key.jwk().to_string())
}

fn ask() -> Request {
    modern("/mcp/docs", 1, "tools/list", &Value::Null)
}

/// A client with a key that proves it.
struct Client {
    key: IssuerKey,
    token: String,
    nonce: Option<String>,
}

impl Client {
    fn new(issuer: &Issuer) -> Self {
        let key = IssuerKey::new();
        let token = issuer.token(&json!({"cnf": {"jkt": thumbprint(&key)}}));
        Self { key, token, nonce: None }
    }

    fn proof(&self, airlock: &Airlock, change: &Value) -> String {
        let mut claims = json!({"jti": encode(rand()), "htm": "POST", "iat": now(), "ath": sha256(&self.token),
            "htu": format!("http://{}/mcp/docs", airlock.address()), "nonce": self.nonce});
        for (name, value) in change.as_object().expect("an object") {
            claims[name] = value.clone();
        }
        self.key.sign(&json!({"typ": "dpop+jwt", "alg": "EdDSA", "jwk": self.key.jwk()}), &claims)
    }

    fn send(&self, airlock: &Airlock, proof: &str) -> Response {
        let request = ask().header("authorization", &format!("DPoP {}", self.token));
        airlock.send(&request.header("dpop", proof))
    }
}

/// Bytes that no other call gives.
fn rand() -> [u8; 16] {
    use std::hash::{BuildHasher as _, RandomState};
    u128::from(RandomState::new().hash_one(0) ^ RandomState::new().hash_one(1)).to_be_bytes()
}

fn challenge(refused: &Response) -> &str {
    assert_eq!(refused.status, 401, "{}", refused.text());
    refused.header("www-authenticate").expect("a challenge")
}

#[test]
fn a_token_that_is_bound_to_a_key_is_worth_nothing_without_it() {
    let issuer = Issuer::start();
    let airlock = trusting(&issuer, &Value::Null);
    let mut client = Client::new(&issuer);
    // Stolen, and shown as if it were anybody's.
    let refused = airlock.send(&ask().bearer(&client.token));
    let said = challenge(&refused);
    assert!(said.starts_with("DPoP ") && said.contains("invalid_token") && said.contains("EdDSA"), "{said}");
    assert!(said.contains("/.well-known/oauth-protected-resource/mcp/docs"), "{said}");
    // Its owner is told the nonce, and gets in with it, once with each proof.
    let proof = client.proof(&airlock, &json!({}));
    let refused = client.send(&airlock, &proof);
    assert!(challenge(&refused).contains("error=\"use_dpop_nonce\""), "{}", challenge(&refused));
    client.nonce = refused.header("dpop-nonce").map(str::to_owned);
    let proof = client.proof(&airlock, &json!({}));
    assert_eq!(client.send(&airlock, &proof).status, 200);
    let again = client.send(&airlock, &proof);
    assert!(challenge(&again).contains("error=\"invalid_dpop_proof\""), "{}", challenge(&again));
    assert_eq!(client.send(&airlock, &client.proof(&airlock, &json!({}))).status, 200);
    // Proofs of another request, of another time, and of a thief's own key.
    for change in [
        json!({"htm": "GET"}),
        json!({"htu": "https://evil.example/mcp/docs"}),
        json!({"htu": format!("http://{}/mcp", airlock.address())}),
        json!({"iat": now() - 600}),
        json!({"iat": now() + 600}),
        json!({"ath": sha256("another token")}),
        json!({"jti": ""}),
    ] {
        let refused = client.send(&airlock, &client.proof(&airlock, &change));
        assert!(challenge(&refused).contains("invalid_dpop_proof"), "{change}: {}", challenge(&refused));
        assert!(refused.header("dpop-nonce").is_some());
    }
    let thief = Client { key: IssuerKey::new(), token: client.token.clone(), nonce: client.nonce.clone() };
    let refused = thief.send(&airlock, &thief.proof(&airlock, &json!({})));
    assert!(refused.text().contains("another key"), "{}", refused.text());
    // Two proofs are none, and a token that is bound to nothing needs none.
    let two = ask().header("authorization", &format!("DPoP {}", client.token));
    let two = two.header("dpop", &client.proof(&airlock, &json!({})));
    let refused = airlock.send(&two.header("dpop", &client.proof(&airlock, &json!({}))));
    assert!(challenge(&refused).contains("invalid_dpop_proof"));
    let free = Client { token: issuer.token(&json!({})), key: IssuerKey::new(), nonce: client.nonce.clone() };
    let refused = free.send(&airlock, &free.proof(&airlock, &json!({})));
    assert!(refused.text().contains("bound to no key"), "{}", refused.text());
    assert_eq!(airlock.send(&ask().bearer(&free.token)).status, 200);
}

#[test]
fn a_token_that_is_bound_in_another_way_is_refused() {
    let issuer = Issuer::start();
    let airlock = trusting(&issuer, &Value::Null);
    for cnf in
        [json!({"kid": "k"}), json!({"jwk": {"kty": "oct"}}), json!({"x5t": "abc"}), json!({}), json!(null)]
    {
        let refused = airlock.send(&ask().bearer(&issuer.token(&json!({"cnf": cnf}))));
        assert!(challenge(&refused).contains("invalid_token"), "{cnf}: {}", challenge(&refused));
    }
    // Nobody asks for certificates here.
    let token = issuer.token(&json!({"cnf": {"x5t#S256": sha256("a certificate")}}));
    let refused = airlock.send(&ask().bearer(&token));
    assert!(refused.text().contains("client certificate"), "{}", refused.text());
    let metadata = airlock.send(&Request::get("/.well-known/oauth-protected-resource/mcp/docs"));
    let metadata: Value = serde_json::from_slice(&metadata.body).expect("JSON");
    assert_eq!(metadata["dpop_bound_access_tokens_required"], json!(false), "{metadata}");
    let algorithms = metadata["dpop_signing_alg_values_supported"].as_array().expect("a list");
    assert!(algorithms.contains(&json!("ES256")) && !algorithms.contains(&json!("HS256")), "{metadata}");
    assert_eq!(metadata["tls_client_certificate_bound_access_tokens"], Value::Null, "{metadata}");
}

#[test]
fn id_tokens_do_not_open_the_door() {
    let issuer = Issuer::start();
    let airlock = trusting(&issuer, &Value::Null);
    for change in
        [json!({"nonce": "n"}), json!({"typ": "ID"}), json!({"at_hash": "h"}), json!({"typ": "Refresh"})]
    {
        let refused = airlock.send(&ask().bearer(&issuer.token(&change)));
        assert!(challenge(&refused).contains("not an access token"), "{change}: {}", challenge(&refused));
    }
    assert_eq!(airlock.send(&ask().bearer(&issuer.token(&json!({"typ": "Bearer"})))).status, 200);
}

#[test]
fn a_token_that_is_bound_to_a_certificate_needs_it() {
    let (authority, issuer) = (Authority::create(), Issuer::start());
    authority.write("agent", &authority.client("spiffe://acme.example/agent"));
    authority.write("other", &authority.client("spiffe://acme.example/other"));
    let der = |name: &str| {
        let pem = std::fs::read_to_string(authority.file(&format!("{name}.pem"))).expect("a certificate");
        let text: String = pem.lines().skip(1).take_while(|line| !line.starts_with('-')).collect();
        base64::Engine::decode(&base64::engine::general_purpose::STANDARD, text).expect("base64")
    };
    let ca = shown(&authority.file("ca.pem"));
    let tls = authority.mutual_tls("optional");
    let airlock = Setup::default().server("tls", tls).issuers(issuer.issuers()).start();
    let bound = issuer.token(&json!({"cnf": {"x5t#S256": sha256(der("agent"))}}));
    let free = issuer.token(&json!({}));
    let send = |token: &str, who: Option<&str>, http: &str| {
        let path =
            |end: &str| who.map(|who| shown(&authority.file(&format!("{who}.{end}")))).unwrap_or_default();
        let (cert, key) = (path("pem"), path("key"));
        let mut options = vec!["--cacert", &ca, http];
        if who.is_some() {
            options.extend(["--cert", &cert, "--key", &key]);
        }
        curl(airlock.address(), "https", &ask().bearer(token), &options)
    };
    for http in ["--http1.1", "--http2"] {
        assert_eq!(send(&bound, Some("agent"), http).status, 200);
        let refused = send(&bound, Some("other"), http);
        assert!(refused.status == 401 && refused.body.contains("another client certificate"), "{refused:?}");
        let refused = send(&bound, None, http);
        assert!(refused.status == 401 && refused.body.contains("does not have"), "{refused:?}");
        assert_eq!([send(&free, Some("other"), http).status, send(&free, None, http).status], [200, 200]);
    }
    let metadata = Request::get("/.well-known/oauth-protected-resource/mcp/docs");
    let metadata = curl(airlock.address(), "https", &metadata, &["--cacert", &ca]);
    assert!(metadata.body.contains("\"tls_client_certificate_bound_access_tokens\":true"), "{metadata:?}");
}
