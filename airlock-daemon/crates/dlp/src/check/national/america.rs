//! The Americas.

use crate::check::digits::{compact, exactly, is_date, luhn, number, pair, weighted};

/// United States, social security number: areas, groups and serials that are given out, and not the two of
/// old adverts.
pub(super) fn is_ssn(text: &str) -> bool {
    exactly::<9>(text).is_some_and(|digits| {
        let (area, group, serial) = (pair(&digits[..3]), pair(&digits[3..5]), pair(&digits[5..]));
        !matches!(area, 0 | 666 | 900..)
            && group > 0
            && serial > 0
            && !matches!(number(&digits), 78_051_120 | 219_099_999)
            && digits.iter().any(|digit| *digit != digits[0])
            && number(&digits) != 123_456_789
    })
}

/// United States, individual taxpayer identification number.
pub(super) fn is_itin(text: &str) -> bool {
    exactly::<9>(text).is_some_and(|digits| {
        digits[0] == 9 && matches!(pair(&digits[3..5]), 50..=65 | 70..=88 | 90..=92 | 94..=99)
    })
}

/// Canada, social insurance number.
pub(super) fn is_sin(text: &str) -> bool {
    exactly::<9>(text).is_some_and(|digits| !matches!(digits[0], 0 | 8) && luhn(&digits))
}

/// Brazil, CPF: two check digits by eleven.
pub(super) fn is_cpf(text: &str) -> bool {
    exactly::<11>(text).is_some_and(|digits| {
        digits.iter().any(|digit| *digit != digits[0])
            && by_eleven(&digits[..9], &[10, 9, 8, 7, 6, 5, 4, 3, 2]) == digits[9]
            && by_eleven(&digits[..10], &[11, 10, 9, 8, 7, 6, 5, 4, 3, 2]) == digits[10]
    })
}

/// Brazil, CNPJ of digits.
pub(super) fn is_cnpj(text: &str) -> bool {
    exactly::<14>(text).is_some_and(|digits| {
        digits.iter().any(|digit| *digit != digits[0])
            && by_eleven(&digits[..12], &[5, 4, 3, 2, 9, 8, 7, 6, 5, 4, 3, 2]) == digits[12]
            && by_eleven(&digits[..13], &[6, 5, 4, 3, 2, 9, 8, 7, 6, 5, 4, 3, 2]) == digits[13]
    })
}

fn by_eleven(digits: &[u32], weights: &[u32]) -> u32 {
    match weighted(digits, weights) % 11 {
        0 | 1 => 0,
        rest => 11 - rest,
    }
}

/// Argentina, CUIT and CUIL: kinds of 20 to 34, and a check digit by eleven.
pub(super) fn is_cuit(text: &str) -> bool {
    exactly::<11>(text).is_some_and(|digits| {
        // A rest of one gives ten, for which some issuers take nine and others another prefix.
        let check = match 11 - weighted(&digits[..10], &[5, 4, 3, 2, 7, 6, 5, 4, 3, 2]) % 11 {
            11 => 0,
            10 => 9,
            check => check,
        };
        matches!(pair(&digits[..2]), 20 | 23 | 24 | 25 | 26 | 27 | 30 | 33 | 34) && check == digits[10]
    })
}

/// Chile, RUT: a check digit by eleven, where K stands for ten.
pub(super) fn is_rut(text: &str) -> bool {
    let text = compact(text);
    let Some((at, check)) = text.char_indices().next_back() else { return false };
    let body = &text[..at];
    if !matches!(body.len(), 7 | 8) || !body.bytes().all(|byte| byte.is_ascii_digit()) {
        return false;
    }
    let digits: Vec<u32> = body.bytes().rev().map(|byte| u32::from(byte - b'0')).collect();
    let expected = match 11 - weighted(&digits, &[2, 3, 4, 5, 6, 7, 2, 3]) % 11 {
        11 => '0',
        10 => 'K',
        digit => char::from_digit(digit, 10).unwrap_or('0'),
    };
    digits.iter().any(|digit| *digit != digits[0]) && check == expected
}

/// Mexico, CURP: letters of the names, the birth, the sex, the state, and a check digit.
pub(super) fn is_curp(text: &str) -> bool {
    const LETTERS: &str = "0123456789ABCDEFGHIJKLMNÑOPQRSTUVWXYZ";
    let text = compact(text);
    if text.len() != 18 || !text.is_ascii() {
        return false;
    }
    let Some(birth) = exactly::<6>(&text[4..10]) else { return false };
    let values: Option<Vec<u32>> = text
        .chars()
        .map(|letter| LETTERS.chars().position(|known| known == letter).and_then(|at| u32::try_from(at).ok()))
        .collect();
    values.is_some_and(|values| {
        let weights = [18, 17, 16, 15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2];
        let check = (10 - weighted(&values[..17], &weights) % 10) % 10;
        is_date(pair(&birth[4..6]), pair(&birth[2..4]))
            && b"HMX".contains(&text.as_bytes()[10])
            && check == values[17]
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::national::knows;

    #[test]
    fn united_states() {
        knows(
            is_ssn,
            &["536-90-4399", "219-09-1234"],
            &["666-12-3456", "000-12-3456", "900-12-3456", "078-05-1120", "123-00-4567", "123-45-0000"],
        );
        knows(is_itin, &["912-70-1234", "900-94-1234"], &["912-93-1234", "812-70-1234"]);
    }

    #[test]
    fn canada() {
        knows(is_sin, &["130 692 544"], &["130 692 545", "046 454 286"]);
    }

    #[test]
    fn brazil() {
        knows(is_cpf, &["529.982.247-25", "11144477735"], &["529.982.247-26", "111.111.111-11"]);
        knows(is_cnpj, &["11.222.333/0001-81", "00.000.000/0001-91"], &["11.222.333/0001-82"]);
    }

    #[test]
    fn argentina_and_chile() {
        knows(
            is_cuit,
            &["20-12345678-6", "30-50001091-2", "20-52278763-9"],
            &["20-12345678-7", "40-12345678-6"],
        );
        knows(is_rut, &["12.345.678-5", "30.686.957-4", "6.265.837-1"], &["12.345.678-6", "11.111.111-2"]);
    }

    #[test]
    fn mexico() {
        knows(is_curp, &["BOXW310820HNERXN09"], &["BOXW310820HNERXN08"]);
        assert!(!is_curp("BOXWé10820HNERXN09"));
    }
}
