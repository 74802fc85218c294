//! The record of a call that was let through.

use std::sync::Arc;

use crate::upstream::UpstreamError;

use crate::pipeline::Gateway;
use crate::pipeline::record::{self, Outcome};
use crate::pipeline::refusal::Aim;
use crate::pipeline::requester::Requester;

/// An intent that is on record and has no outcome yet. The outcome is written however the call ends, also
/// when it is dropped.
pub struct Open {
    /// The gateway.
    pub gateway: Arc<Gateway>,
    /// The sender of the call.
    pub who: Requester,
    /// The upstream, the method and the target of the call.
    pub aim: Aim,
    ended: bool,
}

impl Open {
    /// For an intent that was just recorded.
    pub fn new(gateway: &Arc<Gateway>, who: Requester, aim: Aim) -> Self {
        Self { gateway: Arc::clone(gateway), who, aim, ended: false }
    }

    /// Records the outcome, the first time; `bytes` is the length of the answer.
    pub fn end(&mut self, outcome: Outcome, bytes: usize, failure: Option<&UpstreamError>) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        let Self { gateway, who, aim, .. } = self;
        record::outcome(gateway, &who.context, &who.principal, aim, outcome, bytes, failure);
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
