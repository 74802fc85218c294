//! Western Europe.

use crate::check::digits::{compact, exactly, mod_11_10, number, weighted};

/// Germany, Steuer-Identifikationsnummer: of the first ten digits one stands twice or thrice, the others
/// once.
pub(super) fn is_tax_id(text: &str) -> bool {
    exactly::<11>(text).is_some_and(|digits| {
        let mut counts = [0; 10];
        for digit in &digits[..10] {
            counts[*digit as usize] += 1;
        }
        let repeated: Vec<_> = counts.into_iter().filter(|count| *count > 1).collect();
        digits[0] != 0 && matches!(repeated[..], [2 | 3]) && mod_11_10(&digits)
    })
}

/// United Kingdom, NHS number.
pub(super) fn is_nhs(text: &str) -> bool {
    exactly::<10>(text).is_some_and(|digits| {
        let check = 11 - weighted(&digits[..9], &[10, 9, 8, 7, 6, 5, 4, 3, 2]) % 11;
        digits[..9].iter().any(|digit| *digit != digits[0]) && check % 11 == digits[9]
    })
}

/// United Kingdom, national insurance number: letters that are given out, six digits, A to D.
pub(super) fn is_nino(text: &str) -> bool {
    let text = compact(text);
    let bytes = text.as_bytes();
    bytes.len() == 9
        && !b"DFIQUV".contains(&bytes[0])
        && !b"DFIQUVO".contains(&bytes[1])
        && bytes[..2].iter().all(u8::is_ascii_uppercase)
        && !["BG", "GB", "KN", "NK", "NT", "TN", "ZZ"].iter().any(|taken| text.starts_with(taken))
        && bytes[2..8].iter().all(u8::is_ascii_digit)
        && (b'A'..=b'D').contains(&bytes[8])
}

/// France, numéro d'inscription au répertoire: 97 less the rest of the number by 97; Corsica counts as 19 and
/// 18.
pub(super) fn is_nir(text: &str) -> bool {
    let text = compact(text);
    if text.len() != 15 || !text.is_ascii() {
        return false;
    }
    let digits = match &text[5..7] {
        "2A" => text.replacen("2A", "19", 1),
        "2B" => text.replacen("2B", "18", 1),
        _ => text.clone(),
    };
    exactly::<15>(&digits).is_some_and(|digits| {
        let month = digits[3] * 10 + digits[4];
        matches!(digits[0], 1..=4 | 7 | 8)
            && matches!(month, 1..=12 | 20..=42 | 50..=99)
            && 97 - number(&digits[..13]) % 97 == number(&digits[13..])
    })
}

/// Spain, DNI and NIE: the letter is the rest of the number by 23.
pub(super) fn is_dni(text: &str) -> bool {
    let text = compact(text);
    let (body, letter) = match text.char_indices().next_back() {
        Some((at, letter)) => (&text[..at], letter),
        None => return false,
    };
    let body = match body.as_bytes() {
        [b'X', ..] => body.replacen('X', "0", 1),
        [b'Y', ..] => body.replacen('Y', "1", 1),
        [b'Z', ..] => body.replacen('Z', "2", 1),
        _ => body.to_owned(),
    };
    exactly::<8>(&body).is_some_and(|digits| {
        let letters = b"TRWAGMYFPDXBNJZSQVHLCKE";
        number(&digits) > 0
            && u32::from(letters[usize::try_from(number(&digits) % 23).unwrap_or(0)]) == u32::from(letter)
    })
}

/// Italy, codice fiscale: six letters of the names, the birth, the place, and a letter that checks.
pub(super) fn is_fiscal_code(text: &str) -> bool {
    const ODD: [u32; 26] =
        [1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23];
    let text = compact(text);
    let bytes = text.as_bytes();
    if bytes.len() != 16 || !bytes.iter().all(u8::is_ascii_alphanumeric) {
        return false;
    }
    let is_shaped = bytes[..6].iter().all(u8::is_ascii_uppercase)
        && b"ABCDEHLMPRST".contains(&bytes[8])
        && bytes[11].is_ascii_uppercase()
        && [6, 7, 9, 10, 12, 13, 14]
            .iter()
            .all(|place| bytes[*place].is_ascii_digit() || b"LMNPQRSTUV".contains(&bytes[*place]));
    let sum: u32 = bytes[..15]
        .iter()
        .enumerate()
        .map(|(place, byte)| {
            let value = if byte.is_ascii_digit() { byte - b'0' } else { byte - b'A' };
            if place % 2 == 0 { ODD[usize::from(value)] } else { u32::from(value) }
        })
        .sum();
    is_shaped && u32::from(b'A') + sum % 26 == u32::from(bytes[15])
}

