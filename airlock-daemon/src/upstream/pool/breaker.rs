//! The circuit breaker of one upstream: a server that fails to start again and again is left alone for a
//! while, so that callers are told at once and the host is not kept busy with processes that end.

use std::time::{Duration, Instant};

use parking_lot::{Mutex, MutexGuard};

use crate::config::units::Period;

use crate::upstream::backoff::Backoff;
use crate::upstream::error::UpstreamError;

/// Starts that fail in a row before the server is left alone.
const MAX_START_FAILURES: u32 = 5;
/// How soon another caller may look again while one tries.
const TRYING: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Default)]
pub(super) struct Breaker(Mutex<BreakerState>);

#[derive(Default)]
struct BreakerState {
    /// Starts that failed since the last one that succeeded.
    failures: u32,
    /// Until when the circuit is open; afterwards one start is let through.
    open: Option<Instant>,
    trying: bool,
    backoff: Backoff,
    last: Option<UpstreamError>,
}

/// A start that was let through; dropped without a verdict it counts as none.
pub(super) struct Attempt<'a> {
    breaker: &'a Breaker,
    upstream: &'a str,
    /// It is the one that is let through an open circuit.
    trial: bool,
}

/// The effect of a failed start on the circuit.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::upstream) enum Verdict {
    Unchanged,
    Opened,
}

impl Breaker {
    fn lock(&self) -> MutexGuard<'_, BreakerState> {
        // No change below can panic between its steps.
        self.0.lock()
    }

    /// True where the server is left alone, or about to be tried again.
    pub(in crate::upstream) fn is_open(&self) -> bool {
        self.lock().open.is_some()
    }

    /// Lets a start through.
    ///
    /// # Errors
    /// [`UpstreamError::CircuitOpen`].
    pub(super) fn admit<'a>(&'a self, upstream: &'a str) -> Result<Attempt<'a>, UpstreamError> {
        let mut state = self.lock();
        let (Some(open), Some(last)) = (state.open, &state.last) else {
            return Ok(Attempt { breaker: self, upstream, trial: false });
        };
        let left = open.saturating_duration_since(Instant::now());
        if state.trying || !left.is_zero() {
            return Err(UpstreamError::CircuitOpen {
                upstream: upstream.to_owned(),
                failures: state.failures,
                last: Box::new(last.clone()),
                wait: left.max(if state.trying { TRYING } else { Duration::ZERO }),
            });
        }
        state.trying = true;
        Ok(Attempt { breaker: self, upstream, trial: true })
    }
}

impl Attempt<'_> {
    /// The start succeeded.
    pub(super) fn succeeded(self) {
        let mut state = self.breaker.lock();
        if state.open.is_some() {
            tracing::info!(upstream = self.upstream, "the server has started again; its circuit is closed");
        }
        *state = BreakerState::default();
    }

    /// The start failed.
    pub(in crate::upstream) fn failed(self, error: &UpstreamError) -> Verdict {
        let mut state = self.breaker.lock();
        // Starts that were under way when the circuit opened say nothing new.
        if state.open.is_some() && !self.trial {
            return Verdict::Unchanged;
        }
        state.failures = state.failures.saturating_add(1);
        state.last = Some(error.clone());
        if state.failures < MAX_START_FAILURES {
            return Verdict::Unchanged;
        }
        let first = state.open.is_none();
        let pause = state.backoff.pause();
        state.open = Some(Instant::now() + pause);
        if first {
            tracing::warn!(
                upstream = self.upstream,
                failures = state.failures,
                "the server fails to start; its circuit is open, and it is tried again in {}",
                Period(pause)
            );
            return Verdict::Opened;
        }
        Verdict::Unchanged
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        if self.trial {
            self.breaker.lock().trying = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error() -> UpstreamError {
        UpstreamError::Start { upstream: "x".to_owned(), detail: "no such file".to_owned() }
    }

    fn fail(breaker: &Breaker) -> Verdict {
        breaker.admit("x").expect("closed").failed(&error())
    }

    #[test]
    fn five_failures_open_it_and_one_success_closes_it() {
        let breaker = Breaker::default();
        for _ in 1..MAX_START_FAILURES {
            assert_eq!(fail(&breaker), Verdict::Unchanged);
        }
        breaker.admit("x").expect("closed").succeeded();
        for _ in 1..MAX_START_FAILURES {
            assert_eq!(fail(&breaker), Verdict::Unchanged);
        }
        let late = breaker.admit("x").expect("closed");
        assert_eq!(fail(&breaker), Verdict::Opened);
        assert_eq!(late.failed(&error()), Verdict::Unchanged);
        let refused = breaker.admit("x").err().expect("open");
        assert!(refused.to_string().contains("no such file"), "{refused}");
        assert_eq!((refused.status().as_u16(), refused.retry_after().is_some()), (503, true));
    }

    #[test]
    fn after_the_pause_one_is_let_through() {
        let breaker = Breaker::default();
        while fail(&breaker) == Verdict::Unchanged {}
        let over = || breaker.lock().open = Some(Instant::now());
        over();
        let trial = breaker.admit("x").expect("half open");
        assert!(breaker.admit("x").is_err(), "one at a time");
        drop(trial);
        let trial = breaker.admit("x").expect("half open");
        assert_eq!(trial.failed(&error()), Verdict::Unchanged);
        assert!(breaker.admit("x").is_err(), "for longer this time");
        over();
        breaker.admit("x").expect("half open").succeeded();
        assert_eq!(fail(&breaker), Verdict::Unchanged);
    }
}
