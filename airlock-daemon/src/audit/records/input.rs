//! The digest of a call is made here, so that whoever has the call can hold it against its record.

use super::hash::{Hash, digest};

/// Begins what is digested: a digest of something else is never one of a call.
const KIND: &str = "airlock-call-1";

/// The digest of a call, `input_digest` on record: the SHA-256 of five netstrings (the length in bytes in
/// decimal, `:`, the bytes, `,`), which are `airlock-call-1`, the method, the upstream, the whole target
/// (empty where there is none), and the arguments byte for byte as they were received (`{}` where there are
/// none).
pub fn input_digest(method: &str, upstream: &str, target: Option<&str>, arguments: &str) -> Hash {
    let parts = [KIND, method, upstream, target.unwrap_or_default(), arguments];
    let mut text = Vec::with_capacity(parts.iter().map(|part| part.len() + 8).sum());
    for part in parts {
        text.extend_from_slice(part.len().to_string().as_bytes());
        text.push(b':');
        text.extend_from_slice(part.as_bytes());
        text.push(b',');
    }
    digest(&text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::hex;

    #[test]
    fn the_digest_is_the_one_that_is_documented() {
        // printf '14:airlock-call-1,10:tools/call,4:docs,9:read_file,12:{"path":"a"},' | sha256sum
        let text = br#"14:airlock-call-1,10:tools/call,4:docs,9:read_file,12:{"path":"a"},"#;
        let made = input_digest("tools/call", "docs", Some("read_file"), r#"{"path":"a"}"#);
        assert_eq!(hex(&made), hex(&digest(text)));
    }

    #[test]
    fn no_two_calls_have_one_digest() {
        let calls = [
            ("resources/read", "docs", Some("docs://x?a"), "{}"),
            ("resources/read", "docs", Some("docs://x?b"), "{}"),
            ("resources/subscribe", "docs", Some("docs://x?a"), "{}"),
            ("resources/read", "notes", Some("docs://x?a"), "{}"),
            ("resources/read", "docs", Some("docs://x?a"), "{} "),
            // Parts of the same bytes that are cut elsewhere.
            ("resources/read", "docsd", Some("ocs://x?a"), "{}"),
            ("resources/read", "docs", Some("docs://x?a,2:{}"), ""),
            ("resources/read", "docs", None, "{}"),
        ];
        let digests: std::collections::BTreeSet<Hash> = calls
            .iter()
            .map(|(method, upstream, target, arguments)| input_digest(method, upstream, *target, arguments))
            .collect();
        assert_eq!(digests.len(), calls.len());
    }
}
