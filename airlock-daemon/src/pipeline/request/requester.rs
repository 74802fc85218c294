//! The sender of a message, as the checks know it.

use std::sync::Arc;

use crate::auth::principal::Principal;
use crate::mcp::client::ClientCapabilities;
use crate::mcp::level::Level;
use crate::mcp::object::Object;
use crate::mcp::param_header::Sent;
use crate::mcp::revision::{Era, Revision};
use crate::upstream::pool::Caller;

use crate::pipeline::Context;

/// The sender of a message, and everything that a stage or a server may need to know of it.
#[derive(Clone)]
pub struct Requester {
    /// The request.
    pub context: Context,
    /// The verified principal.
    pub principal: Arc<Principal>,
    /// The legacy session, where there is one.
    pub session: Option<Arc<str>>,
    /// The client's revision.
    pub revision: Revision,
    /// The capabilities of the client that servers may use.
    pub capabilities: ClientCapabilities,
    /// The level from which on log messages reach the client, where it has named one.
    pub level: Option<Level>,
    /// The headers in which it repeats arguments; the modern era only.
    pub params: Sent,
}

impl Requester {
    /// True for a log message that is for the client: a modern one gets none without asking (2026-07-28,
    /// "Logging"), a legacy one all until it names a level.
    pub fn hears(&self, message: &str) -> bool {
        let Some(least) = self.level else { return self.revision.era() == Era::Legacy };
        let level = Object::parse(message).ok().and_then(|object| Level::parse(&object.string("level")?));
        level.is_some_and(|level| level >= least)
    }

    /// The same, as the pool knows a caller.
    pub fn caller(&self) -> Caller<'_> {
        Caller {
            identity: self.principal.identity().clone(),
            session: self.session.as_ref(),
            token: self.principal.token().cloned(),
            capabilities: self.capabilities,
        }
    }
}
