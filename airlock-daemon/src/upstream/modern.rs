//! The driver of modern servers (2026-07-28): every request says all that the server needs to know.

use crate::mcp::capability::Capabilities;
use crate::mcp::client::ClientCapabilities;
use crate::mcp::object::{Object, quote};
use crate::mcp::revision::{Era, Revision};

use super::driver::{self, Facts, META_CAPABILITIES, META_CLIENT, META_VERSION};

/// Fills in what a modern request must carry. The capabilities are those of the client that Airlock carries across.
pub fn meta(meta: &mut Object<'_>, capabilities: ClientCapabilities) {
    meta.set(META_VERSION, quote(Revision::LATEST.as_str()));
    meta.set(META_CLIENT, driver::implementation());
    meta.set(META_CAPABILITIES, capabilities.write(Era::Modern));
}

/// The parameters of `server/discover`.
pub fn discover() -> String {
    let mut object = Object::default();
    meta(&mut object, ClientCapabilities::default());
    format!(r#"{{"_meta":{}}}"#, object.write())
}

/// Reads the answer to `server/discover`; `None` when the server does not speak our revision.
pub fn facts(result: &str) -> Option<Facts> {
    let result = Object::parse(result).ok()?;
    let versions: Vec<String> = serde_json::from_str(result.get("supportedVersions")?).ok()?;
    let revision = versions.into_iter().find(|version| version == Revision::LATEST.as_str())?;
    let (changes, subscribe) = driver::changes(result.get("capabilities").unwrap_or_default());
    Some(Facts {
        era: Era::Modern,
        revision,
        offers: result.get("capabilities").map(Capabilities::parse).unwrap_or_default(),
        changes,
        subscribe,
        instructions: result.get("instructions").map(str::to_owned),
    })
}
