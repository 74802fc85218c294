//! The era in which a server is spoken to for a client: the client's own, where the server has both and a
//! process or a session that is the client's alone. Then nothing is translated that need not be.

use std::sync::Arc;
use std::time::Duration;

use crate::config::schema::{EraChoice, Isolation, UpstreamKind};
use crate::mcp::client::ClientCapabilities;
use crate::mcp::revision::Era;

use super::super::error::UpstreamError;
use super::legacy_too::Unanswered;
use super::opening::Opening;
use super::probe::Patience;
use super::{Caller, Owner, Upstream};
use crate::upstream::era::facts::Facts;

/// How long a server may think about `initialize` where nobody knows that it has it.
const INITIALIZE_TIMEOUT: Duration = Duration::from_secs(10);

impl Caller<'_> {
    /// The era of the client: one with a session is of the legacy era.
    pub(in super::super) fn era(&self) -> Era {
        if self.session.is_some() { Era::Legacy } else { Era::Modern }
    }
}

impl Upstream {
    /// The facts of the server as it is spoken to for clients of an era; `None` until it has answered once.
    pub fn facts_for(&self, client: Era) -> Option<Arc<Facts>> {
        let general = self.facts()?;
        match client {
            Era::Legacy if self.may_have_both(&general) => self.legacy.load_full().or(Some(general)),
            _ => Some(general),
        }
    }

    /// The same, learned now where it is not known.
    ///
    /// # Errors
    /// As [`Upstream::probe_for`].
    pub async fn facts_of(self: &Arc<Self>, caller: &Caller<'_>) -> Result<Arc<Facts>, UpstreamError> {
        if let Some(facts) = self.facts_for(caller.era()) {
            return Ok(facts);
        }
        let facts = self.probe_for(caller).await?;
        Ok(self.facts_for(caller.era()).unwrap_or(facts))
    }

    /// True where a legacy client gets something of its own of a server that is modern to others. The
    /// connection of a server that dials in is not asked for what nobody may need, nor is one where each
    /// principal presents a credential.
    fn may_have_both(&self, general: &Facts) -> bool {
        let is_its_own = matches!(self.config.isolation, None | Some(Isolation::Session));
        let can_be_asked = self.config.kind != UpstreamKind::DialIn && !self.is_for_each();
        general.era == Era::Modern && self.config.era == EraChoice::Auto && is_its_own && can_be_asked
    }

    /// Learns whether a modern server speaks the legacy era as well, and what it has there, when the first
    /// legacy client comes: `server/discover` does not say it. A connection opened for it ends again.
    pub async fn learn_legacy(self: &Arc<Self>) {
        let asks =
            !self.legacy_asked.is_answered() && self.facts().is_some_and(|known| self.may_have_both(&known));
        if asks {
            let this = Arc::clone(self);
            // In a task of its own: a client that goes away must not keep it from being learned.
            let asked = async move { this.legacy_asked.ask(|| this.ask_legacy()).await };
            let _ = tokio::task::spawn_local(asked).await;
        }
    }

    async fn ask_legacy(&self) -> Result<(), Unanswered> {
        let opening = Opening {
            hub: self.places.hub(&Owner::Everyone, None),
            capabilities: ClientCapabilities::default(),
            token: None,
            patience: Patience::new(self.timeout, self.timeout.min(INITIALIZE_TIMEOUT)),
            own: Some(Era::Legacy),
        };
        let framing = self.framing.load_full();
        match self.open_as(EraChoice::Legacy, &opening).await {
            Ok((_, facts)) => {
                self.legacy.store(Some(facts));
                Ok(())
            }
            Err(error) => {
                self.framing.store(framing);
                // Most modern servers have one era, and that is no fault.
                tracing::debug!("it is spoken to in the modern era for all clients: {error}");
                if matches!(error, UpstreamError::Protocol { .. }) { Ok(()) } else { Err(Unanswered) }
            }
        }
    }

    /// Keeps what an opening has found out.
    pub(super) fn learned(&self, facts: &Arc<Facts>, opening: &Opening) {
        let is_both = self.facts().is_some_and(|known| known.era == Era::Modern);
        match (opening.own, facts.era) {
            (Some(Era::Legacy), Era::Legacy) if is_both => self.legacy.store(Some(Arc::clone(facts))),
            (own, era) => {
                if own == Some(Era::Legacy) && era == Era::Modern {
                    // It has lost that era.
                    self.legacy.store(None);
                }
                self.facts.store(Some(self.in_general(facts)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::time::Instant;

    use super::super::legacy_too::Asked;
    use super::*;

    #[tokio::test]
    async fn a_failure_of_the_moment_is_no_answer() {
        let (asked, count) = (Asked::default(), Cell::new(0));
        let ask = async |answer: Result<(), Unanswered>| {
            let counted = async || {
                count.set(count.get() + 1);
                answer
            };
            asked.ask(counted).await;
            (count.get(), asked.is_answered())
        };
        assert_eq!(ask(Err(Unanswered)).await, (1, false));
        asked.failed().until = Some(Instant::now() + Duration::from_mins(1));
        assert_eq!(ask(Ok(())).await, (1, false), "it is left alone for a while");
        asked.failed().until = Some(Instant::now());
        assert_eq!(ask(Ok(())).await, (2, true));
        assert_eq!(ask(Ok(())).await, (2, true), "an answer is kept");
    }
}
