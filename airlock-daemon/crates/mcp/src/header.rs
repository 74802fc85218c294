//! The headers that mirror a modern request's body (2026-07-28, "Standard request headers").

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;

/// `MCP-Protocol-Version`.
pub const PROTOCOL_VERSION: &str = "mcp-protocol-version";
/// `Mcp-Method`.
pub const METHOD: &str = "mcp-method";
/// `Mcp-Name`.
pub const NAME: &str = "mcp-name";
/// `Mcp-Session-Id` (legacy).
pub const SESSION_ID: &str = "mcp-session-id";

/// A header's only value as text.
///
/// # Errors
/// When the header is repeated or is not visible ASCII.
pub fn single<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, String> {
    let mut values = headers.get_all(name).iter();
    let Some(first) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(format!("the header {name} is repeated"));
    }
    first.to_str().map(Some).map_err(|_| format!("the header {name} is not visible ASCII"))
}

/// Decodes a mirrored value: `=?base64?…?=` carries what a header cannot.
///
/// # Errors
/// When the sentinel's content is not base64 of UTF-8.
pub fn decode(value: &str) -> Result<Cow<'_, str>, String> {
    let Some(encoded) = value.strip_prefix("=?base64?").and_then(|rest| rest.strip_suffix("?=")) else {
        return Ok(Cow::Borrowed(value));
    };
    let bytes = STANDARD.decode(encoded).map_err(|_| "the header's base64 is malformed".to_owned())?;
    String::from_utf8(bytes).map(Cow::Owned).map_err(|_| "the header's base64 is not UTF-8".to_owned())
}

/// Writes a value as a mirrored header: as it is where a header can carry it, otherwise as `=?base64?…?=`. A
/// text that looks like the sentinel itself is encoded too, so that [`decode`] gives it back.
pub fn encode(value: &str) -> Cow<'_, str> {
    let unfit = value.bytes().any(|byte| !(b' '..=b'~').contains(&byte))
        || value.starts_with(' ')
        || value.ends_with(' ')
        || (value.starts_with("=?base64?") && value.ends_with("?="));
    if unfit { Cow::Owned(format!("=?base64?{}?=", STANDARD.encode(value))) } else { Cow::Borrowed(value) }
}

/// Checks that a header is there once and says what the body says.
///
/// # Errors
/// A sentence for the client.
pub fn agrees(headers: &HeaderMap, name: &str, body: &str) -> Result<(), String> {
    let value = single(headers, name)?.ok_or_else(|| format!("the header {name} is missing"))?;
    if decode(value)? == body { Ok(()) } else { Err(format!("the header {name} disagrees with the body")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use proptest::prelude::*;

    fn headers(values: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(NAME, HeaderValue::from_bytes(value.as_bytes()).expect("a header value"));
        }
        headers
    }

    #[test]
    fn one_header_that_agrees_passes() {
        agrees(&headers(&["read_file"]), NAME, "read_file").expect("plain");
        agrees(&headers(&["=?base64?Z3LDvMOfZQ==?="]), NAME, "grüße").expect("encoded");
    }

    #[test]
    fn anything_else_is_refused() {
        for (values, reason) in [
            (&[][..], "missing"),
            (&["a", "a"][..], "repeated"),
            (&["Read_File"][..], "disagrees"),
            (&["=?base64?%%%?="][..], "malformed"),
            (&["=?base64?/w==?="][..], "not UTF-8"),
            (&["=?BASE64?cmVhZF9maWxl?="][..], "disagrees"),
            (&["gr\u{fc}"][..], "visible ASCII"),
        ] {
            let error = agrees(&headers(values), NAME, "read_file").expect_err(reason);
            assert!(error.contains(reason), "{values:?}: {error}");
        }
    }

    #[test]
    fn what_a_header_can_carry_stays_readable() {
        for (value, header) in [
            ("read_file", "read_file"),
            ("docs://a b?c=%20", "docs://a b?c=%20"),
            ("", ""),
            ("grüße", "=?base64?Z3LDvMOfZQ==?="),
            (" a", "=?base64?IGE=?="),
            ("a\r\nx-evil: 1", "=?base64?YQ0KeC1ldmlsOiAx?="),
            ("=?base64?YQ==?=", "=?base64?PT9iYXNlNjQ/WVE9PT89?="),
        ] {
            assert_eq!(encode(value), header);
        }
    }

    proptest! {
        #[test]
        fn whatever_is_encoded_is_a_header_and_comes_back(value in any::<String>()) {
            let header = encode(&value);
            prop_assert!(HeaderValue::from_str(&header).is_ok());
            prop_assert_eq!(decode(&header).expect("ours"), value.as_str());
        }
    }
}
