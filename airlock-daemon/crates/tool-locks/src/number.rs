//! Numbers in canonical form: as ECMAScript writes a double (RFC 8785, section 3.2.2.3), with all the digits
//! that the text has. Where no other double is meant than the one whose shortest text this is, that is the
//! RFC's form; and two numbers that differ have two forms, also where one double stands for both.

use std::fmt::Write as _;

use serde::de::Error as _;

/// A decimal number: `0.DIGITS` times ten to a power. Neither end of the digits is a zero; zero has none.
#[derive(Debug, PartialEq, Eq)]
struct Decimal {
    is_negative: bool,
    digits: String,
    power: i128,
}

/// Writes a number that JSON's grammar allows.
///
/// # Errors
/// An exponent that has more digits than anybody needs.
pub(crate) fn write(text: &str, out: &mut String) -> Result<(), serde_json::Error> {
    let far = || serde_json::Error::custom("number out of range");
    let number = Decimal::read(text).ok_or_else(far)?;
    // Writing to a string does not fail.
    let _ = number.as_ecmascript(out);
    Ok(())
}

impl Decimal {
    fn read(text: &str) -> Option<Self> {
        let (is_negative, text) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let all = format!("{whole}{fraction}");
        let significant = all.trim_start_matches('0');
        let leading = all.len() - significant.len();
        let digits = significant.trim_end_matches('0');
        if digits.is_empty() {
            // Minus zero is zero, with whatever exponent.
            return Some(Self { is_negative: false, digits: String::new(), power: 0 });
        }
        let exponent: i64 = exponent.parse().ok()?;
        let place = i128::try_from(whole.len()).ok()? - i128::try_from(leading).ok()?;
        Some(Self { is_negative, digits: digits.to_owned(), power: i128::from(exponent) + place })
    }

    /// `Number::toString` of ECMAScript: `k` digits, of which `n` stand before the point.
    fn as_ecmascript(&self, out: &mut String) -> std::fmt::Result {
        if self.digits.is_empty() {
            out.push('0');
            return Ok(());
        }
        if self.is_negative {
            out.push('-');
        }
        let digits = self.digits.as_str();
        let places = usize::try_from(self.power.unsigned_abs()).unwrap_or(usize::MAX);
        match self.power {
            1..=21 if places >= digits.len() => {
                write!(out, "{digits}{}", "0".repeat(places - digits.len()))
            }
            1..=21 => write!(out, "{}.{}", &digits[..places], &digits[places..]),
            -5..=0 => write!(out, "0.{}{digits}", "0".repeat(places)),
            power => {
                let (first, rest) = digits.split_at(1);
                let point = if rest.is_empty() { "" } else { "." };
                write!(out, "{first}{point}{rest}e{:+}", power - 1)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(text: &str) -> String {
        let mut out = String::new();
        write(text, &mut out).unwrap_or_else(|error| panic!("{text}: {error}"));
        out
    }

    #[test]
    fn doubles_are_written_as_the_rfc_has_them() {
        // RFC 8785, appendix B: the bits of a double, and its text.
        for (bits, wanted) in [
            (0x0000_0000_0000_0000, "0"),
            (0x8000_0000_0000_0000, "0"),
            (0x0000_0000_0000_0001, "5e-324"),
            (0x8000_0000_0000_0001, "-5e-324"),
            (0x7fef_ffff_ffff_ffff, "1.7976931348623157e+308"),
            (0xffef_ffff_ffff_ffff, "-1.7976931348623157e+308"),
            (0x4340_0000_0000_0000, "9007199254740992"),
            (0xc340_0000_0000_0000, "-9007199254740992"),
            (0x4430_0000_0000_0000, "295147905179352830000"),
            (0x44b5_2d02_c7e1_4af5, "9.999999999999997e+22"),
            (0x44b5_2d02_c7e1_4af6, "1e+23"),
            (0x44b5_2d02_c7e1_4af7, "1.0000000000000001e+23"),
            (0x444b_1ae4_d6e2_ef4e, "999999999999999700000"),
            (0x444b_1ae4_d6e2_ef4f, "999999999999999900000"),
            (0x444b_1ae4_d6e2_ef50, "1e+21"),
            (0x3eb0_c6f7_a0b5_ed8c, "9.999999999999997e-7"),
            (0x3eb0_c6f7_a0b5_ed8d, "0.000001"),
            (0x41b3_de43_5555_5553, "333333333.3333332"),
            (0x41b3_de43_5555_5554, "333333333.33333325"),
            (0x41b3_de43_5555_5555, "333333333.3333333"),
            (0x41b3_de43_5555_5556, "333333333.3333334"),
            (0x41b3_de43_5555_5557, "333333333.33333343"),
            (0xbecb_f647_612f_3696, "-0.0000033333333333333333"),
        ] {
            let double = f64::from_bits(bits);
            // Rust writes the shortest text that leads back to the double, as ECMAScript does.
            for text in [format!("{double:e}"), format!("{double:?}")] {
                assert_eq!(form(&text), wanted, "{bits:x}");
            }
            assert_eq!(form(wanted), wanted);
        }
    }

    #[test]
    fn a_double_with_two_shortest_texts_keeps_the_one_that_it_came_with() {
        // RFC 8785 rounds 1424953923781206.25 to even.
        assert_eq!(form("1424953923781206.2"), "1424953923781206.2");
    }

    #[test]
    fn every_digit_of_a_number_counts() {
        for (text, wanted) in [
            ("9007199254740993", "9007199254740993"),
            ("-90071992547409930e-1", "-9007199254740993"),
            ("1e-400", "1e-400"),
            ("0.10000000000000000555111512312578270", "0.1000000000000000055511151231257827"),
            ("1234567890123456789012", "1.234567890123456789012e+21"),
        ] {
            assert_eq!(form(text), wanted);
        }
        assert_eq!(form("0e-99999999999999999999999"), "0");
        for text in ["1e-99999999999999999999", "1e999999999999999999999"] {
            assert!(write(text, &mut String::new()).is_err(), "{text}");
        }
    }
}
