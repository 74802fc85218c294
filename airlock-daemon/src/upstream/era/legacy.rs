//! The driver of legacy servers (up to 2025-11-25): one `initialize`, then a session that is the process.

use crate::mcp::capability::Capabilities;
use crate::mcp::client::ClientCapabilities;
use crate::mcp::object::{Object, quote};
use crate::mcp::revision::{Era, Revision};

use super::facts::{self, Facts, MAX_REVISION};
use crate::mcp::meta::{self, META_PREFIX, META_RELATED_TASK};

/// Takes out what only modern servers understand.
pub fn meta(meta: &mut Object<'_>) {
    meta.retain(|name| !name.starts_with(META_PREFIX) || name == META_RELATED_TASK);
}

/// The parameters of `initialize`. The client's abilities are declared, but never roots: those are not a
/// client's to name.
pub fn initialize(capabilities: ClientCapabilities) -> String {
    format!(
        r#"{{"protocolVersion":{},"capabilities":{},"clientInfo":{}}}"#,
        quote(Revision::LATEST_LEGACY.as_str()),
        capabilities.write(Era::Legacy),
        meta::implementation()
    )
}

/// The notification that ends the handshake.
pub const INITIALIZED: &str = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;

/// Reads the answer to `initialize`; `None` when it is not one.
pub fn facts(result: &str) -> Option<Facts> {
    let result = Object::parse(result).ok()?;
    let (changes, subscribe) = facts::changes(result.get("capabilities").unwrap_or_default());
    let revision = result.string("protocolVersion").filter(|name| name.len() <= MAX_REVISION)?;
    Some(Facts {
        era: Era::Legacy,
        revision: revision.into_owned(),
        offers: result.get("capabilities").map(Capabilities::parse).unwrap_or_default(),
        changes,
        subscribe,
        instructions: result.get("instructions").map(str::to_owned),
    })
}
