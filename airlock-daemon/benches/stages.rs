//! The cost of each stage of a call that has no bench of its own: the strict parse, a cached and a fresh
//! token, the parameters on their way to a server, and the answer on its way back.

use std::cell::Cell;
use std::hint::black_box;
use std::sync::Arc;
use std::time::SystemTime;

use airlock::auth::Authenticator;
use airlock::config::schema;
use airlock::mcp::object::Object;
use airlock::mcp::revision::Era;
use airlock::mcp::{envelope, message};
use airlock::upstream::era::driver;
use airlock::upstream::transport::frame::{Line, Lines};
use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
use aws_lc_rs::rsa;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::LocalSet;

const CALL: &[u8] = br#"{"jsonrpc":"2.0","id":42,"method":"tools/call","params":{"name":"search_docs","arguments":{"query":"how do I roll back","limit":10},"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{},"progressToken":"p-1"}}}"#;

fn decode(c: &mut Criterion) {
    c.bench_function("decode: the strict parse of a call", |b| {
        b.iter(|| envelope::parse(black_box(CALL)).expect("a call"));
    });
    // The yardstick: one parse into a tree, without any of the checks.
    c.bench_function("decode: serde_json::Value, for scale", |b| {
        b.iter(|| serde_json::from_slice::<serde_json::Value>(black_box(CALL)).expect("a call"));
    });
}

fn forward(c: &mut Criterion) {
    let envelope = envelope::parse(CALL).expect("a call");
    for (name, era) in [("modern", Era::Modern), ("legacy", Era::Legacy)] {
        c.bench_function(&format!("forward: parameters for a {name} server"), |b| {
            b.iter(|| {
                driver::params(
                    era,
                    black_box(envelope.params.clone()),
                    airlock::mcp::client::ClientCapabilities::default(),
                    7,
                )
            });
        });
    }
}

fn answer(c: &mut Criterion) {
    let mut group = c.benchmark_group("answer: frame and tell apart");
    for bytes in [300, 16 * 1024, 256 * 1024] {
        let text = "x".repeat(bytes);
        let line = format!(
            "{{\"jsonrpc\":\"2.0\",\"id\":7,\"result\":{{\"content\":[{{\"type\":\"text\",\"text\":\"{text}\"}}]}}}}\n"
        );
        group.throughput(Throughput::Bytes(line.len() as u64));
        group.bench_function(format!("{bytes} B"), |b| {
            let mut lines = Lines::default();
            b.iter(|| {
                lines.buffer().extend_from_slice(black_box(line.as_bytes()));
                let Some(Line::Whole(line)) = lines.next(usize::MAX) else { panic!("no line") };
                let text = std::str::from_utf8(line).expect("UTF-8");
                black_box(message::parse(text).expect("an answer"));
            });
        });
    }
    group.finish();
    c.bench_function("answer: a list with one entry renamed", |b| {
        let tool = r#"{"name":"search","description":"Search","inputSchema":{"type":"object","properties":{"q":{"type":"string"}}}}"#;
        b.iter(|| {
            let mut object = Object::parse(black_box(tool)).expect("a tool");
            object.set("name", "\"docs__search\"");
            black_box(object.write())
        });
    });
}

/// An issuer with one key, whose two documents are served as they stand.
struct Issuer {
    url: String,
    algorithm: Algorithm,
    key: EncodingKey,
    /// Makes each token another one.
    number: Cell<u64>,
}

