//! How long a link has stood idle.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// The end of a link that was given up, in words.
pub(super) const GIVEN_UP: &str = "it stood idle, and somebody else needed its connection";

/// When a link was last used.
pub(super) struct Usage {
    begun: Instant,
    /// The last beginning or end of a call, in milliseconds since the link began.
    last: AtomicU64,
    in_flight: AtomicUsize,
    /// It was ended for somebody else.
    pub(super) given_up: AtomicBool,
}

impl Usage {
    pub(super) fn new() -> Self {
        Self {
            begun: Instant::now(),
            last: AtomicU64::new(0),
            in_flight: AtomicUsize::new(0),
            given_up: AtomicBool::new(false),
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    pub(super) fn call_begins(&self) {
        self.in_flight.fetch_add(1, Ordering::AcqRel);
        self.last.store(self.now(), Ordering::Release);
    }

    pub(super) fn call_ends(&self) {
        self.last.store(self.now(), Ordering::Release);
        self.in_flight.fetch_sub(1, Ordering::AcqRel);
    }

    /// It counts as used now, so that the next who waits takes another one where this one is not given up.
    pub(super) fn is_asked_for(&self) {
        self.last.store(self.now(), Ordering::Release);
    }

    /// Since when nobody waits for an answer; no time where somebody does.
    pub(super) fn idle(&self) -> Duration {
        if self.in_flight.load(Ordering::Acquire) > 0 {
            return Duration::ZERO;
        }
        Duration::from_millis(self.now().saturating_sub(self.last.load(Ordering::Acquire)))
    }
}
