//! Classes of bytes: those of tokens, and the values that characters of base64 have.
#![allow(clippy::inline_always, reason = "what is done with each bit belongs into the loop over vectors")]

/// Bytes that are looked at together.
pub(crate) const BLOCK: usize = 64;

/// One bit for each byte of a block.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Masks {
    /// Digits of ASCII.
    pub(crate) digit: u64,
    /// Letters and digits of ASCII, and `+`, `-`, `/`, `_`.
    pub(crate) token: u64,
    /// `@`
    pub(crate) at: u64,
    /// `\`, `%`, and bytes beyond ASCII.
    pub(crate) odd: u64,
}

/// Calls with the number of each bit that is set.
#[inline(always)]
pub(crate) fn each(mut mask: u64, mut found: impl FnMut(usize)) {
    while mask != 0 {
        found(mask.trailing_zeros() as usize);
        mask &= mask - 1;
    }
}

/// Letters and digits of ASCII, and the signs of base64 and base64url.
pub(crate) const fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'/' | b'_')
}

/// A character that is none of base64's.
pub(crate) const NONE: u8 = 0xFF;

/// By character: its six bits, in base64 and base64url alike.
pub(crate) static VALUES: [u8; 256] = {
    let mut values = [NONE; 256];
    let letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let mut value = 0;
    while value < 62 {
        values[letters[value as usize] as usize] = value;
        value += 1;
    }
    values[b'+' as usize] = 62;
    values[b'-' as usize] = 62;
    values[b'/' as usize] = 63;
    values[b'_' as usize] = 63;
    values
};
