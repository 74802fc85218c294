//! Tokens whose form can be verified without their issuer: checksums, and encodings that must open.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

use super::table::Checks;

pub(super) const CHECKS: Checks =
    &[("base62-crc", has_crc), ("base64", is_base64), ("basic", is_basic), ("jwt", is_jwt)];

/// Tokens of GitHub and npm: behind the first underline thirty characters and their CRC-32 in six of base 62.
fn has_crc(text: &str) -> bool {
    const DIGITS: &[u8] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let Some((_, body)) = text.split_once('_') else { return false };
    let Some((random, checksum)) = body.as_bytes().split_last_chunk::<6>() else { return false };
    if random.is_empty() {
        return false;
    }
    let mut rest = crc32fast::hash(random);
    let mut expected = [b'0'; 6];
    for place in expected.iter_mut().rev() {
        *place = DIGITS[(rest % 62) as usize];
        rest /= 62;
    }
    *checksum == expected
}

/// Three parts, of which the first is a JSON object with `alg`.
fn is_jwt(text: &str) -> bool {
    let Some(header) = text.split('.').next().filter(|header| header.len() <= 4096) else { return false };
    let Ok(header) = URL_SAFE_NO_PAD.decode(header) else { return false };
    let header = header.trim_ascii();
    header.starts_with(b"{") && header.ends_with(b"}") && header.windows(5).any(|part| part == b"\"alg\"")
}

fn decode(text: &str) -> Option<Vec<u8>> {
    let text = text.trim_end_matches('=');
    STANDARD_NO_PAD
        .decode(text)
        .or_else(|_| URL_SAFE_NO_PAD.decode(text))
        .ok()
        .filter(|bytes| !bytes.is_empty())
}

/// Base64 of either alphabet, with or without padding.
fn is_base64(text: &str) -> bool {
    decode(text).is_some()
}

/// A user and a password of basic authentication (RFC 7617), in base64: text with a colon.
fn is_basic(text: &str) -> bool {
    decode(text)
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .and_then(|pair| {
            pair.split_once(':').map(|(_, password)| !password.is_empty() && !pair.contains('\0'))
        })
        .unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crc_of_a_made_token() {
        let random = b"zQWBuTSOoRi4A9spHcVY5ncnsDkxkJ";
        let token = format!("ghp_{}{}", String::from_utf8_lossy(random), "0mLq17");
        assert!(has_crc(&token), "the published example of npm and GitHub's scheme");
        assert!(!has_crc(&token.replace("zQ", "zR")));
        assert!(!has_crc("ghp_") && !has_crc("ghp") && !has_crc("x_123456") && !has_crc(""));
    }

    #[test]
    fn jwt_has_a_header() {
        assert!(is_jwt("eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxIn0.c2ln"));
        assert!(!is_jwt("eyJ0eXAiOiJKV1QifQ.eyJzdWIiOiIxIn0.c2ln"), "no alg");
        assert!(!is_jwt("eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ.x.y") && !is_jwt(""));
    }

    #[test]
    fn basic_holds_a_pair() {
        assert!(is_basic("QWxhZGRpbjpvcGVuIHNlc2FtZQ=="));
        assert!(!is_basic("QWxhZGRpbg==") && !is_basic("!") && !is_basic(""));
    }

    #[test]
    fn base64_opens() {
        assert!(
            is_base64("YWJj") && is_base64("YWI=") && is_base64("_-8") && !is_base64("a") && !is_base64("")
        );
    }
}
