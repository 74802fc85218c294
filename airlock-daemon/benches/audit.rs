//! The cost of one audit record: on the worker that hands it over, and on the writer that chains it.
#![allow(missing_docs, clippy::unwrap_used)]

use std::hint::black_box;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant, SystemTime};

use airlock::audit::{AuditLog, Chain, Event, Record, Verdict, message};
use airlock::config::schema;
use airlock::observe::metrics::{Metrics, Outcome};
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};

/// Fewer than the queue holds, so that nothing is refused while the clock runs.
const BURST: u64 = 4_000;

// As a principal shares them with all its records.
static ISSUER: LazyLock<Arc<str>> = LazyLock::new(|| "https://idp.example.com".into());
static GROUPS: LazyLock<Arc<[Arc<str>]>> =
    LazyLock::new(|| ["mcp.users", "engineering", "on-call"].map(Arc::from).into());
static SCOPES: LazyLock<Arc<[Arc<str>]>> = LazyLock::new(|| ["mcp", "docs.read"].map(Arc::from).into());

fn call(correlation_id: &str) -> Record {
    Record {
        correlation_id: Some(correlation_id.into()),
        trace_id: Some("4bf92f3577b34da6a3ce929d0e0e4736".into()),
        tenant: Some("acme".into()),
        subject: Some("alice@example.com".into()),
        issuer: Some(ISSUER.clone()),
        groups: Some(GROUPS.clone()),
        scopes: Some(SCOPES.clone()),
        revision: Some("2026-07-28"),
        client: Some("203.0.113.7:51324".into()),
        upstream: Some("docs".into()),
        method: Some("tools/call".into()),
        target: Some("read_file".into()),
        decision: Some(Verdict::Allow),
        rule_id: Some("reader".into()),
        input_digest: Some([0x5a; 32]),
        status: Some(200),
        latency_us: Some(812),
        bytes: Some(16_384),
        ..Record::new(Event::CallOutcome)
    }
}

fn record(c: &mut Criterion) {
    let dir = tempfile::tempdir().unwrap();
    let config = schema::Audit { dir: dir.path().into(), journald: false, ..schema::Audit::default() };
    let (log, writer) = AuditLog::open(&config).unwrap();
    c.bench_function("audit/record, worker side", |b| {
        b.iter_custom(|count| {
            let mut spent = Duration::ZERO;
            let mut left = count;
            while left > 0 {
                let burst = left.min(BURST);
                let begin = Instant::now();
                for _ in 0..burst {
                    log.record(call("01JCZ8QK5T0V9W3X7Y2M4N6P8R")).unwrap();
                }
                spent += begin.elapsed();
                left -= burst;
                while log.stats().queued > 0 {
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
            spent
        });
    });
    writer.join().unwrap();
}

fn chain(c: &mut Criterion) {
    let (mut chain, mut out) = (Chain::default(), Vec::with_capacity(1 << 20));
    let time = SystemTime::now();
    c.bench_function("audit/serialise and hash, writer side", |b| {
        b.iter_batched(
            || call("01JCZ8QK5T0V9W3X7Y2M4N6P8R"),
            |record| {
                out.clear();
                chain.append(record, time, &mut out)
            },
            BatchSize::SmallInput,
        );
    });
    let record = call("01JCZ8QK5T0V9W3X7Y2M4N6P8R");
    c.bench_function("audit/message", |b| b.iter(|| message(black_box(&record))));
}

fn metrics(c: &mut Criterion) {
    let metrics: Arc<Metrics> = Metrics::new();
    let docs = metrics.upstream("docs");
    c.bench_function("metrics/request", |b| {
        b.iter(|| metrics.request(black_box("tools/call"), black_box(200)));
    });
    c.bench_function("metrics/call by handle", |b| {
        b.iter(|| docs.call(black_box(Outcome::Ok), black_box(Duration::from_micros(812))));
    });
    c.bench_function("metrics/call by name", |b| {
        b.iter(|| metrics.call(black_box("docs"), Outcome::Ok, black_box(Duration::from_micros(812))));
    });
}

criterion_group!(benches, record, chain, metrics);
criterion_main!(benches);
