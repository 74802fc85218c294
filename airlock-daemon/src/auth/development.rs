//! An identity provider inside the daemon, for trying Airlock out: on loopback only, with keys made at start.
//!
//! Whoever reaches its address gets a token for whatever name they like. So it listens on loopback addresses
//! only, refuses requests that a browser might have been tricked into, and is refused by configuration next
//! to a public listener.

mod server;

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::refresh::unix_now;
use crate::config::schema;
use crate::config::units::Period;

/// Lifetime of a token for which none was asked.
pub const DEFAULT_LIFETIME: Duration = Duration::from_hours(1);
/// Longest lifetime of a token.
pub const MAX_LIFETIME: Duration = Duration::from_hours(30 * 24);

/// Why the development issuer does not start or stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DevelopmentError {
    /// It would give tokens to the network.
    #[error(
        "auth.development_issuer.listen: {0} is not a loopback address: it gives a token to anybody who asks, so use 127.0.0.1 or [::1], and a real identity provider for anything else"
    )]
    NotLoopback(SocketAddr),
    /// The address is taken or not allowed.
    #[error(
        "auth.development_issuer.listen: cannot listen on {address}: {cause}: choose another port, or 0 for any free one"
    )]
    Listen {
        /// As configured.
        address: SocketAddr,
        /// The system's error.
        cause: std::io::Error,
    },
    /// `run` was called a second time.
    #[error("the development issuer is already running")]
    AlreadyRunning,
    /// The system gave no key.
    #[error("cannot make a signing key: {0}")]
    Key(String),
}

/// The content of a token to be made.
#[derive(Debug, Clone)]
pub struct TokenRequest {
    /// `sub`.
    pub subject: String,
    /// `tenant`, left out when absent.
    pub tenant: Option<String>,
    /// `groups`.
    pub groups: Vec<String>,
    /// `scope`, left out when empty.
    pub scopes: Vec<String>,
    /// From now to `exp`, in whole seconds, at most [`MAX_LIFETIME`].
    pub lifetime: Duration,
    /// `aud`; the audience given at start when absent.
    pub audience: Option<String>,
}

/// An identity provider with discovery, keys and a token endpoint.
#[derive(Debug)]
pub struct DevelopmentIssuer {
    /// Taken by `run`.
    listener: Mutex<Option<TcpListener>>,
    address: SocketAddr,
    audience: String,
    key: Mutex<Arc<SigningKey>>,
    keys_served: AtomicU64,
}

struct SigningKey {
    id: String,
    private: EncodingKey,
    public: Vec<u8>,
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SigningKey").field("id", &self.id).finish_non_exhaustive()
    }
}

impl SigningKey {
    fn generate() -> Result<Self, DevelopmentError> {
        let failed = |_| DevelopmentError::Key("the cryptographic library refused".into());
        let pair = Ed25519KeyPair::generate().map_err(failed)?;
        let document = pair.to_pkcs8().map_err(failed)?;
        let mut id = [0; 12];
        getrandom::fill(&mut id).map_err(|error| DevelopmentError::Key(error.to_string()))?;
        Ok(Self {
            id: URL_SAFE_NO_PAD.encode(id),
            private: EncodingKey::from_ed_der(document.as_ref()),
            public: pair.public_key().as_ref().to_vec(),
        })
    }
}

impl DevelopmentIssuer {
    /// Binds the address and makes a key. With port 0 the system chooses a port, known from here on. Nothing
    /// is answered before [`DevelopmentIssuer::run`].
    ///
    /// # Errors
    /// An address that is not loopback or cannot be bound.
    pub fn start(
        config: &schema::DevelopmentIssuer,
        audience: String,
    ) -> Result<Arc<Self>, DevelopmentError> {
        if !config.listen.ip().is_loopback() {
            return Err(DevelopmentError::NotLoopback(config.listen));
        }
        let listen = |cause| DevelopmentError::Listen { address: config.listen, cause };
        let listener = TcpListener::bind(config.listen).map_err(listen)?;
        listener.set_nonblocking(true).map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        Ok(Arc::new(Self {
            listener: Mutex::new(Some(listener)),
            address,
            audience,
            key: Mutex::new(Arc::new(SigningKey::generate()?)),
            keys_served: AtomicU64::new(0),
        }))
    }

    /// The bound address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its name, which is also its base URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The entry of `auth.issuers` that trusts it.
    pub fn issuer(&self) -> schema::Issuer {
        schema::Issuer {
            issuer: self.url(),
            audience: vec![self.audience.clone()],
            jwks_cache_ttl: Period::secs(300),
            clock_skew: Period::secs(120),
            algorithms: vec![schema::SignatureAlgorithm::EdDSA],
            // Whoever tries something out need not think of tenants.
            claims: schema::ClaimNames {
                tenant: Some("tenant".into()),
                tenant_optional: true,
                groups: Some("groups".into()),
            },
            allow_private_addresses: false,
            id_tokens: None,
        }
    }

    /// A signed access token (RFC 9068).
    ///
    /// # Errors
    /// The fault of the request, as a sentence.
    pub fn token(&self, request: &TokenRequest) -> Result<String, String> {
        if request.subject.is_empty() {
            return Err("`subject` is empty".into());
        }
        if request.lifetime.is_zero() || request.lifetime > MAX_LIFETIME {
            return Err(format!("`lifetime` must be from 1s to {}", Period(MAX_LIFETIME)));
        }
        let now = unix_now();
        let mut id = [0; 16];
        getrandom::fill(&mut id).map_err(|error| error.to_string())?;
        let mut claims = json!({
            "iss": self.url(),
            "sub": request.subject,
            "aud": request.audience.as_ref().unwrap_or(&self.audience),
            "iat": now,
            "exp": now + request.lifetime.as_secs().max(1),
            "jti": URL_SAFE_NO_PAD.encode(id),
            "groups": request.groups,
        });
        if let Some(tenant) = &request.tenant {
            claims["tenant"] = Value::from(tenant.as_str());
        }
        if !request.scopes.is_empty() {
            claims["scope"] = Value::from(request.scopes.join(" "));
        }
        let key = self.key();
        let mut header = Header::new(Algorithm::EdDSA);
        header.typ = Some("at+jwt".into());
        header.kid = Some(key.id.clone());
        jsonwebtoken::encode(&header, &claims, &key.private).map_err(|error| error.to_string())
    }

    /// Replaces the key: tokens signed before are refused once the keys are fetched again.
    ///
    /// # Errors
    /// The system gave no key.
    pub fn rotate(&self) -> Result<(), DevelopmentError> {
        let new = Arc::new(SigningKey::generate()?);
        *self.key.lock() = new;
        Ok(())
    }

    /// How often the keys were fetched.
    pub fn keys_served(&self) -> u64 {
        self.keys_served.load(Ordering::SeqCst)
    }

    fn key(&self) -> Arc<SigningKey> {
        Arc::clone(&self.key.lock())
    }

    fn metadata(&self) -> Value {
        let url = self.url();
        json!({
            "issuer": url,
            "jwks_uri": format!("{url}/jwks"),
            "token_endpoint": format!("{url}/token"),
            "response_types_supported": [],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["EdDSA"],
        })
    }

    fn key_document(&self) -> Value {
        self.keys_served.fetch_add(1, Ordering::SeqCst);
        let key = self.key();
        json!({"keys": [{
            "kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA",
            "kid": key.id, "x": URL_SAFE_NO_PAD.encode(&key.public),
        }]})
    }
}
