//! For whom a link is opened.

use super::super::hub::Hub;
use super::probe::Patience;
use crate::auth::principal::Token;
use crate::mcp::client::ClientCapabilities;
use crate::mcp::revision::Era;
use std::sync::Arc;

/// For whom a link is opened.
pub(super) struct Opening {
    /// The listeners to the server outside of calls.
    pub(super) hub: Arc<Hub>,
    /// The abilities of its client that a legacy server is told.
    pub(super) capabilities: ClientCapabilities,
    /// The principal's own token, where the server is presented something for it.
    pub(super) token: Option<Arc<Token>>,
    /// How long the server may take over each step of the handshake.
    pub(super) patience: Patience,
    /// The era in which it is spoken to for whom it is opened, where that is known.
    pub(super) own: Option<Era>,
}
