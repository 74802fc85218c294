//! Asia, the Middle East and Africa.

use crate::check::digits::{compact, exactly, is_date, luhn, number, pair, verhoeff, weighted};

/// China, resident identity card: the birth, and a check character by eleven.
pub(super) fn is_resident(text: &str) -> bool {
    let text = compact(text);
    let Some((at, check)) = text.char_indices().next_back() else { return false };
    exactly::<17>(&text[..at]).is_some_and(|digits| {
        let sum = weighted(&digits, &[7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2]);
        matches!(digits[0], 1..=8)
            && matches!(pair(&digits[6..10]), 1900..=2099)
            && is_date(pair(&digits[12..14]), pair(&digits[10..12]))
            && "10X98765432".chars().nth((sum % 11) as usize) == Some(check)
    })
}

/// India, Aadhaar: twelve digits, the first of two or more, by Verhoeff.
pub(super) fn is_aadhaar(text: &str) -> bool {
    exactly::<12>(text).is_some_and(|digits| {
        let is_palindrome = digits.iter().eq(digits.iter().rev());
        digits[0] >= 2 && !is_palindrome && verhoeff(&digits)
    })
}

/// South Korea, resident registration number: its check digit is not given out any more, so birth and sex
/// must do.
pub(super) fn is_rrn(text: &str) -> bool {
    exactly::<13>(text)
        .is_some_and(|digits| is_date(pair(&digits[4..6]), pair(&digits[2..4])) && matches!(digits[6], 1..=8))
}

/// Japan, My Number.
pub(super) fn is_my_number(text: &str) -> bool {
    exactly::<12>(text).is_some_and(|digits| {
        let rest = weighted(&digits[..11], &[6, 5, 4, 3, 2, 7, 6, 5, 4, 3, 2]) % 11;
        number(&digits) > 0 && digits[11] == if rest <= 1 { 0 } else { 11 - rest }
    })
}

/// Taiwan, national identification number: a letter of the place, and a sum by ten.
pub(super) fn is_taiwanese(text: &str) -> bool {
    const PLACES: &[u8] = b"ABCDEFGHJKLMNPQRSTUVXYWZIO";
    let text = text.to_ascii_uppercase();
    let Some(place) = text.bytes().next().and_then(|letter| PLACES.iter().position(|known| *known == letter))
    else {
        return false;
    };
    let place = u32::try_from(place).unwrap_or(0) + 10;
    exactly::<9>(&text[1..]).is_some_and(|digits| {
        let sum = place / 10 + place % 10 * 9 + weighted(&digits, &[8, 7, 6, 5, 4, 3, 2, 1, 1]);
        matches!(digits[0], 1 | 2 | 8 | 9) && sum.is_multiple_of(10)
    })
}

/// Hong Kong, identity card: one letter or two, six digits, a check character by eleven.
pub(super) fn is_hkid(text: &str) -> bool {
    let text: String =
        text.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_uppercase();
    let bytes = text.as_bytes();
    let letters = bytes.iter().take_while(|byte| byte.is_ascii_uppercase()).count();
    if !matches!(letters, 1 | 2) || bytes.len() != letters + 7 {
        return false;
    }
    let value = |byte: u8| match byte {
        b'0'..=b'9' => u32::from(byte - b'0'),
        _ => u32::from(byte - b'A') + 10,
    };
    let first = if letters == 1 { 36 } else { value(bytes[0]) };
    let body: Vec<u32> =
        [first].into_iter().chain(bytes[letters - 1..].iter().map(|byte| value(*byte))).collect();
    let last = bytes[letters + 6];
    let check = if last == b'A' { 10 } else { value(last) };
    bytes[letters..letters + 6].iter().all(u8::is_ascii_digit)
        && (last == b'A' || last.is_ascii_digit())
        && (weighted(&body[..8], &[9, 8, 7, 6, 5, 4, 3, 2]) + check).is_multiple_of(11)
}

/// Thailand, national identification number.
pub(super) fn is_thai(text: &str) -> bool {
    exactly::<13>(text).is_some_and(|digits| {
        let sum = weighted(&digits[..12], &[13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2]);
        matches!(digits[0], 1..=8) && (11 - sum % 11) % 10 == digits[12]
    })
}

/// Turkey, kimlik numarası: two check digits by ten.
pub(super) fn is_kimlik(text: &str) -> bool {
    exactly::<11>(text).is_some_and(|digits| {
        let odd: u32 = digits[..9].iter().step_by(2).sum();
        let even: u32 = digits[1..8].iter().step_by(2).sum();
        digits[0] != 0
            && (odd * 7 + 90 - even) % 10 == digits[9]
            && digits[..10].iter().sum::<u32>() % 10 == digits[10]
    })
}

/// Israel, teudat zehut of nine digits.
pub(super) fn is_zehut(text: &str) -> bool {
    exactly::<9>(text).is_some_and(|digits| number(&digits) > 0 && luhn(&digits))
}

/// South Africa, identity number: the birth, and Luhn.
pub(super) fn is_south_african(text: &str) -> bool {
    exactly::<13>(text).is_some_and(|digits| {
        is_date(pair(&digits[4..6]), pair(&digits[2..4])) && digits[10] <= 2 && luhn(&digits)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::national::knows;

    #[test]
    fn china_and_taiwan_and_hong_kong() {
        knows(is_resident, &["11010519491231002X"], &["110105194912310021"]);
        knows(is_taiwanese, &["A123456789", "F131104093"], &["A123456788", "A523456789"]);
        knows(is_hkid, &["A123456(3)", "AB987654(3)", "C123456(9)"], &["A123456(4)", "ABC12345(6)"]);
    }

    #[test]
    fn india() {
        knows(is_aadhaar, &["2341 2341 2346", "499118665246"], &["2341 2341 2347", "1234 1234 1234"]);
    }

    #[test]
    fn korea_and_japan() {
        knows(is_rrn, &["960121-1234567"], &["961321-1234567", "960121-9234567"]);
        knows(is_my_number, &["123456789018"], &["123456789019"]);
    }

    #[test]
    fn thailand_and_turkey() {
        knows(is_thai, &["1-1017-00203-45-0"], &["1101700203451"]);
        knows(is_kimlik, &["10000000146"], &["10000000147", "00000000146"]);
    }

    #[test]
    fn israel_and_south_africa() {
        knows(is_zehut, &["123456782", "000000018"], &["123456783"]);
        knows(is_south_african, &["8001015009087"], &["8001015009086", "8013015009087"]);
    }
}
