//! The owner of a subscription, and what it asks for later on.

use crate::auth::principal::{Identity, Token};
use crate::mcp::client::ClientCapabilities;
use crate::upstream::error::UpstreamError;
use crate::upstream::message::ask::Answered;
use crate::upstream::pool::Caller;
use std::sync::Arc;
use tokio::sync::oneshot;

/// A resource to watch from now on, or not any more.
pub(super) struct Change {
    pub(in crate::upstream) uri: String,
    pub(in crate::upstream) watch: bool,
    pub(in crate::upstream) answer: oneshot::Sender<Result<Answered, UpstreamError>>,
}

/// The owner of the subscription.
pub(super) struct Subscriber {
    pub(in crate::upstream) identity: Identity,
    pub(in crate::upstream) session: Option<Arc<str>>,
    pub(in crate::upstream) token: Option<Arc<Token>>,
    pub(in crate::upstream) capabilities: ClientCapabilities,
}

impl Subscriber {
    /// As the pool wants to know it.
    pub(in crate::upstream) fn caller(&self) -> Caller<'_> {
        Caller {
            identity: self.identity.clone(),
            session: self.session.as_ref(),
            token: self.token.clone(),
            capabilities: self.capabilities,
        }
    }
}
