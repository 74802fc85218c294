//! For tests: keys of every kind, tokens of every shape, and an identity provider that does as it is told.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm,
    Ed25519KeyPair, KeyPair as _,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::{Response, StatusCode};
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use jsonwebtoken::{Algorithm, EncodingKey};
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::refresh::unix_now;
use crate::config::schema::{ClaimNames, Issuer, SignatureAlgorithm};
use crate::config::units::Period;

pub(crate) fn b64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// A key pair and its public JWK.
pub(crate) struct Signer {
    pub(crate) algorithm: Algorithm,
    pub(crate) private: EncodingKey,
    pub(crate) jwk: Value,
    /// The public key as DER (X.509, `SubjectPublicKeyInfo`).
    pub(crate) der: Vec<u8>,
}

impl Signer {
    pub(crate) fn ed25519(kid: &str) -> Self {
        let pair = Ed25519KeyPair::generate().expect("a key");
        let document = pair.to_pkcs8().expect("an encoding");
        Self {
            algorithm: Algorithm::EdDSA,
            private: EncodingKey::from_ed_der(document.as_ref()),
            jwk: json!({"kty": "OKP", "crv": "Ed25519", "use": "sig", "kid": kid, "x": b64(pair.public_key())}),
            der: pair.public_key().as_der().expect("an encoding").as_ref().to_vec(),
        }
    }

    pub(crate) fn p256(kid: &str) -> Self {
        Self::ec(kid, "P-256", Algorithm::ES256, &ECDSA_P256_SHA256_FIXED_SIGNING)
    }

    pub(crate) fn p384(kid: &str) -> Self {
        Self::ec(kid, "P-384", Algorithm::ES384, &ECDSA_P384_SHA384_FIXED_SIGNING)
    }

    fn ec(kid: &str, curve: &str, algorithm: Algorithm, signing: &'static EcdsaSigningAlgorithm) -> Self {
        let pair = EcdsaKeyPair::generate(signing).expect("a key");
        let document = pair.to_pkcs8v1().expect("an encoding");
        let point = &pair.public_key().as_ref()[1..];
        let (x, y) = point.split_at(point.len() / 2);
        Self {
            algorithm,
            private: EncodingKey::from_ec_der(document.as_ref()),
            jwk: json!({"kty": "EC", "crv": curve, "use": "sig", "kid": kid, "x": b64(x), "y": b64(y)}),
            der: pair.public_key().as_der().expect("an encoding").as_ref().to_vec(),
        }
    }

    /// The same RSA key for another algorithm, and published as being for any.
    pub(crate) fn for_algorithm(mut self, algorithm: Algorithm) -> Self {
        self.algorithm = algorithm;
        self.jwk["alg"] = Value::Null;
        self
    }

    pub(crate) fn rsa(kid: &str) -> Self {
        let pair = RsaKeyPair::generate(KeySize::Rsa2048).expect("a key");
        let document: Pkcs8V1Der<'_> = pair.as_der().expect("an encoding");
        let public = pair.public_key();
        Self {
            algorithm: Algorithm::RS256,
            // jsonwebtoken reads the bare RSAPrivateKey; for 2,048 bits the envelope of PKCS #8 is 26 bytes
            // long.
            private: EncodingKey::from_rsa_der(&document.as_ref()[26..]),
            jwk: json!({
                "kty": "RSA", "use": "sig", "alg": "RS256", "kid": kid,
                "n": b64(public.modulus().big_endian_without_leading_zero()),
                "e": b64(public.exponent().big_endian_without_leading_zero()),
            }),
            der: AsDer::<PublicKeyX509Der<'_>>::as_der(public).expect("an encoding").as_ref().to_vec(),
        }
    }

    pub(crate) fn header(&self) -> Value {
        json!({"alg": format!("{:?}", self.algorithm), "typ": "at+jwt", "kid": self.jwk["kid"]})
    }

