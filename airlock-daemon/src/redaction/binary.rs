//! Content that is no text: images, audio, and whatever else a message carries as base64.

use std::borrow::Cow;
use std::fmt;

use base64::alphabet;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use base64::engine::{DecodePaddingMode, Engine};
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

/// The members that carry content.
const MEMBERS: [&str; 2] = ["data", "blob"];
/// The members that say of what type it is.
const NAMES_OF_TYPES: [&str; 2] = ["type", "mimeType"];
/// The beginnings of types that are no text, whatever their bytes are.
const TYPES: [&str; 5] = ["image/", "audio/", "video/", "font/", "application/octet-stream"];
/// The longest type of a data URL, in bytes.
const TYPE: usize = 256;
/// Characters of base64 that are decoded at a time, and the bytes that they stand for.
const BLOCK: (usize, usize) = (4096, 3072);

/// True for a message that carries content which is no text: by its declared type, or since it decodes to no
/// text. One that cannot be read counts as such: nobody knows what is in it. No tree is made of it.
pub(super) fn is_there(json: &str) -> bool {
    if !mentions(json) {
        return false;
    }
    let mut reader = serde_json::Deserializer::from_str(json);
    // Content that is found ends the reading, as a fault does.
    Look { keeps: false }.deserialize(&mut reader).is_err()
}

/// True for a message that may carry content: most do not. An escape may hide a name.
fn mentions(json: &str) -> bool {
    let bytes = json.as_bytes();
    let has = |name: &str| memchr::memmem::find(bytes, name.as_bytes()).is_some();
    MEMBERS.into_iter().any(has) || has("\\u") || urls(json).next().is_some()
}

/// The texts behind each `data:`, in any letter case.
fn urls(text: &str) -> impl Iterator<Item = &str> {
    let is_scheme = |at: &usize| {
        at.checked_sub(4).is_some_and(|start| text.as_bytes()[start..*at].eq_ignore_ascii_case(b"data"))
    };
    memchr::memchr_iter(b':', text.as_bytes()).filter(is_scheme).map(|at| &text[at + 1..])
}

/// Reads a value, and ends the reading where content is found that is no text.
#[derive(Clone, Copy)]
struct Look {
    /// True where the text is given back.
    keeps: bool,
}

impl Look {
    fn end<T, E: serde::de::Error>(is_binary: bool, otherwise: T) -> Result<T, E> {
        if is_binary { Err(E::custom("content that is no text")) } else { Ok(otherwise) }
    }
}

impl<'de> DeserializeSeed<'de> for Look {
    type Value = Option<Cow<'de, str>>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Look {
    type Value = Option<Cow<'de, str>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_borrowed_str<E: serde::de::Error>(self, text: &'de str) -> Result<Self::Value, E> {
        Self::end(urls(text).any(is_binary_url), self.keeps.then_some(Cow::Borrowed(text)))
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Self::Value, E> {
        Self::end(urls(text).any(is_binary_url), self.keeps.then(|| Cow::Owned(text.to_owned())))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        while seq.next_element_seed(Look { keeps: false })?.is_some() {}
        Ok(None)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let (mut contents, mut is_declared) = (Vec::new(), false);
        while let Some(name) = map.next_key::<Cow<'de, str>>()? {
            let (is_content, is_type) = (MEMBERS.contains(&&*name), NAMES_OF_TYPES.contains(&&*name));
            let value = map.next_value_seed(Look { keeps: is_content || is_type })?;
            let Some(text) = value else { continue };
            if is_content {
                contents.push(text);
            } else {
                let is_kind = *name == *"type" && matches!(&*text, "image" | "audio");
                is_declared |= is_kind || (*name == *"mimeType" && is_type_of_binary(&text));
            }
        }
        let is_binary = |text: &Cow<'_, str>| (is_declared && !text.is_empty()) || is_binary(text);
        Self::end(contents.iter().any(is_binary), None)
    }
}

fn is_type_of_binary(mime: &str) -> bool {
    let mime = mime.trim_start();
    let is_of = |kind: &str| mime.get(..kind.len()).is_some_and(|start| start.eq_ignore_ascii_case(kind));
    TYPES.iter().any(|kind| is_of(kind))
}