impl Issuer {
    /// `public` is the key's JWK without name and purpose.
    fn start(
        local: &LocalSet,
        algorithm: Algorithm,
        key: EncodingKey,
        mut public: serde_json::Value,
    ) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        listener.set_nonblocking(true).expect("a listener");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let metadata = json!({"issuer": url, "jwks_uri": format!("{url}/keys")}).to_string();
        public["kid"] = json!("k");
        let keys = json!({"keys": [public]}).to_string();
        local.spawn_local(async move {
            let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut head = [0; 4096];
                let count = stream.read(&mut head).await.unwrap_or(0);
                let body = if head[..count].starts_with(b"GET /keys") { &keys } else { &metadata };
                let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
                stream.write_all(answer.as_bytes()).await.expect("a reader");
            }
        });
        Self { url, algorithm, key, number: Cell::default() }
    }

    fn trust(&self) -> schema::Issuer {
        serde_json::from_value(json!({"issuer": self.url, "audience": ["http://127.0.0.1/mcp"]}))
            .expect("an issuer")
    }

    /// A token of the usual size that nobody has seen before.
    fn token(&self) -> String {
        self.number.set(self.number.get() + 1);
        let mut header = jsonwebtoken::Header::new(self.algorithm);
        header.typ = Some("at+jwt".to_owned());
        header.kid = Some("k".to_owned());
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("a clock").as_secs();
        let claims = json!({
            "iss": self.url, "sub": "alice", "aud": "http://127.0.0.1/mcp", "iat": now, "exp": now + 3600,
            "jti": self.number.get(), "client_id": "a-client", "scope": "mcp:use mcp:read", "tenant": "acme",
            "groups": ["mcp.users", "developers", "everyone"], "name": "Alice Example", "email": "alice@acme.example",
        });
        jsonwebtoken::encode(&header, &claims, &self.key).expect("a token")
    }
}

fn issuers(local: &LocalSet) -> Vec<Issuer> {
    let b64 = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let rsa = rsa::KeyPair::generate(rsa::KeySize::Rsa2048).expect("a key");
    let envelope: Pkcs8V1Der<'_> = rsa.as_der().expect("an encoding");
    // The signature library reads the bare RSAPrivateKey; for 2,048 bits the envelope is 26 bytes long.
    let rsa_key = EncodingKey::from_rsa_der(&envelope.as_ref()[26..]);
    let (n, e) = (rsa.public_key().modulus(), rsa.public_key().exponent());
    let (n, e) = (n.big_endian_without_leading_zero().to_vec(), e.big_endian_without_leading_zero().to_vec());
    let p256 = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key");
    let p256_key = EncodingKey::from_ec_der(p256.to_pkcs8v1().expect("an encoding").as_ref());
    let (x, y) = p256.public_key().as_ref()[1..].split_at(32);
    let ed = Ed25519KeyPair::generate().expect("a key");
    let ed_key = EncodingKey::from_ed_der(ed.to_pkcs8().expect("an encoding").as_ref());
    vec![
        Issuer::start(local, Algorithm::RS256, rsa_key, json!({"kty": "RSA", "n": b64(&n), "e": b64(&e)})),
        Issuer::start(
            local,
            Algorithm::ES256,
            p256_key,
            json!({"kty": "EC", "crv": "P-256", "x": b64(x), "y": b64(y)}),
        ),
        Issuer::start(
            local,
            Algorithm::EdDSA,
            ed_key,
            json!({"kty": "OKP", "crv": "Ed25519", "x": b64(ed.public_key().as_ref())}),
        ),
    ]
}

fn token(c: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let local = LocalSet::new();
    let _context = runtime.enter();
    let issuers = issuers(&local);
    let auth =
        schema::Auth { issuers: issuers.iter().map(Issuer::trust).collect(), ..schema::Auth::default() };
    let authenticator = Authenticator::new(&auth, "http://127.0.0.1", false).expect("an authenticator");
    local.spawn_local(Arc::clone(&authenticator).run());
    local.block_on(&runtime, authenticator.first_round());
    assert_eq!(authenticator.ready(), Ok(()), "keys of all three");
    let token = issuers[0].token();
    local.block_on(&runtime, authenticator.authenticate(&token, None)).expect("a good token");
    c.bench_function("token: verified before", |b| {
        b.iter(|| {
            let shown = black_box(token.as_str()).into();
            authenticator.known(&shown, None).expect("known").expect("a good token")
        });
    });
    // Each token is new to the cache; signing is not part of the time.
    for issuer in &issuers {
        c.bench_function(&format!("token: verified now, {:?}", issuer.algorithm), |b| {
            b.iter_batched(
                || issuer.token(),
                |token| {
                    local.block_on(&runtime, authenticator.authenticate(&token, None)).expect("a good token")
                },
                criterion::BatchSize::SmallInput,
            );
        });
    }
}

criterion_group!(benches, decode, forward, answer, token);
criterion_main!(benches);
