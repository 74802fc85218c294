//! What each stage of a call costs that neither the policy nor the audit log has a bench of its own for: the strict parse,
//! a cached and a fresh token, the parameters on their way to a server, and the answer on its way back.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use airlock::auth::Authenticator;
use airlock::auth::development::{DevelopmentIssuer, TokenRequest};
use airlock::config::schema;
use airlock::mcp::object::Object;
use airlock::mcp::revision::Era;
use airlock::mcp::{envelope, message};
use airlock::upstream::driver;
use airlock::upstream::frame::Lines;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

const CALL: &[u8] = br#"{"jsonrpc":"2.0","id":42,"method":"tools/call","params":{"name":"search_docs","arguments":{"query":"how do I roll back","limit":10},"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{},"progressToken":"p-1"}}}"#;

fn decode(c: &mut Criterion) {
    c.bench_function("decode: the strict parse of a call", |b| {
        b.iter(|| envelope::parse(black_box(CALL)).expect("a call"));
    });
    // What it is measured against: one parse into a tree, without any of the checks.
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
                let line = lines.next(usize::MAX).expect("short").expect("a line");
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

fn token(c: &mut Criterion) {
    let config = schema::DevelopmentIssuer { listen: ([127, 0, 0, 1], 0).into() };
    let issuer = DevelopmentIssuer::start(&config, "http://127.0.0.1/mcp".to_owned()).expect("an issuer");
    let auth = schema::Auth { issuers: vec![issuer.issuer()], ..schema::Auth::default() };
    let authenticator = Authenticator::new(&auth, "http://127.0.0.1").expect("an authenticator");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let local = tokio::task::LocalSet::new();
    local.spawn_local(Arc::clone(&issuer).run());
    local.spawn_local(Arc::clone(&authenticator).run());
    local.block_on(&runtime, authenticator.first_round());
    let request = TokenRequest {
        subject: "alice".to_owned(),
        tenant: Some("acme".to_owned()),
        groups: vec!["mcp.users".to_owned()],
        scopes: vec![],
        lifetime: Duration::from_hours(1),
        audience: None,
    };
    let token = issuer.token(&request).expect("a token");
    local.block_on(&runtime, authenticator.authenticate(&token, None)).expect("a good token");
    c.bench_function("token: verified before", |b| {
        b.iter(|| authenticator.cached(black_box(&token), None).expect("cached"));
    });
    // Each token is new to the cache; signing is not part of the time.
    c.bench_function("token: verified now, EdDSA", |b| {
        b.iter_batched(
            || issuer.token(&request).expect("a token"),
            |token| local.block_on(&runtime, authenticator.authenticate(&token, None)).expect("a good token"),
            criterion::BatchSize::SmallInput,
        );
    });
}

criterion_group!(benches, decode, forward, answer, token);
criterion_main!(benches);