    /// Signs header and payload exactly as written.
    pub(crate) fn sign_text(&self, header: &str, payload: &str) -> String {
        let signed = format!("{}.{}", b64(header), b64(payload));
        let signature =
            jsonwebtoken::crypto::sign(signed.as_bytes(), &self.private, self.algorithm).expect("signed");
        format!("{signed}.{signature}")
    }

    pub(crate) fn sign(&self, claims: &Value) -> String {
        self.sign_text(&self.header().to_string(), &claims.to_string())
    }
}

/// Claims that are good for [`trust`].
pub(crate) fn claims(issuer: &str) -> Value {
    json!({
        "iss": issuer, "sub": "alice", "aud": "airlock", "exp": unix_now() + 3600, "iat": unix_now(),
        "tenant": "acme", "groups": ["dev"], "scope": "read",
    })
}

pub(crate) fn trust(issuer: &str) -> Issuer {
    Issuer {
        issuer: issuer.into(),
        audience: vec!["airlock".into()],
        jwks_cache_ttl: Period::secs(3600),
        clock_skew: Period::secs(120),
        algorithms: vec![SignatureAlgorithm::RS256, SignatureAlgorithm::ES256, SignatureAlgorithm::EdDSA],
        claims: ClaimNames { tenant: Some("tenant".into()), ..ClaimNames::default() },
        allow_private_addresses: false,
        id_tokens: None,
    }
}

#[derive(Default)]
struct Script {
    answers: HashMap<String, Response<Bytes>>,
    asked: HashMap<String, u32>,
}

/// A server with fixed answers by path (404 otherwise) that counts what it is asked.
#[derive(Clone)]
pub(crate) struct Provider {
    pub(crate) url: String,
    script: Arc<Mutex<Script>>,
}

impl Provider {
    /// Listens on a free loopback port; serves until the test's runtime ends.
    pub(crate) async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let provider = Self { url, script: Arc::default() };
        let script = Arc::clone(&provider.script);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let script = Arc::clone(&script);
                tokio::spawn(async move {
                    let service = service_fn(|request: http::Request<hyper::body::Incoming>| {
                        let mut script = script.lock();
                        let path = request.uri().path().to_owned();
                        let answer = script.answers.get(&path).cloned();
                        *script.asked.entry(path).or_default() += 1;
                        let answer = answer.unwrap_or_else(|| {
                            let mut missing = Response::new(Bytes::new());
                            *missing.status_mut() = StatusCode::NOT_FOUND;
                            missing
                        });
                        std::future::ready(Ok::<_, Infallible>(answer.map(Full::new)))
                    });
                    // The client may hang up at any time; that is part of some tests.
                    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        provider
    }

    /// One that serves metadata and the keys of `signers`.
    pub(crate) async fn with_keys(signers: &[&Signer]) -> Self {
        let provider = Self::start().await;
        provider.set_json("/.well-known/openid-configuration", &provider.metadata());
        provider.set_keys(signers);
        provider
    }

    pub(crate) fn metadata(&self) -> Value {
        json!({"issuer": self.url, "jwks_uri": format!("{}/keys", self.url)})
    }

    pub(crate) fn set(&self, path: &str, answer: Response<Bytes>) {
        self.script.lock().answers.insert(path.into(), answer);
    }

    pub(crate) fn set_json(&self, path: &str, body: &Value) {
        self.set(path, Response::new(Bytes::from(body.to_string())));
    }

    pub(crate) fn set_status(&self, path: &str, status: StatusCode) {
        let mut answer = Response::new(Bytes::new());
        *answer.status_mut() = status;
        self.set(path, answer);
    }

    pub(crate) fn set_keys(&self, signers: &[&Signer]) {
        let keys: Vec<&Value> = signers.iter().map(|signer| &signer.jwk).collect();
        self.set_json("/keys", &json!({"keys": keys}));
    }

    pub(crate) fn asked(&self, path: &str) -> u32 {
        self.script.lock().asked.get(path).copied().unwrap_or_default()
    }
}
