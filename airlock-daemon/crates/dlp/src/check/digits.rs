//! Digits of a match without what separates them, and the sums that check digits are made of.

/// The ASCII digits of a text if it has just `N` of them and otherwise only separators.
pub(super) fn exactly<const N: usize>(text: &str) -> Option<[u32; N]> {
    let mut digits = [0; N];
    let mut count = 0;
    for byte in text.bytes() {
        match byte {
            b'0'..=b'9' => {
                *digits.get_mut(count)? = u32::from(byte - b'0');
                count += 1;
            }
            b' ' | b'-' | b'.' | b'/' | 0xA0 | 0xC2 => {}
            _ => return None,
        }
    }
    (count == N).then_some(digits)
}

/// The letters and digits of an ASCII text, in capitals, without separators.
pub(super) fn compact(text: &str) -> String {
    text.chars()
        .filter(|letter| !matches!(letter, ' ' | '-' | '.' | '/' | '\u{a0}'))
        .collect::<String>()
        .to_ascii_uppercase()
}

/// Adds up each value times its weight.
pub(super) fn weighted(values: &[u32], weights: &[u32]) -> u32 {
    values.iter().zip(weights).map(|(value, weight)| value * weight).sum()
}

/// The decimal number that the digits write.
pub(super) fn number(digits: &[u32]) -> u64 {
    digits.iter().fold(0, |number, digit| number * 10 + u64::from(*digit))
}

/// The formula of Luhn (ISO/IEC 7812-1 annex B): every second digit from the right but one counts double.
pub(super) fn luhn(digits: &[u32]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(place, digit)| if place % 2 == 0 { *digit } else { digit * 2 / 10 + digit * 2 % 10 })
        .sum();
    !digits.is_empty() && sum.is_multiple_of(10)
}

/// ISO/IEC 7064, MOD 11,10: the last digit is the check digit.
pub(super) fn mod_11_10(digits: &[u32]) -> bool {
    let Some((check, rest)) = digits.split_last() else { return false };
    let product = rest.iter().fold(10, |product, digit| {
        let sum = match (digit + product) % 10 {
            0 => 10,
            sum => sum,
        };
        sum * 2 % 11
    });
    (11 - product) % 10 == *check
}

/// The scheme of Verhoeff over the dihedral group of order ten.
pub(super) fn verhoeff(digits: &[u32]) -> bool {
    const PERMUTED: [u32; 10] = [1, 5, 7, 6, 2, 8, 3, 0, 9, 4];
    let times = |a: u32, b: u32| match (a < 5, b < 5) {
        (true, true) => (a + b) % 5,
        (true, false) => 5 + (a + b - 5) % 5,
        (false, true) => 5 + (a - 5 + 5 - b) % 5,
        (false, false) => (a + 5 - b) % 5,
    };
    let sum = digits.iter().rev().enumerate().fold(0, |sum, (place, digit)| {
        let permuted = (0..place % 8).fold(*digit, |digit, _| PERMUTED[digit as usize]);
        times(sum, permuted)
    });
    !digits.is_empty() && sum == 0
}

/// A date that could be a person's birth: a month of 1 to 12 and a day that it may have.
pub(super) fn is_date(day: u32, month: u32) -> bool {
    let most = match month {
        2 => 29,
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return false,
    };
    (1..=most).contains(&day)
}

/// The digits of one value after the other.
pub(super) fn pair(digits: &[u32]) -> u32 {
    digits.iter().fold(0, |number, digit| number * 10 + digit)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn of(text: &str) -> Vec<u32> {
        text.bytes().map(|byte| u32::from(byte - b'0')).collect()
    }

    #[test]
    fn takes_just_so_many_digits() {
        assert_eq!(exactly::<4>("12-34"), Some([1, 2, 3, 4]));
        assert_eq!(exactly::<4>("123"), None);
        assert_eq!(exactly::<4>("12345"), None);
        assert_eq!(exactly::<4>("12x34"), None);
    }

    #[test]
    fn luhn_knows_its_published_numbers() {
        for good in ["79927398713", "4539578763621486", "0"] {
            assert!(luhn(&of(good)), "{good}");
        }
        for bad in ["79927398710", "4539578763621487", ""] {
            assert!(!luhn(&of(bad)), "{bad}");
        }
    }

    #[test]
    fn verhoeff_finds_every_single_error_and_every_swap() {
        let good = of("2363");
        assert!(verhoeff(&good));
        for place in 0..good.len() {
            for other in (0..10).filter(|other| *other != good[place]) {
                let mut bad = good.clone();
                bad[place] = other;
                assert!(!verhoeff(&bad), "{bad:?}");
            }
        }
        for place in 0..good.len() - 1 {
            let mut bad = good.clone();
            bad.swap(place, place + 1);
            assert!(good == bad || !verhoeff(&bad), "{bad:?}");
        }
        assert!(!verhoeff(&[]));
    }

    #[test]
    fn mod_11_10_knows_the_example_of_the_standard() {
        assert!(mod_11_10(&of("07945")));
        assert!(!mod_11_10(&of("07954")));
        assert!(!mod_11_10(&[]));
    }

    #[test]
    fn dates_have_days_of_their_month() {
        assert!(is_date(29, 2) && is_date(31, 12) && is_date(1, 1));
        assert!(!is_date(30, 2) && !is_date(31, 4) && !is_date(0, 1) && !is_date(1, 0) && !is_date(1, 13));
    }
}
