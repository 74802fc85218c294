//! Australia, New Zealand, Singapore.

use crate::check::digits::{compact, exactly, number, weighted};

/// Australia, tax file number.
pub(super) fn is_tfn(text: &str) -> bool {
    exactly::<9>(text).is_some_and(|digits| {
        number(&digits) > 0 && weighted(&digits, &[1, 4, 3, 7, 5, 8, 6, 9, 10]).is_multiple_of(11)
    })
}

/// Australia, Medicare number of ten digits: the ninth checks.
pub(super) fn is_medicare(text: &str) -> bool {
    exactly::<10>(text).is_some_and(|digits| {
        matches!(digits[0], 2..=6) && weighted(&digits[..8], &[1, 3, 7, 9, 1, 3, 7, 9]) % 10 == digits[8]
    })
}

/// Australia, business number: one less in the first digit, then by 89.
pub(super) fn is_abn(text: &str) -> bool {
    exactly::<11>(text).is_some_and(|mut digits| {
        if digits[0] == 0 {
            return false;
        }
        digits[0] -= 1;
        weighted(&digits, &[10, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19]).is_multiple_of(89)
    })
}

/// New Zealand, IRD number of eight or nine digits.
pub(super) fn is_ird(text: &str) -> bool {
    let digits = exactly::<9>(text).or_else(|| {
        exactly::<8>(text).map(|digits| {
            let mut padded = [0; 9];
            padded[1..].copy_from_slice(&digits);
            padded
        })
    });
    digits.is_some_and(|digits| {
        let by = |weights: &[u32]| (11 - weighted(&digits[..8], weights) % 11) % 11;
        let check = match by(&[3, 2, 7, 6, 5, 4, 3, 2]) {
            10 => by(&[7, 4, 3, 2, 5, 2, 7, 6]),
            check => check,
        };
        (10_000_000..=150_000_000).contains(&number(&digits)) && check == digits[8]
    })
}

/// Singapore, NRIC and FIN: a letter of the series, seven digits, a letter that checks.
pub(super) fn is_nric(text: &str) -> bool {
    let text = compact(text);
    let bytes = text.as_bytes();
    if bytes.len() != 9 || !text.is_ascii() {
        return false;
    }
    exactly::<7>(&text[1..8]).is_some_and(|digits| {
        let sum = weighted(&digits, &[2, 7, 6, 5, 4, 3, 2]);
        let (letters, shift): (&[u8; 11], u32) = match bytes[0] {
            b'S' => (b"JZIHGFEDCBA", 0),
            b'T' => (b"JZIHGFEDCBA", 4),
            b'F' => (b"XWUTRQPNMLK", 0),
            b'G' => (b"XWUTRQPNMLK", 4),
            b'M' => (b"XWUTRQPNJLK", 3),
            _ => return false,
        };
        letters[((sum + shift) % 11) as usize] == bytes[8]
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::national::knows;

    #[test]
    fn australia() {
        knows(is_tfn, &["123 456 782", "876 543 210"], &["123 456 783"]);
        knows(is_medicare, &["2123 45670 1", "2428 77813 2"], &["2123 45680 1", "7123456701"]);
        knows(is_abn, &["51 824 753 556"], &["51 824 753 557", "01824753556"]);
    }

    #[test]
    fn new_zealand() {
        knows(is_ird, &["49-091-850", "136-410-132", "35-901-981"], &["49-091-851", "9-125-568"]);
    }

    #[test]
    fn singapore() {
        knows(is_nric, &["S1234567D", "G1234567X", "T0000001E", "F1234567N"], &["S1234567E", "X1234567D"]);
    }
}
