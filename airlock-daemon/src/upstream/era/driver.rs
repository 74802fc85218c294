//! The code that both drivers share: the canonical call, and messages to a server.

use crate::mcp::client::ClientCapabilities;
use crate::mcp::object::Object;
use crate::mcp::revision::Era;

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mcp::meta::{META_CAPABILITIES, META_LOG_LEVEL, META_VERSION};
    use crate::upstream::era::facts::changes;
    use crate::upstream::message::notice::Interest;

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