/// Judges a data URL by the text behind its scheme.
fn is_binary_url(url: &str) -> bool {
    let start = &url[..url.floor_char_boundary(TYPE)];
    let Some((mime, _)) = start.split_once(',') else { return false };
    // Prose has `data: ` as well.
    if mime.bytes().any(|byte| byte.is_ascii_whitespace()) {
        return false;
    }
    let content = &url[mime.len() + 1..];
    let is_base64 = mime.len() >= 7 && mime.as_bytes()[mime.len() - 7..].eq_ignore_ascii_case(b";base64");
    let is_of_base64 =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'-' | b'_' | b'=');
    let end = content.bytes().position(|byte| !is_of_base64(byte)).unwrap_or(content.len());
    (is_type_of_binary(mime) && !content.is_empty()) || (is_base64 && is_binary(&content[..end]))
}

/// True for base64 of bytes that are no text.
fn is_binary(text: &str) -> bool {
    const CONFIG: GeneralPurposeConfig = GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true);
    const ENGINES: [GeneralPurpose; 2] =
        [GeneralPurpose::new(&alphabet::STANDARD, CONFIG), GeneralPurpose::new(&alphabet::URL_SAFE, CONFIG)];
    ENGINES.iter().find_map(|engine| is_text(engine, text)) == Some(false)
}

/// Judges the bytes that a text stands for, block by block; none where it is no base64.
fn is_text(engine: &GeneralPurpose, text: &str) -> Option<bool> {
    let mut letters = text.bytes().filter(|byte| !byte.is_ascii_whitespace());
    let (mut block, mut bytes) = ([0; BLOCK.0], [0; BLOCK.1 + 3]);
    // Bytes of a character that the next block completes.
    let mut begun = 0;
    let mut is_text = true;
    loop {
        let length = block.iter_mut().zip(&mut letters).map(|(place, letter)| *place = letter).count();
        if length == 0 {
            return Some(is_text && begun == 0);
        }
        let end = begun + engine.decode_slice(&block[..length], &mut bytes[begun..]).ok()?;
        let (valid, rest) = match std::str::from_utf8(&bytes[..end]) {
            Ok(_) => (end, 0),
            Err(error) if error.error_len().is_none() => (error.valid_up_to(), end - error.valid_up_to()),
            Err(_) => {
                is_text = false;
                (0, 0)
            }
        };
        is_text &= memchr::memchr(0, &bytes[..valid]).is_none();
        bytes.copy_within(valid..valid + rest, 0);
        begun = rest;
    }
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
            (r#"{"type":"image","data":""}"#, false),
            (r#"{"text":"see data:image/png;base64,iVBORw0KGgo= there"}"#, true),
            (r#"{"text":"see DATA:;BASE64,iVBORw0KGgo= there"}"#, true),
            (r#"{"text":"d\u0061ta:text/plain;base64,iVBORw0KGgo"}"#, true),
            (r#"["data:text/plain;base64,aGVsbG8=", "data:,hello", "data:"]"#, false),
            (r#"["data:image/svg+xml,%3Csvg/%3E"]"#, true),
            (r#"{"text":"the data: image/png, a list"}"#, false),
            (r#"{"data":"#, true),
        ] {
            assert_eq!(is_there(json), expected, "{json}");
        }
    }

    #[test]
    fn long_content_is_judged_to_its_end() {
        let engine = base64::engine::general_purpose::STANDARD;
        let long = "é😀".repeat(5_000);
        for (bytes, expected) in [
            (long.clone().into_bytes(), false),
            ([long.as_bytes(), &[0x89]].concat(), true),
            ([long.as_bytes(), &[0]].concat(), true),
            // A character that is cut off.
            (long.as_bytes()[..long.len() - 1].to_vec(), true),
        ] {
            let json = format!(r#"{{"blob":"{}"}}"#, engine.encode(&bytes));
            assert_eq!(is_there(&json), expected, "{}", bytes.len());
        }
        // The last character makes it no base64.
        let broken = format!(r#"{{"blob":"{}!"}}"#, engine.encode([0x89; 9_000]));
        assert!(!is_there(&broken));
    }
}
