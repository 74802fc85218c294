//! Refused tokens in the log: why, and how many, at most once a minute for each issuer and reason. Mistakes
//! of a configuration are found there; the record has each single one.

use std::mem::{Discriminant, discriminant};
use std::time::Instant;

use crate::observe::seldom::Seldom;

use super::error::TokenError;
use super::proof_error::ProofError;

/// The refusals that have been told. There is one entry for each issuer and kind of error at most.
#[derive(Debug, Default)]
pub(crate) struct RefusalLog(Seldom<Reason>);

/// The issuer's place in the list, and the kind of error.
type Reason = (Option<usize>, Discriminant<TokenError>);

impl RefusalLog {
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
        self.0.count((issuer, discriminant(error)), now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn issuers_and_reasons_are_told_apart() {
        let log = RefusalLog::default();
        let start = Instant::now();
        let (expired, forged) =
            (TokenError::Expired { seconds: 1 }, TokenError::BadSignature { issuer: "https://idp".into() });
        assert_eq!(log.count(Some(0), &expired, start), Some(1));
        assert_eq!(log.count(Some(0), &TokenError::Expired { seconds: 2 }, start), None, "the same reason");
        assert_eq!(log.count(Some(0), &forged, start), Some(1), "another reason");
        assert_eq!(log.count(Some(1), &expired, start), Some(1), "another issuer");
        assert_eq!(log.count(None, &expired, start), Some(1), "nobody that is known");
    }
}
