//! How long a link has stood idle, and its end for the sake of somebody else.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::{Command, Shared};

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
    fn is_asked_for(&self) {
        self.last.store(self.now(), Ordering::Release);
    }

    /// Since when nobody waits for an answer; no time where somebody does.
    fn idle(&self) -> Duration {
        if self.in_flight.load(Ordering::Acquire) > 0 {
            return Duration::ZERO;
        }
        Duration::from_millis(self.now().saturating_sub(self.last.load(Ordering::Acquire)))
    }
}

/// A link that may be taken back. It does not keep the link.
pub(in super::super) struct Lease {
    pub(super) commands: mpsc::WeakSender<Command>,
    pub(super) shared: Arc<Shared>,
}

impl Lease {
    /// How long it has stood idle; `None` when it has ended.
    pub(in super::super) fn idle(&self) -> Option<Duration> {
        let lives = self.shared.alive.load(Ordering::Acquire) && self.commands.strong_count() > 0;
        lives.then(|| self.shared.usage.idle())
    }

    /// Ends it, unless a call has begun meanwhile. Whoever had it and keeps something in the server is told
    /// with the next call.
    pub(in super::super) fn give_up(&self) {
        self.shared.usage.is_asked_for();
        if let Some(commands) = self.commands.upgrade() {
            // A full queue is no idle link.
            let _ = commands.try_send(Command::GiveUp);
        }
    }
}
