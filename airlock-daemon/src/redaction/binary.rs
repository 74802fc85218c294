//! Content that is no text: images, audio, and whatever else a message carries as base64.

use base64::alphabet;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use base64::engine::{DecodePaddingMode, Engine};
use serde_json::{Map, Value};

/// The members that carry content.
const MEMBERS: [&str; 2] = ["data", "blob"];
/// The beginnings of types that are no text, whatever their bytes are.
const TYPES: [&str; 5] = ["image/", "audio/", "video/", "font/", "application/octet-stream"];

/// True for a message that carries content which is no text: by its declared type, or since it decodes to no
/// text. One that cannot be read into a tree counts as such: nobody knows what is in it.
pub(super) fn is_there(json: &str) -> bool {
    // Most messages carry none; an escape may hide a name.
    let mentions = |name: &&str| memchr::memmem::find(json.as_bytes(), name.as_bytes()).is_some();
    if !MEMBERS.iter().any(mentions) && !json.contains("\\u") {
        return false;
    }
    serde_json::from_str(json).map_or(true, |value| carries(&value))
}

fn carries(value: &Value) -> bool {
    match value {
        Value::Array(values) => values.iter().any(carries),
        Value::Object(members) => is_content(members) || members.values().any(carries),
        _ => false,
    }
}

fn is_content(object: &Map<String, Value>) -> bool {
    let word = |name: &str| object.get(name).and_then(Value::as_str).unwrap_or_default();
    let mime = word("mimeType").trim_start().to_ascii_lowercase();
    let is_declared =
        matches!(word("type"), "image" | "audio") || TYPES.iter().any(|kind| mime.starts_with(kind));
    MEMBERS
        .into_iter()
        .filter_map(|name| object.get(name)?.as_str())
        .any(|text| (is_declared && !text.is_empty()) || decoded(text).is_some_and(|bytes| !is_text(&bytes)))
}

fn is_text(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_ok_and(|text| !text.contains('\0'))
}

/// The bytes that a text stands for; none where it is no base64.
fn decoded(text: &str) -> Option<Vec<u8>> {
    let config = GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true);
    let plain: String = text.chars().filter(|c| !c.is_ascii_whitespace()).collect();
    let by = |alphabet: &alphabet::Alphabet| GeneralPurpose::new(alphabet, config).decode(&plain).ok();
    by(&alphabet::STANDARD).or_else(|| by(&alphabet::URL_SAFE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_text_is_told_by_its_type_and_by_its_bytes() {
        for (json, expected) in [
            (r#"{"content":[{"type":"image","data":"aGVsbG8=","mimeType":"image/png"}]}"#, true),
            (r#"{"content":[{"type":"vendor/new","data":"iVBORw0KGgo="}]}"#, true),
            (r#"{"contents":[{"uri":"a:b","blob":"iVBORw0KGgo"}]}"#, true),
            (r#"{"contents":[{"uri":"a:b","\u0062lob":"iVBORw0KGgo"}]}"#, true),
            (r#"{"contents":[{"uri":"a:b","blob":"aGVsbG8="}]}"#, false),
            (r#"{"contents":[{"uri":"a:b","blob":"aGVsbG8=","mimeType":"video/mp4"}]}"#, true),
            (r#"{"content":[{"type":"text","text":"the data of a blob"}]}"#, false),
            (r#"{"structuredContent":{"data":"no base64 at all!"}}"#, false),
            (r#"{"structuredContent":{"data":[1,2,3]}}"#, false),
        ] {
            assert_eq!(is_there(json), expected, "{json}");
        }
    }
}
