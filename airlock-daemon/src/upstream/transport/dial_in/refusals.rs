//! Refused diallers go to the log and the audit, but never so many that they drown all else: anybody on the
//! host may knock.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::audit::{AuditLog, Event, Record, Verdict};

/// Within this time after one that was recorded, others are only counted.
const QUIET: Duration = Duration::from_secs(1);

/// The refusals on one socket.
pub(super) struct Refusals {
    upstream: Arc<str>,
    audit: AuditLog,
    throttle: Throttle,
}

impl Refusals {
    pub(super) fn new(upstream: Arc<str>, audit: AuditLog) -> Self {
        Self { upstream, audit, throttle: Throttle::default() }
    }

    /// Records a refusal.
    pub(super) fn refuse(&mut self, who: &str, reason: &str) {
        let Some(more) = self.throttle.take(Instant::now()) else { return };
        let more = if more == 0 { String::new() } else { format!(" (and {more} more before)") };
        tracing::warn!(upstream = %self.upstream, who, "a server that dialled in was refused: {reason}{more}");
        let record = Record {
            upstream: Some(Arc::clone(&self.upstream)),
            client: Some(who.into()),
            decision: Some(Verdict::Deny),
            rule_id: Some("dial_in".into()),
            reason: Some(format!("{reason}{more}").into()),
            ..Record::new(Event::Refusal)
        };
        // It is refused whether this can be recorded or not; the audit log tells of its own trouble.
        let _ = self.audit.record_refusal(record);
    }
}

#[derive(Default)]
struct Throttle {
    last: Option<Instant>,
    skipped: u64,
}

impl Throttle {
    /// The number of those that were not recorded since the last that was; `None` where this one is not
    /// either.
    fn take(&mut self, now: Instant) -> Option<u64> {
        if self.last.is_some_and(|last| now.saturating_duration_since(last) < QUIET) {
            self.skipped = self.skipped.saturating_add(1);
            return None;
        }
        self.last = Some(now);
        Some(std::mem::take(&mut self.skipped))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crowd_is_counted_not_listed() {
        let (mut throttle, now) = (Throttle::default(), Instant::now());
        assert_eq!(throttle.take(now), Some(0));
        for _ in 0..100 {
            assert_eq!(throttle.take(now + QUIET / 2), None);
        }
        assert_eq!(throttle.take(now + QUIET), Some(100));
        assert_eq!(throttle.take(now + QUIET * 2), Some(0));
    }
}
