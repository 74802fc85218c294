//! How deep a JSON text is nested, found without recursion.
//!
//! A parser that makes a tree of JSON, in a client as in a server, has a stack that ends; a text of some
//! hundred kilobytes of brackets is enough. The strict walk bounds what is read here; this bounds what is
//! passed on as it came.

use memchr::{memchr2, memchr2_iter};

/// Deepest nesting of a message of a server. `serde_json`, which many clients use, reads 128 levels.
pub const MAX: usize = 128;

/// True where `text` is nested deeper than [`MAX`] levels; for well-formed JSON.
pub fn is_too_deep(text: &str) -> bool {
    let bytes = text.as_bytes();
    // Most messages have fewer brackets than that, in strings and out of them.
    if memchr2_iter(b'[', b'{', bytes).nth(MAX).is_none() {
        return false;
    }
    let mut depth = 0_usize;
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        at += 1;
        match byte {
            b'[' | b'{' => {
                depth += 1;
                if depth > MAX {
                    return true;
                }
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            b'"' => at = end_of_string(bytes, at),
            _ => {}
        }
    }
    false
}

/// The place behind the string whose first character is at `at`.
fn end_of_string(bytes: &[u8], mut at: usize) -> usize {
    loop {
        let rest = bytes.get(at..).unwrap_or_default();
        match memchr2(b'"', b'\\', rest) {
            None => return bytes.len(),
            Some(found) if rest.get(found) == Some(&b'"') => return at + found + 1,
            // A backslash, and what it escapes.
            Some(found) => at += found + 2,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn nested(levels: usize) -> String {
        format!("{}{}", "[".repeat(levels), "]".repeat(levels))
    }

    #[test]
    fn nesting_is_bounded_and_width_is_not() {
        assert!(
            !is_too_deep(&nested(MAX)) && is_too_deep(&nested(MAX + 1)) && is_too_deep(&nested(1_000_000))
        );
        let wide = format!("[{}]", vec![r#"{"a":["]"]}"#; 10_000].join(","));
        assert!(!is_too_deep(&wide));
        let quoted = format!(r#"["{}","\"{}"]"#, "[".repeat(1_000), "{".repeat(1_000));
        assert!(!is_too_deep(&quoted), "what is in strings is text");
        assert!(!is_too_deep("") && !is_too_deep("\""));
    }

    fn depth(value: &serde_json::Value) -> usize {
        match value {
            serde_json::Value::Array(list) => 1 + list.iter().map(depth).max().unwrap_or(0),
            serde_json::Value::Object(map) => 1 + map.values().map(depth).max().unwrap_or(0),
            _ => 0,
        }
    }

    proptest! {
        #[test]
        fn it_finds_what_a_parser_finds(words in proptest::collection::vec("[\\[\\]{}\"\\\\a]{0,5}", 0..5), levels in 100_usize..126) {
            let inner = serde_json::to_string(&words).expect("JSON");
            let text = format!("{}{inner}{}", r#"{"[\\":["#.repeat(levels / 2), "]}".repeat(levels / 2));
            let value: serde_json::Value = serde_json::from_str(&text).expect("JSON");
            prop_assert_eq!(is_too_deep(&text), depth(&value) > MAX);
        }
    }
}
