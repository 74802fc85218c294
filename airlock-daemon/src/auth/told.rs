//! Refused tokens in the log: why, and how many, at most once a minute for each issuer and reason. Mistakes of a configuration are
//! found there; the record has each single one.

use std::collections::HashMap;
use std::mem::{Discriminant, discriminant};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::dpop::ProofError;
use super::error::TokenError;

/// How long nothing more is said of one reason.
const PAUSE: Duration = Duration::from_mins(1);

/// What has been said. There is one entry for each issuer and kind of error at most.
#[derive(Debug, Default)]
pub(crate) struct Told(Mutex<HashMap<Reason, Tally>>);

/// The issuer's place in the list, and the kind of error.
type Reason = (Option<usize>, Discriminant<TokenError>);

#[derive(Debug)]
struct Tally {
    /// When it was last said.
    said: Instant,
    /// How many have come since.
    untold: u64,
}

impl Told {
    /// A token of an issuer (by its place in the list; none where it names none that is trusted) was refused.
    pub(crate) fn refused(&self, issuer: Option<(usize, &str)>, error: &TokenError) {
        // Keys that are missing are told where they are fetched, and a first proof cannot have a nonce.
        if matches!(error, TokenError::KeysUnavailable { .. } | TokenError::Proof(ProofError::NonceNeeded)) {
            return;
        }
        let Some(count) = self.count(issuer.map(|(index, _)| index), error, Instant::now()) else { return };
        let issuer = issuer.map_or("unknown", |(_, name)| name);
        tracing::warn!(issuer, refused = count, "tokens were refused, the last one because: {error}");
    }

    /// How many are to be told now.
    fn count(&self, issuer: Option<usize>, error: &TokenError, now: Instant) -> Option<u64> {
        // Each change is complete before anything can panic.
        let mut tallies = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let tally = tallies.entry((issuer, discriminant(error)));
        let mut is_new = false;
        let tally = tally.or_insert_with(|| {
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
    fn each_reason_is_told_once_a_minute_with_a_count() {
        let told = Told::default();
        let start = Instant::now();
        let (expired, forged) =
            (TokenError::Expired { seconds: 1 }, TokenError::BadSignature { issuer: "https://idp".into() });
        assert_eq!(told.count(Some(0), &expired, start), Some(1));
        assert_eq!(told.count(Some(0), &TokenError::Expired { seconds: 2 }, start), None);
        assert_eq!(told.count(Some(0), &expired, start + PAUSE / 2), None);
        assert_eq!(told.count(Some(0), &forged, start), Some(1), "another reason");
        assert_eq!(told.count(Some(1), &expired, start), Some(1), "another issuer");
        assert_eq!(told.count(None, &expired, start), Some(1), "nobody that is known");
        assert_eq!(told.count(Some(0), &expired, start + PAUSE), Some(3));
        assert_eq!(told.count(Some(0), &expired, start + PAUSE), None);
    }
}
