//! One decision of the shipped policy on a warm worker: made anew, and found among those made before.
#![allow(missing_docs, clippy::unwrap_used)]

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use airlock::auth::principal::{Bearer, Principal};
use airlock::policy::{Call, Client, Counts, PolicyEngine, Question};
use criterion::{Criterion, criterion_group, criterion_main};
use serde_json::value::RawValue;

fn decisions(criterion: &mut Criterion) {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../policies");
    let engine = PolicyEngine::load(&shipped).unwrap();
    let counts = Arc::<Counts>::default();
    let cached = PolicyEngine::load(&shipped).unwrap().with_cache(Some(Duration::from_hours(1)), &counts);
    let claims = serde_json::json!({
        "iss": "https://idp.example.com", "sub": "alice", "aud": "https://airlock.example.com/mcp",
        "exp": 1_795_350_600, "iat": 1_795_347_000, "tid": "acme", "groups": ["mcp.users"], "scope": "mcp",
    });
    let subject = |groups: &[&str]| {
        Principal::new(Bearer {
            subject: "alice".into(),
            tenant: Some("acme".into()),
            groups: groups.iter().map(|group| (*group).to_owned()).collect(),
            scopes: vec!["mcp".into()],
            issuer: "https://idp.example.com".into(),
            claims: claims.as_object().unwrap().clone(),
            expires_at: 1_795_350_600,
        })
    };
    let (reader, both, nobody) =
        (subject(&["mcp.users"]), subject(&["mcp.users", "mcp.admins"]), subject(&[]));
    let arguments = RawValue::from_string(r#"{"path": "guides/start.md", "limit": 20}"#.into()).unwrap();
    let mut group = criterion.benchmark_group("policy");
    for (name, subject, method, tool, arguments) in [
        ("reader_calls_tool", &reader, "tools/call", Some("read_file"), Some(&*arguments)),
        ("two_roles_call_tool", &both, "tools/call", Some("read_file"), Some(&*arguments)),
        ("entry_of_a_list", &reader, "tools/call", Some("search_docs"), None),
        ("refused_by_default", &reader, "tools/call", Some("phone_home"), Some(&*arguments)),
        ("refused_by_rule", &nobody, "tools/call", Some("read_file"), Some(&*arguments)),
        ("protocol_method", &reader, "tools/list", None, None),
    ] {
        let question = Question {
            subject,
            call: Call {
                method,
                upstream: "docs",
                tool,
                prompt: None,
                resource: None,
                root: None,
                arguments,
                revision: "2026-07-28",
            },
            client: Client { address: Some("203.0.113.7"), certificate: None, uid: None },
            time: 1_795_347_000,
        };
        group.bench_function(name, |bencher| bencher.iter(|| engine.decide(black_box(&question))));
        group.bench_function(format!("{name}_cached"), |bencher| {
            bencher.iter(|| cached.decide(black_box(&question)));
        });
    }
    group.finish();
    assert!(counts.hits() > 100 * counts.misses(), "what was measured was not found: {counts:?}");
}

criterion_group!(benches, decisions);
criterion_main!(benches);
