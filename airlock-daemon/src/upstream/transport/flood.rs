//! How much a server may say that nobody asked for: lines that are no messages, and notifications. Beyond it
//! the server is read more slowly, so that it waits where it writes; one that goes on all the same is ended.

use std::time::{Duration, Instant};

use super::connect::Endpoint;
use crate::upstream::error::UpstreamError;

/// Messages that may come at once.
const BURST: f64 = 10_000.0;
/// Messages that may come each second, on and on.
const RATE: f64 = 2_000.0;
/// A message counts once more for each so many bytes of it.
const BLOCK: usize = 4096;
/// How long a server that says too much is left unread at a time.
const PAUSE: Duration = Duration::from_millis(100);
/// How long a server may go on saying too much.
const MAX_FLOOD: Duration = Duration::from_secs(10);

/// The measure after one more message that nobody asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::upstream) enum Verdict {
    /// It may go on.
    Fine,
    /// It is left unread for so long; the first time this is to be said.
    Slow(Duration, bool),
    /// It is ended.
    End,
}

/// The account of one connection.
#[derive(Debug)]
pub(super) struct Flood {
    left: f64,
    at: Instant,
    /// Since when it says too much.
    since: Option<Instant>,
}

impl Flood {
    pub(in crate::upstream) fn new(now: Instant) -> Self {
        Self { left: BURST, at: now, since: None }
    }

    /// Why a server is ended, in words.
    pub(in crate::upstream) fn reason() -> String {
        format!(
            "it floods: for {} seconds it said more than {RATE} things a second that nobody asked for \
             (each {BLOCK} bytes count as one more)",
            MAX_FLOOD.as_secs()
        )
    }

    /// One more message that nobody asked for, of so many bytes. A long one is taken while anything is left;
    /// the messages after it make up for what it costs beyond that.
    pub(super) fn one_more(&mut self, now: Instant, bytes: usize) -> Verdict {
        self.left = (self.left + now.duration_since(self.at).as_secs_f64() * RATE).min(BURST);
        self.at = now;
        if self.left >= 1.0 {
            self.left -= 1.0 + f64::from(u32::try_from(bytes / BLOCK).unwrap_or(u32::MAX));
            // Half of a burst of peace, and it is forgiven.
            if self.left >= BURST / 2.0 {
                self.since = None;
            }
            return Verdict::Fine;
        }
        match self.since {
            Some(since) if now.duration_since(since) >= MAX_FLOOD => Verdict::End,
            Some(_) => Verdict::Slow(PAUSE, false),
            None => {
                self.since = Some(now);
                Verdict::Slow(PAUSE, true)
            }
        }
    }

    /// As [`Flood::one_more`], now; waits for as long as the server is left unread.
    ///
    /// # Errors
    /// When the server is ended.
    pub(in crate::upstream) async fn count(
        &mut self,
        endpoint: &Endpoint,
        bytes: usize,
    ) -> Result<(), UpstreamError> {
        match self.one_more(Instant::now(), bytes) {
            Verdict::Fine => {}
            Verdict::Slow(pause, _) => tokio::time::sleep(pause).await,
            Verdict::End => return Err(endpoint.wrong(Self::reason())),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_slowed_and_then_ended_and_a_burst_is_not() {
        let start = Instant::now();
        let mut flood = Flood::new(start);
        let burst = (0..10_000).map(|_| flood.one_more(start, 0)).filter(|verdict| *verdict == Verdict::Fine);
        assert_eq!(burst.count(), 10_000);
        assert_eq!(flood.one_more(start, 0), Verdict::Slow(PAUSE, true));
        let mut now = start;
        let mut said = 0;
        let ended = loop {
            match flood.one_more(now, 0) {
                Verdict::Fine => said += 1,
                Verdict::Slow(pause, _) => now += pause,
                Verdict::End => break now,
            }
        };
        assert_eq!(ended.duration_since(start), MAX_FLOOD);
        assert!((19_000..=21_000).contains(&said), "{said}");
        // One that stops for a while has all of it again.
        let mut flood = Flood::new(start);
        while flood.one_more(start, 0) == Verdict::Fine {}
        let later = start + Duration::from_secs(8);
        assert_eq!(flood.one_more(later, 0), Verdict::Fine);
        assert!(flood.since.is_none());
    }

    #[test]
    fn what_is_within_the_rate_goes_on_for_ever() {
        let start = Instant::now();
        let mut flood = Flood::new(start);
        for number in 0..200_000_u32 {
            let now = start + Duration::from_micros(550) * number;
            assert_eq!(flood.one_more(now, BLOCK - 1), Verdict::Fine);
        }
    }

    #[test]
    fn long_messages_are_a_flood_of_their_own() {
        const HUGE: usize = 16 * 1024 * 1024;
        let start = Instant::now();
        let mut flood = Flood::new(start);
        let mut now = start;
        let mut taken = 0;
        loop {
            match flood.one_more(now, HUGE) {
                Verdict::Fine => taken += 1,
                Verdict::Slow(pause, _) => now += pause,
                Verdict::End => break,
            }
        }
        assert_eq!(now.duration_since(start), MAX_FLOOD);
        // Those of the burst, and those of ten seconds.
        assert!((5..=9).contains(&taken), "{taken}");
    }
}
