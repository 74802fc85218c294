//! Whole numbers of JSON, in any of their spellings.

use std::borrow::Cow;

/// The most digits of a number that is read.
const MOST: usize = 32;

/// The digits of a whole number that has at least so many, without its sign. It may be spelled with a point
/// or an exponent: `4.1e2` is 410, as is `410.0`.
pub(crate) fn digits(number: &str, least: usize) -> Option<Cow<'_, str>> {
    if number.len() < least.min(3) {
        return None;
    }
    if number.bytes().all(|byte| byte.is_ascii_digit()) {
        return (number.len() >= least).then_some(Cow::Borrowed(number));
    }
    let number = number.strip_prefix('-').unwrap_or(number);
    let (mantissa, exponent) = number.split_once(['e', 'E']).unwrap_or((number, "0"));
    let (whole, part) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let part = part.trim_end_matches('0');
    let exponent = exponent.parse::<i64>().ok()?;
    let zeros = exponent.checked_sub(i64::try_from(part.len()).ok()?)?;
    // The last digit behind the point is none of a whole number's.
    if (zeros < 0 && !part.is_empty()) || whole.len() + part.len() > 4 * MOST {
        return None;
    }
    let mut digits = [whole, part].concat();
    if let Ok(zeros) = usize::try_from(zeros) {
        digits.extend(std::iter::repeat_n('0', zeros.min(MOST + 1)));
    } else {
        let behind = digits.len().checked_sub(usize::try_from(zeros.unsigned_abs()).ok()?)?;
        if digits[behind..].bytes().any(|byte| byte != b'0') {
            return None;
        }
        digits.truncate(behind);
    }
    let digits = digits.trim_start_matches('0');
    (least..=MOST).contains(&digits.len()).then(|| Cow::Owned(digits.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_number_has_its_digits_in_every_spelling() {
        for (number, expected) in [
            ("4111111111111111", Some("4111111111111111")),
            ("-4111111111111111", Some("4111111111111111")),
            ("4111111111111111.00", Some("4111111111111111")),
            ("4.111111111111111e15", Some("4111111111111111")),
            ("0.4111111111111111E+16", Some("4111111111111111")),
            ("41111111111111110e-1", Some("4111111111111111")),
            ("4111111111111111e0", Some("4111111111111111")),
            ("1e6", Some("1000000")),
            ("12345", None),
            ("4.1111111111111115e14", None),
            ("0.4111111111111111", None),
            ("1e99999999999999999999", None),
            ("1e999999", None),
            ("1e-999999", None),
            ("0.0", None),
        ] {
            assert_eq!(digits(number, 6).as_deref(), expected, "{number}");
        }
    }
}
