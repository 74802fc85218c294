//! Things that a server says on a link, and how a link ends.

use super::ask::Ask;
use crate::mcp::error::code;
use crate::mcp::object::Object;
use crate::mcp::{depth, jsonrpc};
use crate::upstream::error::{How, UpstreamError};

/// Replies that may wait for one slow reader; progress beyond it is dropped, a result never is.
pub(in crate::upstream) const REPLIES: usize = 32;

/// Longest parameters of a notification in bytes: many may wait for a slow client.
pub(in crate::upstream) const MAX_NOTIFICATION: usize = 64 * 1024;

/// One thing an upstream says about a call.
#[derive(Debug)]
pub enum Reply {
    /// A notification that belongs to the call: its method and its parameters as JSON text.
    Notification(String, String),
    /// The server asks its client something before it goes on.
    Ask(Ask),
    /// The result, as JSON text.
    Result(String),
    /// A JSON-RPC error object, as JSON text.
    Error(String),
}

impl Reply {
    /// In place of an answer that is nested too deep to be passed on: who reads it into a tree would run out
    /// of stack.
    pub(in crate::upstream) fn too_deep() -> Self {
        let (code, levels) = (code::INTERNAL_ERROR, depth::MAX);
        Self::Error(format!(
            r#"{{"code":{code},"message":"the server's answer is nested deeper than {levels} levels and was not passed on"}}"#
        ))
    }
}

/// The part that a call takes of what its server says without naming a call: a legacy server on a pipe has no
/// way to name one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Takes {
    /// The result alone, and progress that names the call.
    Result,
    /// The same for a list, whose entries are judged one by one: it may be nested deep.
    List,
    /// Questions and log messages too.
    Everything,
    /// All that a modern server says for as long as the request is open: it is a subscription.
    Changes,
}

/// The cause of a link's end.
#[derive(Debug, Clone, Default)]
pub struct Ending {
    /// Exit status or I/O error, and the last words of one that was started here.
    pub how: How,
    /// The last line on standard output that was not MCP.
    pub rubbish: Option<String>,
    /// The error, where it has a name already.
    pub error: Option<UpstreamError>,
}

/// Tells a legacy server that a call is not waited for any more.
pub(in crate::upstream) fn cancelled(id: u64) -> String {
    let params = format!(r#"{{"requestId":{id},"reason":"nobody waits for the answer"}}"#);
    jsonrpc::notification("notifications/cancelled", &params)
}

/// The call that a progress notification belongs to: our number is its token.
pub(crate) fn progress_of(method: &str, params: &str) -> Option<u64> {
    if method != "notifications/progress" {
        return None;
    }
    number(params, "progressToken")
}

pub(crate) fn number(object: &str, member: &str) -> Option<u64> {
    Object::parse(object).ok()?.get(member)?.parse().ok()
}
