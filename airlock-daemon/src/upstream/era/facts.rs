//! The facts on a server, as it told them when it was first asked.

use crate::mcp::capability::Capabilities;
use crate::mcp::object::Object;
use crate::mcp::revision::{Era, Revision};
use crate::upstream::message::notice::Interest;

/// The facts on a server from when it was first asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Its era.
    pub era: Era,
    /// The revision that is spoken with it.
    pub revision: String,
    /// Its offer.
    pub offers: Capabilities,
    /// Which of its lists it says to have changed.
    pub changes: Interest,
    /// True where it says that a resource has changed to those who subscribed to it.
    pub subscribe: bool,
    /// Its instructions, as JSON text.
    pub instructions: Option<String>,
}

/// Longest instructions of a server that are kept, in bytes of JSON text.
pub const MAX_INSTRUCTIONS: usize = 64 * 1024;

/// Longest name of a revision, in bytes: those that there are have ten.
pub const MAX_REVISION: usize = 64;

/// Reads from the JSON text of a server's `capabilities` of which changes it tells.
pub fn changes(capabilities: &str) -> (Interest, bool) {
    let declared = Object::parse(capabilities).unwrap_or_default();
    let has = |capability: &str, part: &str| {
        declared
            .get(capability)
            .and_then(|text| Object::parse(text).ok())
            .is_some_and(|object| object.get(part) == Some("true"))
    };
    let interest = Interest {
        tools: has("tools", "listChanged"),
        prompts: has("prompts", "listChanged"),
        resources: has("resources", "listChanged"),
        everything: false,
    };
    (interest, has("resources", "subscribe"))
}

/// The revision that is preferred with servers of an era.
pub const fn preferred(era: Era) -> Revision {
    match era {
        Era::Modern => Revision::LATEST,
        Era::Legacy => Revision::LATEST_LEGACY,
    }
}
