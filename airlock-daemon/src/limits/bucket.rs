//! A token bucket in one number (GCRA): the time at which it will be full again.
//!
//! Whoever takes moves that time ahead by the time that one request is worth, and may not move it further
//! ahead of now than a whole bucket is worth. So a bucket is 8 bytes, needs nobody to fill it, and is changed
//! by one compare-and-swap.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::config::units::Rate;

/// How fast a bucket fills, and how much it holds. Times are nanoseconds of a clock that the caller keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// Nanoseconds that one request is worth.
    every: u64,
    /// Nanoseconds that a full bucket is worth.
    room: u64,
}

/// A bucket. A new one is full.
#[derive(Debug, Default)]
pub struct Bucket(AtomicU64);

impl Quota {
    /// `rate`, with at most `burst` requests at once (at least 1). Never more than `burst` + `rate` × time:
    /// what does not divide is rounded to the disadvantage of the client.
    pub fn new(rate: Rate, burst: u32) -> Self {
        let nanos = u64::try_from(rate.per.as_nanos()).unwrap_or(u64::MAX);
        let every = nanos.div_ceil(u64::from(rate.count.max(1))).max(1);
        Self { every, room: every.saturating_mul(u64::from(burst.max(1))) }
    }

    /// `rate`, of which a whole span's worth may come at once.
    pub fn whole(rate: Rate) -> Self {
        Self::new(rate, rate.count)
    }
}

impl Bucket {
    /// Takes one request at the time `now`.
    ///
    /// # Errors
    /// How long to wait until there is one to take; nothing was taken.
    pub fn take(&self, quota: Quota, now: u64) -> Result<(), Duration> {
        let mut full_at = self.0.load(Ordering::Relaxed);
        loop {
            let next = full_at.max(now).saturating_add(quota.every);
            let ahead = next - now;
            if ahead > quota.room {
                return Err(Duration::from_nanos(ahead - quota.room));
            }
            match self.0.compare_exchange_weak(full_at, next, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return Ok(()),
                Err(other) => full_at = other,
            }
        }
    }

    /// Takes one if there is one, and empties the bucket if there is less.
    pub fn drain(&self, quota: Quota, now: u64) {
        let spent = |full_at: u64| {
            Some(full_at.max(now).saturating_add(quota.every).min(now.saturating_add(quota.room)))
        };
        // Never less than before: the clock of another thread may be ahead.
        let _ = self
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |old| spent(old).map(|new| new.max(old)));
    }

    /// How long to wait until there is one to take; none when there is one.
    pub fn wait(&self, quota: Quota, now: u64) -> Option<Duration> {
        let ahead = self.0.load(Ordering::Relaxed).max(now).saturating_add(quota.every) - now;
        (ahead > quota.room).then(|| Duration::from_nanos(ahead - quota.room))
    }

    /// True where it is full, so that a new one is as good.
    pub fn is_full(&self, now: u64) -> bool {
        self.0.load(Ordering::Relaxed) <= now
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use proptest::prelude::*;

    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn per_second(count: u32) -> Rate {
        Rate { count, per: Duration::from_secs(1) }
    }

    #[test]
    fn a_burst_passes_and_then_the_rate() {
        let (bucket, quota) = (Bucket::default(), Quota::new(per_second(10), 3));
        for _ in 0..3 {
            assert_eq!(bucket.take(quota, 5 * SECOND), Ok(()));
        }
        assert_eq!(bucket.take(quota, 5 * SECOND), Err(Duration::from_millis(100)));
        assert_eq!(bucket.wait(quota, 5 * SECOND), Some(Duration::from_millis(100)));
        assert_eq!(bucket.take(quota, 5 * SECOND + 99_999_999), Err(Duration::from_nanos(1)));
        assert_eq!(bucket.take(quota, 5 * SECOND + 100_000_000), Ok(()));
        assert!(!bucket.is_full(5 * SECOND + 399_999_999) && bucket.is_full(5 * SECOND + 400_000_000));
        // After a rest there is a burst again and no more.
        let passed = (0..10).filter(|_| bucket.take(quota, 60 * SECOND).is_ok()).count();
        assert_eq!(passed, 3);
    }

    #[test]
    fn an_empty_bucket_is_not_emptied_further() {
        let (bucket, quota) = (Bucket::default(), Quota::whole(Rate::per_minute(5)));
        for _ in 0..100 {
            bucket.drain(quota, SECOND);
        }
        assert_eq!(bucket.wait(quota, SECOND), Some(Duration::from_secs(12)));
        assert_eq!(bucket.wait(quota, 13 * SECOND), None);
    }

    /// Threads share one bucket while a clock that they also share goes on: no more passes than was allowed,
    /// and no less.
    #[test]
    fn threads_get_a_burst_and_the_rate_together() {
        let quota = Quota::new(per_second(1_000), 50);
        let (bucket, clock, passed) = (Bucket::default(), AtomicU64::new(SECOND), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..20_000 {
                        let now = clock.fetch_add(10_000, Ordering::Relaxed);
                        if bucket.take(quota, now).is_ok() {
                            passed.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                });
            }
        });
        // 160,000 attempts in 1.6 s of that clock.
        let passed = passed.into_inner();
        assert!(passed <= 50 + 1_600, "{passed}");
        // A thread that was put aside comes with an old time and gets nothing for it, so some is lost; never
        // much.
        assert!(passed >= 1_500, "{passed}");
    }

    proptest! {
        /// Over any span of any course of attempts, no more than a burst and the rate of that span.
        #[test]
        fn no_span_has_more_than_its_share(
            count in 1_u32..500,
            burst in 1_u32..100,
            steps in proptest::collection::vec(0_u64..50_000_000, 1..400),
        ) {
            let (bucket, quota) = (Bucket::default(), Quota::new(per_second(count), burst));
            let mut now = SECOND;
            let mut passed = Vec::new();
            for step in steps {
                now += step;
                if bucket.take(quota, now).is_ok() {
                    passed.push(now);
                }
            }
            for (place, first) in passed.iter().enumerate() {
                for (until, last) in passed.iter().enumerate().skip(place) {
                    let allowed = u64::from(burst) + (last - first) * u64::from(count) / SECOND;
                    let had = (until - place + 1) as u64;
                    prop_assert!(had <= allowed, "{had} of {allowed}");
                }
            }
        }
    }
}
