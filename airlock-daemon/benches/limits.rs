//! The cost of a limit: one bucket, alone and fought over by two threads, and a table of many keys.
#![allow(missing_docs)]

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use airlock::config::schema::Config;
use airlock::config::units::Rate;
use airlock::limits::bucket::{Bucket, Quota};
use airlock::limits::offender::{Offence, OffenderSink};
use airlock::limits::table::{BucketKey, Table};
use airlock::limits::{Limits, RequestSource};
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};

/// Keys of the large table.
const KEYS: u32 = 50_000;

struct Nobody;

impl OffenderSink for Nobody {
    fn offend(&self, _: &Offence) {}
    fn forgive(&self, _: IpAddr) {}
}

/// Runs `one` here while `others` threads do the same.
fn fought_over(criterion: &mut Criterion, name: &str, others: usize, one: impl Fn(u64) + Sync) {
    let over = AtomicBool::new(false);
    let epoch = Instant::now();
    let now = || u64::try_from(epoch.elapsed().as_nanos()).unwrap_or(u64::MAX);
    std::thread::scope(|scope| {
        for _ in 0..others {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    one(now());
                }
            });
        }
        criterion.bench_with_input(BenchmarkId::new(name, others + 1), &(), |bencher, ()| {
            bencher.iter(|| one(black_box(now())));
        });
        over.store(true, Ordering::Relaxed);
    });
}

fn limits(criterion: &mut Criterion) {
    // Fast enough that most requests pass, which is the dearer way.
    let fast = Quota::new(Rate { count: 4_000_000_000, per: std::time::Duration::from_secs(1) }, 1_000_000);
    for others in [0, 1] {
        let bucket = Bucket::default();
        fought_over(criterion, "limits/one bucket, threads", others, |now| {
            let _ = black_box(bucket.take(fast, now));
        });
        let table = Table::new(fast);
        let key = BucketKey::of(Ipv4Addr::new(192, 0, 2, 1).into());
        fought_over(criterion, "limits/one key of a table, threads", others, |now| {
            let _ = black_box(table.take(key, now));
        });
    }
    let table = Table::new(Quota::new(Rate { count: 1, per: std::time::Duration::from_hours(1) }, 1));
    let keys: Vec<BucketKey> =
        (0..KEYS).map(|n| BucketKey::of(IpAddr::V4((0x0a00_0000 + n).into()))).collect();
    for key in &keys {
        let _ = table.take(*key, 0);
    }
    let mut turn = keys.iter().cycle();
    criterion.bench_function("limits/50,000 keys of a table", |bencher| {
        bencher.iter(|| turn.next().map(|key| table.take(black_box(*key), 1)));
    });
    let limits = Limits::new(&Config::default(), Arc::new(Nobody));
    let source = RequestSource { address: Ipv4Addr::new(192, 0, 2, 1).into(), direct: true, lured: false };
    criterion.bench_function("limits/a request with the defaults", |bencher| {
        bencher.iter(|| {
            let passed = limits.request(black_box(source)).and_then(|()| limits.token_shown(source));
            black_box(passed).is_ok()
        });
    });
}

criterion_group!(benches, limits);
criterion_main!(benches);
