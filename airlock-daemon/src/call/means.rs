//! The means that a client has while its call runs.

use std::any::Any;
use std::sync::Arc;

use tokio::sync::Notify;

use super::suspended::SuspendedCalls;

/// The means that a client has while its call runs, by its era.
pub enum Means {
    /// 2026-07-28: it answers questions with another request, and the call waits here for it.
    Modern(Arc<SuspendedCalls>),
    /// All before: it may cancel, where the call has an id of its own.
    Legacy(Option<Cancellation>),
}

/// How a client may cancel a call while it runs.
pub struct Cancellation {
    /// Told when the client cancels.
    pub told: Arc<Notify>,
    /// Ends with the call: takes its id out of the session.
    pub entry: Box<dyn Any>,
}

impl Means {
    /// The place where the call may wait for its client to come back.
    pub(super) fn suspended(&self) -> Option<&Arc<SuspendedCalls>> {
        match self {
            Self::Modern(suspended) => Some(suspended),
            Self::Legacy(_) => None,
        }
    }

    /// Waits until the client cancels the call; for ever where it cannot.
    pub(super) async fn cancelled(&self) {
        match self {
            Self::Legacy(Some(cancellation)) => cancellation.told.notified().await,
            _ => std::future::pending().await,
        }
    }
}
