//! Northern Europe and the Baltic states.

use crate::check::digits::{compact, exactly, is_date, luhn, pair, weighted};

/// Sweden, personnummer: Luhn over the last ten digits; samordningsnummer have 60 added to the day.
pub(super) fn is_personnummer(text: &str) -> bool {
    let text: String = text.chars().filter(|letter| *letter != '+').collect();
    let of = |digits: &[u32]| {
        let day = pair(&digits[4..6]);
        is_date(if day > 60 { day - 60 } else { day }, pair(&digits[2..4])) && luhn(digits)
    };
    exactly::<10>(&text).is_some_and(|digits| of(&digits))
        || exactly::<12>(&text)
            .is_some_and(|digits| matches!(pair(&digits[..2]), 18..=20) && of(&digits[2..]))
}

/// Finland, henkilötunnus: a letter for the rest of birth and number by 31.
pub(super) fn is_hetu(text: &str) -> bool {
    let text = text.trim().to_ascii_uppercase();
    let bytes = text.as_bytes();
    if bytes.len() != 11 || !b"-+ABCDEFUVWXY".contains(&bytes[6]) {
        return false;
    }
    let digits: Vec<u32> = bytes[..6]
        .iter()
        .chain(&bytes[7..10])
        .filter(|byte| byte.is_ascii_digit())
        .map(|byte| u32::from(byte - b'0'))
        .collect();
    digits.len() == 9
        && is_date(pair(&digits[..2]), pair(&digits[2..4]))
        && b"0123456789ABCDEFHJKLMNPRSTUVWXY".get((pair(&digits) % 31) as usize) == Some(&bytes[10])
}

/// Norway, fødselsnummer and D-nummer: two check digits by eleven.
pub(super) fn is_fnr(text: &str) -> bool {
    exactly::<11>(text).is_some_and(|digits| {
        let day = pair(&digits[..2]);
        is_date(if day > 40 { day - 40 } else { day }, pair(&digits[2..4]) % 40)
            && weighted(&digits[..10], &[3, 7, 6, 1, 8, 9, 4, 5, 2, 1]).is_multiple_of(11)
            && weighted(&digits, &[5, 4, 3, 2, 7, 6, 5, 4, 3, 2, 1]).is_multiple_of(11)
    })
}

/// Denmark, CPR number: its check digit is not given out to all any more, so the date must do.
pub(super) fn is_cpr(text: &str) -> bool {
    exactly::<10>(text).is_some_and(|digits| is_date(pair(&digits[..2]), pair(&digits[2..4])))
}

/// Estonia and Lithuania, isikukood and asmens kodas.
pub(super) fn is_isikukood(text: &str) -> bool {
    let text = compact(text);
    exactly::<11>(&text).is_some_and(|digits| {
        let check = match weighted(&digits[..10], &[1, 2, 3, 4, 5, 6, 7, 8, 9, 1]) % 11 {
            10 => weighted(&digits[..10], &[3, 4, 5, 6, 7, 8, 9, 1, 2, 3]) % 11 % 10,
            rest => rest,
        };
        matches!(digits[0], 1..=8) && is_date(pair(&digits[5..7]), pair(&digits[3..5])) && check == digits[10]
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::national::knows;

    #[test]
    fn sweden() {
        knows(
            is_personnummer,
            &["811228-9874", "19811228-9874", "670919-9530"],
            &["811228-9873", "811328-9874"],
        );
    }

    #[test]
    fn finland() {
        knows(is_hetu, &["131052-308T", "010101-0101"], &["131052-308U", "321052-308T", "131052z308T"]);
    }

    #[test]
    fn norway() {
        knows(is_fnr, &["15108695088", "01010750160"], &["15108695089"]);
    }

    #[test]
    fn denmark() {
        knows(is_cpr, &["211062-5629", "0504871234"], &["311362-5629"]);
    }

    #[test]
    fn baltic() {
        knows(is_isikukood, &["37605030299", "38703181745", "33309240064"], &["37605030298", "97605030299"]);
    }
}
