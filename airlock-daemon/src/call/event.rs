//! The things that come out of a call.

use std::sync::Arc;

use crate::stops::order::StopOrder;
use crate::upstream::error::UpstreamError;
use crate::upstream::message::ask::Ask;

/// The next thing that comes out of a call.
#[derive(Debug)]
pub enum Event {
    /// A notification for the client: method and parameters.
    Notification(String, String),
    /// A question for the client; the call goes on when it is answered, or dropped.
    Ask(Ask),
    /// The result, as JSON text in the shape of the client's era.
    Result(String),
    /// The upstream's JSON-RPC error object, as JSON text.
    Error(String),
    /// The client has cancelled the call: no answer is due.
    Cancelled,
    /// An operator has stopped it; the server was told that nobody waits any more.
    Stopped(Arc<StopOrder>),
    /// The upstream failed.
    Failed(UpstreamError),
}
