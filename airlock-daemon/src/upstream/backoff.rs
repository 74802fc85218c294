//! Pauses that double from one failure to the next, each a little different so that not everybody comes back
//! at once.

use std::time::Duration;

const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_mins(1);

/// The pauses of one thing that fails.
#[derive(Debug)]
pub(super) struct Backoff(Duration);

impl Default for Backoff {
    fn default() -> Self {
        Self(FIRST)
    }
}

impl Backoff {
    /// The next pause: 1 s, 2 s, … up to a minute, and up to a quarter more.
    pub(super) fn pause(&mut self) -> Duration {
        let pause = self.0;
        self.0 = pause.saturating_mul(2).min(LONGEST);
        pause + (pause / 4).mul_f64(fraction())
    }

    /// It has worked again.
    pub(super) fn reset(&mut self) {
        *self = Self::default();
    }
}

/// A number from 0 to 1; where the kernel has no random numbers, the middle.
fn fraction() -> f64 {
    getrandom::u32().map_or(0.5, |random| f64::from(random) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_minute() {
        let mut backoff = Backoff::default();
        for seconds in [1, 2, 4, 8, 16, 32, 60, 60] {
            let (pause, least) = (backoff.pause(), Duration::from_secs(seconds));
            assert!(pause >= least && pause <= least + least / 4, "{pause:?} for {least:?}");
        }
        backoff.reset();
        assert!(backoff.pause() < Duration::from_secs(2));
    }
}
