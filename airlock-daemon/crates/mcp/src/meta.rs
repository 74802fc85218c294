//! Members of `_meta` that the protocol names, and how Airlock names itself.

use super::object::quote;

/// Prefix of the protocol's own members of `_meta`.
pub const META_PREFIX: &str = "io.modelcontextprotocol/";

/// `_meta` member that names the revision.
pub const META_VERSION: &str = "io.modelcontextprotocol/protocolVersion";

/// `_meta` member that names the client.
pub const META_CLIENT: &str = "io.modelcontextprotocol/clientInfo";

/// `_meta` member with the client's capabilities.
pub const META_CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";

/// `_meta` member of what belongs to a subscription: the id of its request.
pub const META_SUBSCRIPTION: &str = "io.modelcontextprotocol/subscriptionId";

/// `_meta` member with the level from which on the client wants log messages.
pub const META_LOG_LEVEL: &str = "io.modelcontextprotocol/logLevel";

/// `_meta` member that names the task that a message belongs to (2025-11-25, "Tasks").
pub const META_RELATED_TASK: &str = "io.modelcontextprotocol/related-task";

/// How Airlock names itself, as JSON text.
pub fn implementation() -> String {
    format!(r#"{{"name":"airlock","title":"MCP Airlock","version":{}}}"#, quote(env!("CARGO_PKG_VERSION")))
}
