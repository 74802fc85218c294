//! Eastern and south-eastern Europe.

use crate::check::digits::{exactly, is_date, luhn, mod_11_10, number, pair, weighted};

/// Poland, PESEL: the month tells the century.
pub(super) fn is_pesel(text: &str) -> bool {
    exactly::<11>(text).is_some_and(|digits| {
        is_date(pair(&digits[4..6]), pair(&digits[2..4]) % 20)
            && weighted(&digits, &[1, 3, 7, 9, 1, 3, 7, 9, 1, 3, 1]).is_multiple_of(10)
    })
}

/// Czechia and Slovakia, rodné číslo of ten digits: a multiple of eleven; women have 50 added to the month.
pub(super) fn is_birth_number(text: &str) -> bool {
    exactly::<10>(text).is_some_and(|digits| {
        let month = pair(&digits[2..4]) % 50;
        let rest = number(&digits[..9]) % 11 % 10;
        is_date(pair(&digits[4..6]), if month > 20 { month - 20 } else { month })
            && rest == u64::from(digits[9])
            && (number(&digits).is_multiple_of(11) || number(&digits[..9]) % 11 == 10)
    })
}

/// Romania, cod numeric personal.
pub(super) fn is_cnp(text: &str) -> bool {
    exactly::<13>(text).is_some_and(|digits| {
        let check = match weighted(&digits[..12], &[2, 7, 9, 1, 4, 6, 3, 5, 8, 2, 7, 9]) % 11 {
            10 => 1,
            rest => rest,
        };
        digits[0] != 0 && is_date(pair(&digits[5..7]), pair(&digits[3..5])) && check == digits[12]
    })
}

/// Bulgaria, edinen grazhdanski nomer: 20 or 40 added to the month tell the century.
pub(super) fn is_egn(text: &str) -> bool {
    exactly::<10>(text).is_some_and(|digits| {
        is_date(pair(&digits[4..6]), pair(&digits[2..4]) % 20)
            && weighted(&digits[..9], &[2, 4, 8, 5, 10, 9, 7, 3, 6]) % 11 % 10 == digits[9]
    })
}

/// Croatia, osobni identifikacijski broj.
pub(super) fn is_oib(text: &str) -> bool {
    exactly::<11>(text).is_some_and(|digits| number(&digits) > 0 && mod_11_10(&digits))
}

/// Greece, AMKA: the birth, and Luhn.
pub(super) fn is_amka(text: &str) -> bool {
    exactly::<11>(text)
        .is_some_and(|digits| is_date(pair(&digits[..2]), pair(&digits[2..4])) && luhn(&digits))
}

/// Russia, SNILS: the last two digits are the weighted sum by 101.
pub(super) fn is_snils(text: &str) -> bool {
    exactly::<11>(text).is_some_and(|digits| {
        let sum = weighted(&digits[..9], &[9, 8, 7, 6, 5, 4, 3, 2, 1]);
        number(&digits[..9]) > 1_001_998 && sum % 101 % 100 == pair(&digits[9..])
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::national::knows;

    #[test]
    fn poland() {
        knows(is_pesel, &["44051401359", "02070803628"], &["44051401358", "44151401359"]);
    }

    #[test]
    fn czechia_and_slovakia() {
        knows(is_birth_number, &["736028/5163", "7103192745"], &["736028/5164", "739928/5163"]);
    }

    #[test]
    fn romania_and_bulgaria() {
        knows(is_cnp, &["1800101221144", "1630615123457"], &["1800101221145"]);
        knows(is_egn, &["7523169263", "8032056031"], &["7523169264"]);
    }

    #[test]
    fn balkans() {
        knows(is_oib, &["33392005961", "69435151530"], &["33392005962"]);
        knows(is_amka, &["01013099997"], &["01013099998"]);
    }

    #[test]
    fn russia() {
        knows(is_snils, &["112-233-445 95"], &["112-233-445 96", "000-000-000 00"]);
    }
}
