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
    /// `"`
    pub(crate) quote: u64,
    /// `\`
    pub(crate) slash: u64,
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

/// Cuts a text into blocks.
#[inline(always)]
pub(crate) fn blocks(text: &[u8], mut found: impl FnMut(usize, &[u8; BLOCK])) {
    let (blocks, rest) = text.as_chunks::<BLOCK>();
    for (number, block) in blocks.iter().enumerate() {
        found(number * BLOCK, block);
    }
    if !rest.is_empty() {
        let mut last = [0; BLOCK];
        last[..rest.len()].copy_from_slice(rest);
        found(blocks.len() * BLOCK, &last);
    }
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

/// By character: it can be the first, second, third of a group that stands for printable ASCII, as bits.
pub(crate) static PLACES: [u8; 256] = {
    let mut places = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let value = VALUES[byte];
        if value < 64 {
            places[byte] = (value >= 8 && value < 32) as u8
                | ((value & 8 == 0) as u8) << 1
                | ((value & 2 == 0) as u8) << 2;
        }
        byte += 1;
    }
    places
};

/// Any bytes, as vectors find them.
#[derive(Debug, Clone)]
pub(crate) struct Class {
    has: Box<[bool; 256]>,
    /// By the lower four bits of a byte of ASCII: the rows of 16 bytes in which such a byte is of the class.
    pub(crate) rows: [u8; 16],
    /// All bytes beyond ASCII are of the class.
    pub(crate) has_others: bool,
}

impl Class {
    /// Takes the bytes of the class; those beyond ASCII count if they are all of it.
    pub(crate) fn new(mut has: Box<[bool; 256]>) -> Self {
        let has_others = has[128..].iter().all(|&is_in| is_in);
        has[128..].fill(has_others);
        let mut rows = [0; 16];
        for (byte, _) in has[..128].iter().enumerate().filter(|(_, is_in)| **is_in) {
            rows[byte & 15] |= 1 << (byte >> 4);
        }
        Self { has, rows, has_others }
    }

    pub(crate) fn has(&self, byte: u8) -> bool {
        self.has[usize::from(byte)]
    }

    pub(crate) fn has_any(&self, bytes: &[u8]) -> bool {
        bytes.iter().any(|&byte| self.has(byte))
    }
}
