//! JSON objects in which no member may occur twice, at any depth.
//!
//! Most readers let the last of two equal members win, some the first: a token that two readers understand
//! differently is not one to believe.

use serde::de::Error as _;
use serde_json::{Error, Map, Value};

use crate::mcp::strict;

/// Reads `bytes` as one JSON object without duplicate members and without anything behind it.
pub(crate) fn object(bytes: &[u8]) -> Result<Map<String, Value>, Error> {
    let text = std::str::from_utf8(bytes).map_err(Error::custom)?;
    strict::check(text)?;
    serde_json::from_str(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_reads_as_serde_json_reads_it() {
        let text =
            br#"{"a":1,"b":-2,"c":1.5,"d":[null,true,"x",{"e":{}}],"u":18446744073709551615,"":"\u00e9"}"#;
        let expected: Value = serde_json::from_slice(text).expect("valid JSON");
        assert_eq!(Value::Object(object(text).expect("strict JSON")), expected);
    }

    #[test]
    fn what_readers_could_differ_on_is_refused() {
        let deep = "{\"a\":".repeat(500) + "1" + &"}".repeat(500);
        for text in [
            r#"{"a":1,"a":1}"#,
            r#"{"a":1,"\u0061":2}"#,
            r#"{"x":{"a":1,"b":2,"a":3}}"#,
            r#"{"x":[{"a":1,"a":3}]}"#,
            r#"{"a":1} x"#,
            r#"{"a":1}{"a":1}"#,
            "[1]",
            "null",
            "",
            r#"{"a":1,}"#,
            r#"{"a":NaN}"#,
            r#"{"a":1e999}"#,
            &deep,
        ] {
            assert!(object(text.as_bytes()).is_err(), "{text}");
        }
        assert!(object(b"{\"a\":\"\xff\"}").is_err(), "invalid UTF-8");
    }
}
