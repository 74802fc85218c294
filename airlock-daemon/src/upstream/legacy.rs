//! The driver of legacy servers (up to 2025-11-25): one `initialize`, then a session that is the process.

use crate::mcp::capability::Capabilities;
use crate::mcp::object::{Object, quote};
use crate::mcp::revision::{Era, Revision};

use super::driver::{self, Facts, META_PREFIX};

/// Takes out what only modern servers understand.
pub fn meta(meta: &mut Object<'_>) {
    meta.retain(|name| !name.starts_with(META_PREFIX));
}

/// The parameters of `initialize`. No capability is declared: roots are answered from configuration, and what Airlock does
/// not carry across is not offered.
pub fn initialize() -> String {
    format!(
        r#"{{"protocolVersion":{},"capabilities":{{}},"clientInfo":{}}}"#,
        quote(Revision::LATEST_LEGACY.as_str()),
        driver::implementation()
    )
}

/// The notification that ends the handshake.
pub const INITIALIZED: &str = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;

/// Reads the answer to `initialize`; `None` when it is not one.
pub fn facts(result: &str) -> Option<Facts> {
    let result = Object::parse(result).ok()?;
    Some(Facts {
        era: Era::Legacy,
        revision: result.string("protocolVersion")?.into_owned(),
        offers: result.get("capabilities").map(Capabilities::parse).unwrap_or_default(),
        instructions: result.get("instructions").map(str::to_owned),
    })
}
