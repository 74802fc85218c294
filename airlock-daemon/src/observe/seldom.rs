//! Events that the log tells seldom: at most once a minute of each kind, with the number since the last time.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// How long nothing more is said of one kind.
const PAUSE: Duration = Duration::from_mins(1);

/// Events by kind. Each kind is remembered for good, so kinds are few.
#[derive(Debug)]
pub(crate) struct Seldom<K>(Mutex<HashMap<K, Tally>>);

#[derive(Debug)]
struct Tally {
    /// When it was last said.
    said: Instant,
    /// How many have come since.
    untold: u64,
}

impl<K> Default for Seldom<K> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Eq + Hash> Seldom<K> {
    /// Counts one more of a kind; says how many are to be told now.
    pub(crate) fn count(&self, kind: K, now: Instant) -> Option<u64> {
        // Each change is complete before anything can panic.
        let mut tallies = self.0.lock();
        let mut is_new = false;
        let tally = tallies.entry(kind).or_insert_with(|| {
            is_new = true;
            Tally { said: now, untold: 0 }
        });
        tally.untold += 1;
        if !is_new && now.saturating_duration_since(tally.said) < PAUSE {
            return None;
        }
        tally.said = now;
        Some(std::mem::take(&mut tally.untold))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_is_told_once_a_minute_with_a_count() {
        let seldom = Seldom::default();
        let start = Instant::now();
        assert_eq!(seldom.count("one", start), Some(1));
        assert_eq!(seldom.count("one", start), None);
        assert_eq!(seldom.count("one", start + PAUSE / 2), None);
        assert_eq!(seldom.count("other", start), Some(1), "another kind");
        assert_eq!(seldom.count("one", start + PAUSE), Some(3));
        assert_eq!(seldom.count("one", start + PAUSE), None);
    }
}
