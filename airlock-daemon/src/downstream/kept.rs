//! Those who listen for a session, as it keeps them.

use crate::pipeline::request::requester::Requester;
use crate::upstream::error::UpstreamError;
use crate::upstream::message::ask::Answered;
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};

/// Those who listen for a session; with them dropped, the tasks end.
pub(crate) struct Notifiers {
    /// For whom: as the client's last token said.
    pub(crate) who: Requester,
    pub(crate) each: HashMap<Arc<str>, mpsc::Sender<WatchOrder>>,
    pub(super) _alive: oneshot::Sender<()>,
}

/// A change of what is heard of.
pub(crate) struct WatchOrder {
    pub(crate) uri: String,
    pub(crate) begins: bool,
    pub(super) done: oneshot::Sender<Result<Answered, UpstreamError>>,
}
