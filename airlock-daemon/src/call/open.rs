//! The record of a call that was let through.

use std::sync::Arc;

use crate::limits::daily::Spending;
use crate::upstream::UpstreamError;

use super::sifted::{self, SiftedKind};
use crate::pipeline::Gateway;
use crate::pipeline::record::{self, Ended, Outcome};
use crate::pipeline::refusal::Aim;
use crate::pipeline::request::requester::Requester;
use crate::redaction::{Barred, Found, Sieve};

/// An intent that is on record and has no outcome yet. The outcome is written however the call ends, also
/// when it is dropped.
pub struct Open {
    /// The gateway.
    pub gateway: Arc<Gateway>,
    /// The sender of the call.
    pub who: Requester,
    /// The upstream, the method and the target of the call.
    pub aim: Aim,
    /// Looks through what is said in its course; none where nothing is looked for.
    pub sieve: Option<Arc<Sieve>>,
    /// The call as it was counted for the day, where it was.
    pub spending: Option<Spending>,
    /// The findings in what the server has said.
    pub found: Found,
    /// The detector that bars the answer.
    pub barred: Option<Arc<str>>,
    ended: bool,
}

impl Open {
    /// For an intent that was just recorded.
    pub fn new(gateway: &Arc<Gateway>, who: Requester, aim: Aim, sieve: Option<Arc<Sieve>>) -> Self {
        let (found, barred) = (Found::default(), None);
        Self { gateway: Arc::clone(gateway), who, aim, sieve, spending: None, found, barred, ended: false }
    }

    /// Records the outcome, the first time; `bytes` is the length of the answer, which counts for the day.
    pub fn end(&mut self, outcome: Outcome, bytes: usize, failure: Option<&UpstreamError>) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        let Self { gateway, who, aim, spending, found, barred, .. } = self;
        match spending {
            Some(spending) if outcome == Outcome::Refused => gateway.limits.take_back(*spending),
            Some(spending) => gateway.limits.spent(*spending, bytes),
            None => {}
        }
        let ended = Ended { outcome, bytes, failure, found, barred: barred.as_ref() };
        record::outcome(gateway, &who.context, &who.principal, aim, &ended);
    }
}

impl Open {
    /// Looks through something that the server says; what is found goes on record with the outcome.
    ///
    /// # Errors
    /// Why it may not pass.
    pub(super) async fn sift(&mut self, kind: SiftedKind, text: String) -> Result<String, Barred> {
        sifted::message(self.sieve.as_ref(), kind, text, &mut self.found).await
    }

    /// An error object of the server's as it may pass, or what takes its place.
    pub async fn sift_error(&mut self, error: String) -> String {
        let sifted = self.sift(SiftedKind::Plain, error).await;
        sifted.unwrap_or_else(|barred| self.instead(&barred))
    }

    /// The error object in place of an answer that may not pass; the outcome says so.
    pub(super) fn instead(&mut self, barred: &Barred) -> String {
        self.barred = barred.detector().cloned();
        sifted::instead(barred, &self.who.context.correlation_id)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.end(Outcome::Cancelled, 0, None);
    }
}

/// The outcome that a failure of the upstream is.
pub const fn failed(error: &UpstreamError) -> Outcome {
    match error {
        UpstreamError::Deadline { .. } => Outcome::Timeout,
        _ => Outcome::Unavailable,
    }
}
