//! The owner of a subscription, and what it asks for later on.

use super::ask::Answered;
use super::error::UpstreamError;
use super::pool::Caller;
use crate::auth::principal::{Identity, Token};
use crate::mcp::client::ClientCapabilities;
use std::sync::Arc;
use tokio::sync::oneshot;

/// A resource to watch from now on, or not any more.
pub(super) struct Change {
    pub(super) uri: String,
    pub(super) watch: bool,
    pub(super) answer: oneshot::Sender<Result<Answered, UpstreamError>>,
}

/// The owner of the subscription.
pub(super) struct Subscriber {
    pub(super) identity: Identity,
    pub(super) session: Option<Arc<str>>,
    pub(super) token: Option<Arc<Token>>,
    pub(super) capabilities: ClientCapabilities,
}

impl Subscriber {
    /// As the pool wants to know it.
    pub(super) fn caller(&self) -> Caller<'_> {
        Caller {
            identity: self.identity.clone(),
            session: self.session.as_ref(),
            token: self.token.clone(),
            capabilities: self.capabilities,
        }
    }
}
