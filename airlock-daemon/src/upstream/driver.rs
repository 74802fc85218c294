//! The code that both drivers share: the canonical call, and messages to a server.

use crate::mcp::capability::Capabilities;
use crate::mcp::client::ClientCapabilities;
use crate::mcp::object::{Object, quote};
use crate::mcp::revision::{Era, Revision};

use super::subscription::Interest;

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

/// How Airlock names itself, as JSON text.
pub fn implementation() -> String {
    format!(r#"{{"name":"airlock","title":"MCP Airlock","version":{}}}"#, quote(env!("CARGO_PKG_VERSION")))
}

/// Writes a call's parameters for a server: `_meta` as its era wants it, the client's progress token replaced
/// by our number.
///
/// Returns the text and the client's own token, as JSON text, where it had one.
pub fn params(
    facts_era: Era,
    mut params: Object<'_>,
    capabilities: ClientCapabilities,
    id: u64,
) -> (String, Option<String>) {
    let original = params.get("_meta").map(str::to_owned);
    let mut meta = original.as_deref().and_then(|text| Object::parse(text).ok()).unwrap_or_default();
    let token = meta.get("progressToken").map(str::to_owned);
    if token.is_some() {
        meta.set("progressToken", id.to_string());
    }
    match facts_era {
        Era::Modern => super::modern::meta(&mut meta, capabilities),
        Era::Legacy => super::legacy::meta(&mut meta),
    }
    if !meta.is_empty() {
        params.set("_meta", meta.write());
    } else if original.is_some() {
        params.remove("_meta");
    }
    (params.write(), token)
}

/// Puts the client's own token back into the parameters of a progress notification; `None` for any other.
pub fn restore_token(notification: &str, token: Option<&str>) -> Option<String> {
    let mut params = Object::parse(notification).ok()?;
    params.get("progressToken")?;
    params.set("progressToken", token?);
    Some(params.write())
}

/// The revision that is preferred with servers of an era.
pub const fn preferred(era: Era) -> Revision {
    match era {
        Era::Modern => Revision::LATEST,
        Era::Legacy => Revision::LATEST_LEGACY,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_modern_servers_meta_is_ours_and_the_rest_is_kept() {
        let sent = r#"{"name":"x","future":[1 ,2],"_meta":{"progressToken":"t","vendor/x":1,"io.modelcontextprotocol/clientCapabilities":{"roots":{}}}}"#;
        let (text, token) =
            params(Era::Modern, Object::parse(sent).expect("params"), ClientCapabilities::default(), 7);
        assert_eq!(token.as_deref(), Some("\"t\""));
        let value: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(value["_meta"]["progressToken"], 7);
        assert_eq!(value["_meta"]["vendor/x"], 1);
        assert_eq!(value["_meta"][META_CAPABILITIES], serde_json::json!({}));
        assert_eq!(value["_meta"][META_VERSION], "2026-07-28");
        assert!(text.contains("[1 ,2]"));
    }

    #[test]
    fn a_legacy_server_sees_no_modern_meta() {
        let sent = r#"{"name":"x","_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}"#;
        assert_eq!(
            params(Era::Legacy, Object::parse(sent).expect("params"), ClientCapabilities::default(), 7).0,
            r#"{"name":"x"}"#
        );
        let sent = r#"{"name":"x"}"#;
        assert_eq!(
            params(Era::Legacy, Object::parse(sent).expect("params"), ClientCapabilities::default(), 7).0,
            sent
        );
    }

    #[test]
    fn the_log_level_goes_to_modern_servers_only() {
        let sent = r#"{"uri":"a:b","_meta":{"io.modelcontextprotocol/logLevel":"debug"}}"#;
        let to = |era| params(era, Object::parse(sent).expect("params"), ClientCapabilities::default(), 7).0;
        let modern: serde_json::Value = serde_json::from_str(&to(Era::Modern)).expect("JSON");
        assert_eq!(modern["_meta"][META_LOG_LEVEL], "debug");
        assert_eq!(to(Era::Legacy), r#"{"uri":"a:b"}"#);
    }

    #[test]
    fn changes_are_read_where_they_are_declared() {
        let declared = r#"{"tools":{"listChanged":true},"prompts":{"listChanged":false},"resources":{"subscribe":true},"x":1}"#;
        let wanted = Interest { tools: true, ..Interest::default() };
        assert_eq!(changes(declared), (wanted, true));
        assert_eq!(changes("null"), (Interest::default(), false));
    }

    #[test]
    fn the_clients_token_comes_back() {
        let text = restore_token(r#"{"progressToken":7,"progress":0.5}"#, Some("\"t\"")).expect("restored");
        assert_eq!(text, r#"{"progressToken":"t","progress":0.5}"#);
        assert_eq!(restore_token(r#"{"progressToken":7}"#, None), None);
        assert_eq!(restore_token(r#"{"level":"info"}"#, Some("1")), None);
    }
}
