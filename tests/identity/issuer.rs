//! An identity provider whose tokens say whatever a test wants.

use std::io;
use std::net::TcpStream;
use std::sync::Mutex;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rcgen::{KeyPair, PKCS_ED25519, PublicKeyData as _, SigningKey as _};
use serde_json::{Value, json};

use airlock_tests::little::{Book, Little, Seen, write_json};

/// A key pair that signs (RFC 8037).
pub(super) struct IssuerKey(KeyPair);

/// A provider that is found by discovery, with one key.
pub(super) struct Issuer {
    key: IssuerKey,
    url: String,
    _server: Little,
}

pub(super) fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Seconds since 1970.
pub(super) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |age| age.as_secs())
}

impl IssuerKey {
    pub(super) fn new() -> Self {
        Self(KeyPair::generate_for(&PKCS_ED25519).expect("a key"))
    }

    pub(super) fn jwk(&self) -> Value {
        json!({"crv": "Ed25519", "kty": "OKP", "x": encode(self.0.der_bytes())})
    }

    /// A JWS in compact form.
    pub(super) fn sign(&self, header: &Value, claims: &Value) -> String {
        let signed = format!("{}.{}", encode(header.to_string()), encode(claims.to_string()));
        let signature = self.0.sign(signed.as_bytes()).expect("signed");
        format!("{signed}.{}", encode(signature))
    }
}

/// Metadata and key, by what the path of the request is: the address of the server is in it.
fn answer(seen: &Seen, stream: &mut TcpStream, _: &Mutex<Book>) -> io::Result<()> {
    let url = format!("http://{}", seen.header("host").unwrap_or_default());
    let key =
        KEYS.lock().expect("not poisoned").iter().find(|(of, _)| *of == url).map(|(_, key)| key.clone());
    // Both documents in one: each reader takes what it looks for.
    let document = json!({"issuer": url, "jwks_uri": format!("{url}/keys"), "keys": [key]});
    write_json(stream, &document.to_string())
}

/// The public keys of the test's issuers, by their URLs.
static KEYS: Mutex<Vec<(String, Value)>> = Mutex::new(Vec::new());

impl Issuer {
    pub(super) fn start() -> Self {
        let server = Little::start(answer);
        let url = server.url("");
        let key = IssuerKey::new();
        KEYS.lock().expect("not poisoned").push((url.clone(), key.jwk()));
        Self { key, url, _server: server }
    }

    /// `auth.issuers` of a configuration that trusts it.
    pub(super) fn issuers(&self) -> Value {
        json!([{"issuer": self.url, "audience": ["airlock"], "clock_skew": "0s", "claims": {"tenant": "tenant"}}])
    }

    /// Good claims with `change` laid over them.
    pub(super) fn claims(&self, change: &Value) -> Value {
        let mut claims = json!({"iss": self.url, "sub": "alice", "aud": "airlock", "exp": now() + 3_600,
            "tenant": "acme", "groups": ["mcp.users"]});
        for (name, value) in change.as_object().expect("an object") {
            claims[name] = value.clone();
        }
        claims
    }

    /// Any claims, signed.
    pub(super) fn signed(&self, claims: &Value) -> String {
        self.key.sign(&json!({"alg": "EdDSA", "typ": "at+jwt"}), claims)
    }

    /// A token of good claims with `change` laid over them.
    pub(super) fn token(&self, change: &Value) -> String {
        self.signed(&self.claims(change))
    }
}
