//! The driver of modern servers (2026-07-28): every request says all that the server needs to know.

use crate::mcp::capability::Capabilities;
use crate::mcp::client::ClientCapabilities;
use crate::mcp::error::code;
use crate::mcp::object::{Object, quote};
use crate::mcp::revision::{Era, Revision};

use super::facts::{self, Facts};
use crate::mcp::meta::{self, META_CAPABILITIES, META_CLIENT, META_VERSION};

/// Fills in what a modern request must carry. The capabilities are those of the client that Airlock carries
/// across.
pub fn meta(meta: &mut Object<'_>, capabilities: ClientCapabilities) {
    meta.set(META_VERSION, quote(Revision::LATEST.as_str()));
    meta.set(META_CLIENT, meta::implementation());
    meta.set(META_CAPABILITIES, capabilities.write(Era::Modern));
}

/// The parameters of `server/discover`.
pub fn discover() -> String {
    let mut object = Object::default();
    meta(&mut object, ClientCapabilities::default());
    format!(r#"{{"_meta":{}}}"#, object.write())
}

/// True where an error object says that the revision is not spoken and, all the same, names it among those
/// that are.
pub fn supports_ours(error: &str) -> bool {
    let Ok(error) = Object::parse(error) else { return false };
    let data = error.get("data").and_then(|data| Object::parse(data).ok()).unwrap_or_default();
    let supported = data.get("supported").and_then(|list| serde_json::from_str::<Vec<String>>(list).ok());
    error.get("code").and_then(|code| code.parse().ok()) == Some(code::UNSUPPORTED_VERSION)
        && supported.is_some_and(|list| list.iter().any(|version| version == Revision::LATEST.as_str()))
}

/// Reads the answer to `server/discover`; `None` when the server does not speak our revision.
pub fn facts(result: &str) -> Option<Facts> {
    let result = Object::parse(result).ok()?;
    let versions: Vec<String> = serde_json::from_str(result.get("supportedVersions")?).ok()?;
    let revision = versions.into_iter().find(|version| version == Revision::LATEST.as_str())?;
    let (changes, subscribe) = facts::changes(result.get("capabilities").unwrap_or_default());
    Some(Facts {
        era: Era::Modern,
        revision,
        offers: result.get("capabilities").map(Capabilities::parse).unwrap_or_default(),
        changes,
        subscribe,
        instructions: result.get("instructions").map(str::to_owned),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_that_names_our_revision_is_told_from_others() {
        assert!(supports_ours(
            r#"{"code":-32022,"message":"no","data":{"supported":["2025-11-25","2026-07-28"]}}"#
        ));
        for other in [
            r#"{"code":-32022,"message":"no","data":{"supported":["2027-01-01"]}}"#,
            r#"{"code":-32022,"message":"no"}"#,
            r#"{"code":-32601,"data":{"supported":["2026-07-28"]}}"#,
            "[]",
        ] {
            assert!(!supports_ours(other), "{other}");
        }
    }
}
