//! Driving licences whose numbers have a check digit.

use crate::check::digits::{compact, exactly, weighted};

/// Germany, Führerscheinnummer: nine letters and digits, their check digit, and how often it was issued.
pub(super) fn is_german(text: &str) -> bool {
    let text = compact(text);
    let bytes = text.as_bytes();
    if bytes.len() != 11
        || !bytes.iter().all(u8::is_ascii_alphanumeric)
        || !bytes.iter().any(u8::is_ascii_digit)
    {
        return false;
    }
    let value = |byte: u8| (byte as char).to_digit(36).unwrap_or_default();
    let sum: u32 = bytes[..9].iter().zip((1..=9).rev()).map(|(byte, weight)| value(*byte) * weight).sum();
    let check = match sum % 11 {
        10 => b'X',
        rest => b'0' + u8::try_from(rest).unwrap_or_default(),
    };
    bytes[9] == check
}

/// Japan, 運転免許証番号: the eleventh digit is the check digit, the last says how often it was lost.
pub(super) fn is_japanese(text: &str) -> bool {
    exactly::<12>(text).is_some_and(|digits| {
        let rest = weighted(&digits[..10], &[5, 4, 3, 2, 7, 6, 5, 4, 3, 2]) % 11;
        let check = if rest < 2 { 0 } else { 11 - rest };
        digits[..10].iter().any(|digit| *digit != digits[0]) && check == digits[10]
    })
}

#[cfg(test)]
mod tests {
    use super::super::knows;
    use super::*;

    #[test]
    fn german_licences() {
        knows(is_german, &["B072RRE2I55"], &["B072RRE2I65", "B072RRE2J55", "ABCDEFGHIJK", "B072RRE2I5"]);
    }

    #[test]
    fn japanese_licences() {
        knows(is_japanese, &["123456789030"], &["123456789020", "123456789130", "111111111110"]);
    }
}
