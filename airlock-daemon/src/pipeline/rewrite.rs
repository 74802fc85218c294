//! The URIs in a result, as the merged endpoint names them.
//!
//! What holds no URI passes as it came. Members are looked at by their place, not by a block's `type`: another parser may
//! read a type that is given twice in another way.

use serde_json::value::RawValue;

use crate::mcp::object::{Object, quote};

use super::kind::{Noun, Uris};
use super::naming;

/// Writes an upstream's result for the merged endpoint.
///
/// # Errors
/// What is wrong with the result, for the operator.
pub fn result(upstream: &str, uris: Uris, text: String) -> Result<String, String> {
    let (member, one): (_, fn(&str, &str) -> Option<String>) = match uris {
        Uris::Nowhere => return Ok(text),
        Uris::Content => ("content", block),
        Uris::Messages => ("messages", message),
        Uris::Contents => ("contents", contents),
    };
    // A key is either spelled out or has an escape in it.
    if !text.contains("\"uri\"") && !text.contains("\\u") {
        return Ok(text);
    }
    let mut result = Object::parse(&text).map_err(|error| format!("its result is no object: {error}"))?;
    let Some(list) = result.get(member) else { return Ok(text) };
    let Some(changed) = each(upstream, list, one) else {
        return Err(format!("`{member}` of its result is no list of objects"));
    };
    // Written also where no entry changed: duplicates of the member go.
    result.set(member, changed);
    Ok(result.write())
}

/// Rewrites the entries of a JSON array; `None` when it is none.
fn each(upstream: &str, list: &str, one: fn(&str, &str) -> Option<String>) -> Option<String> {
    let entries: Vec<&RawValue> = serde_json::from_str(list).ok()?;
    let entries: Option<Vec<String>> = entries.into_iter().map(|entry| one(upstream, entry.get())).collect();
    Some(format!("[{}]", entries?.join(",")))
}

/// A message: its content is one block, or a list of them.
fn message(upstream: &str, text: &str) -> Option<String> {
    let mut message = Object::parse(text).ok()?;
    let Some(content) = message.get("content") else { return Some(text.to_owned()) };
    let content =
        if content.starts_with('[') { each(upstream, content, block)? } else { block(upstream, content)? };
    message.set("content", content);
    Some(message.write())
}

/// A content block: a link has a `uri`, an embedded resource has one inside.
fn block(upstream: &str, text: &str) -> Option<String> {
    let mut block = Object::parse(text).ok()?;
    let mut changed = rename(upstream, &mut block);
    if let Some(inner) = block.get("resource").map(str::to_owned) {
        let mut resource = Object::parse(&inner).unwrap_or_default();
        let resource = if rename(upstream, &mut resource) { resource.write() } else { inner.clone() };
        block.set("resource", resource);
        changed = true;
    }
    Some(if changed { block.write() } else { text.to_owned() })
}

/// One of the contents of a resource.
fn contents(upstream: &str, text: &str) -> Option<String> {
    let mut contents = Object::parse(text).ok()?;
    Some(if rename(upstream, &mut contents) { contents.write() } else { text.to_owned() })
}

/// Renames the member `uri`; says whether there was one. What is no string is kept, without its duplicates.
fn rename(upstream: &str, object: &mut Object<'_>) -> bool {
    let Some(value) = object.get("uri") else { return false };
    let renamed = match object.string("uri") {
        Some(uri) => quote(&naming::merged(Noun::Resource, upstream, &uri)),
        None => value.to_owned(),
    };
    object.set("uri", renamed);
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rewritten(uris: Uris, text: &str) -> String {
        result("docs", uris, text.to_owned()).expect(text)
    }

    #[test]
    fn uris_of_every_place_are_renamed_and_the_rest_is_kept() {
        assert_eq!(
            rewritten(Uris::Contents, r#"{"contents":[{"uri":"f:a","text":"x", "big":1.50}],"v":[1 ,2]}"#),
            r#"{"contents":[{"uri":"airlock+docs+f:a","text":"x","big":1.50}],"v":[1 ,2]}"#
        );
        assert_eq!(
            rewritten(
                Uris::Content,
                r#"{"content":[{"type":"text","text":"f:a"},{"type":"resource_link","uri":"f:a"},{"type":"resource","resource":{"uri":"f:b","text":"uri"}}]}"#
            ),
            r#"{"content":[{"type":"text","text":"f:a"},{"type":"resource_link","uri":"airlock+docs+f:a"},{"type":"resource","resource":{"uri":"airlock+docs+f:b","text":"uri"}}]}"#
        );
        assert_eq!(
            rewritten(
                Uris::Messages,
                r#"{"messages":[{"role":"user","content":{"type":"resource","resource":{"uri":"f:b"}}},{"role":"user","content":[{"type":"resource_link","uri":"f:c"}]}]}"#
            ),
            r#"{"messages":[{"role":"user","content":{"type":"resource","resource":{"uri":"airlock+docs+f:b"}}},{"role":"user","content":[{"type":"resource_link","uri":"airlock+docs+f:c"}]}]}"#
        );
    }

    #[test]
    fn what_has_no_uri_is_not_touched() {
        for text in
            [r#"{"content" : [{"type":"text", "text":"hello"}]}"#, r#"{ "content":"odd, but not ours" }"#]
        {
            assert_eq!(rewritten(Uris::Content, text), text);
        }
        let text = r#"{"completion":{"values":["uri"]}, "uri":"f:x"}"#;
        assert_eq!(rewritten(Uris::Nowhere, text), text);
    }

    #[test]
    fn a_uri_cannot_hide_from_it() {
        for text in [
            r#"{"content":[{"type":"resource_link","\u0075ri":"f:a"}]}"#,
            r#"{"content":[{"type":"text","type":"resource_link","uri":"f:a"}]}"#,
            r#"{"content":[{"type":"resource_link","uri":"f:a","uri":"airlock+other+f:x"}]}"#,
            r#"{"content":[{"type":"resource_link","uri":"f:a"}],"content":[{"uri":"airlock+other+f:x"}]}"#,
        ] {
            let written = rewritten(Uris::Content, text);
            let read: serde_json::Value = serde_json::from_str(&written).expect("JSON");
            assert_eq!(read["content"][0]["uri"], "airlock+docs+f:a", "{text}");
            assert!(!written.contains("other"), "{written}");
        }
        for text in [
            r#"{"content":[{"resource":{},"resource":{"uri":"airlock+other+f:x"}}]}"#,
            r#"{"content":[{"resource":{"uri":1,"uri":"airlock+other+f:x"}}]}"#,
            r#"{"content":[{"uri":null,"uri":"airlock+other+f:x"}]}"#,
        ] {
            let written = rewritten(Uris::Content, text);
            assert!(!written.contains("other"), "{written}");
        }
        assert!(result("docs", Uris::Contents, r#"{"contents":{"uri":"f:a"}}"#.to_owned()).is_err());
    }
}