/// Netherlands, burgerservicenummer: the test of eleven.
pub(super) fn is_bsn(text: &str) -> bool {
    exactly::<9>(text).is_some_and(|digits| {
        let sum = weighted(&digits[..8], &[9, 8, 7, 6, 5, 4, 3, 2]);
        number(&digits) > 0 && sum % 11 == digits[8] % 11
    })
}

/// Belgium, rijksregisternummer: 97 less the rest by 97, with a 2 in front for births since 2000.
pub(super) fn is_nrn(text: &str) -> bool {
    exactly::<11>(text).is_some_and(|digits| {
        let (body, check) = (number(&digits[..9]), number(&digits[9..]));
        let month = (digits[2] * 10 + digits[3]) % 20;
        month <= 12 && body > 0 && (97 - body % 97 == check || 97 - (2_000_000_000 + body) % 97 == check)
    })
}

/// Portugal, número de identificação fiscal.
pub(super) fn is_nif(text: &str) -> bool {
    exactly::<9>(text).is_some_and(|digits| {
        let rest = weighted(&digits[..8], &[9, 8, 7, 6, 5, 4, 3, 2]) % 11;
        matches!(digits[0], 1..=3 | 5 | 6 | 8 | 9) && digits[8] == if rest < 2 { 0 } else { 11 - rest }
    })
}

/// Ireland, personal public service number: seven digits, a letter that checks, and perhaps another letter.
pub(super) fn is_pps(text: &str) -> bool {
    let text = compact(text);
    let bytes = text.as_bytes();
    if !matches!(bytes.len(), 8 | 9) || !bytes[7..].iter().all(u8::is_ascii_uppercase) {
        return false;
    }
    let second = bytes.get(8).map_or(0, |letter| if *letter == b'W' { 0 } else { u32::from(letter - b'@') });
    exactly::<7>(&text[..7]).is_some_and(|digits| {
        let rest = (weighted(&digits, &[8, 7, 6, 5, 4, 3, 2]) + second * 9) % 23;
        number(&digits) > 0
            && u32::from(bytes[7]) == if rest == 0 { u32::from(b'W') } else { u32::from(b'@') + rest }
    })
}

/// Switzerland, AHV number: 756 and the check digit of EAN-13.
pub(super) fn is_ahv(text: &str) -> bool {
    exactly::<13>(text).is_some_and(|digits| {
        digits[..3] == [7, 5, 6]
            && weighted(&digits, &[1, 3, 1, 3, 1, 3, 1, 3, 1, 3, 1, 3, 1]).is_multiple_of(10)
    })
}

/// Austria, Sozialversicherungsnummer: the fourth digit checks; the last six are the birth.
pub(super) fn is_svnr(text: &str) -> bool {
    exactly::<10>(text).is_some_and(|digits| {
        let month = digits[6] * 10 + digits[7];
        digits[0] != 0
            && (1..=15).contains(&month)
            && weighted(&digits, &[3, 7, 9, 0, 5, 8, 4, 2, 1, 6]) % 11 == digits[3]
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::national::knows;

    #[test]
    fn germany() {
        knows(
            is_tax_id,
            &["86095742719", "47036892816", "65929970489", "57549285017"],
            &["86095742718", "12345678901"],
        );
    }

    #[test]
    fn united_kingdom() {
        knows(is_nhs, &["943 476 5919", "4010232137"], &["943 476 5918", "1111111111"]);
        knows(
            is_nino,
            &["AB123456C", "AA123456C", "JG 12 13 16 A"],
            &["QQ123456C", "GB123456A", "AB123456E"],
        );
    }

    #[test]
    fn france() {
        knows(
            is_nir,
            &["2 55 08 14 168 025 38", "1 84 12 76 451 089 46"],
            &["255081416802537", "955081416802538"],
        );
        assert!(!is_nir("25508é416802538"));
    }

    #[test]
    fn spain() {
        knows(is_dni, &["12345678Z", "X1234567L", "Y1234567X", "00000001R"], &["12345678A", "X1234567M"]);
    }

    #[test]
    fn italy() {
        knows(
            is_fiscal_code,
            &["RSSMRA85T10A562S", "MRTMTT91D08F205J"],
            &["RSSMRA85T10A562T", "RSSMRA85T10A5622"],
        );
    }

    #[test]
    fn benelux() {
        knows(is_bsn, &["111222333", "123456782"], &["123456789"]);
        knows(is_nrn, &["85.07.30-033 28", "17073003384"], &["85073003327"]);
    }

    #[test]
    fn portugal_and_ireland() {
        knows(is_nif, &["123456789", "501964843"], &["123456780"]);
        knows(is_pps, &["1234567T", "1234567FA"], &["1234567A"]);
    }

    #[test]
    fn alps() {
        knows(is_ahv, &["756.9217.0769.85", "7561234567897"], &["756.9217.0769.84"]);
        knows(is_svnr, &["1237 010180"], &["1234 010180"]);
    }
}
