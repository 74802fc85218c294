//! Telephone numbers: as libphonenumber's data knows them, behind what every number has.

use std::sync::Arc;

use phonenumber::country::Id;

/// The regions whose national form is taken for a number. Without any, only the international form is.
#[derive(Debug, Clone)]
pub struct Regions(Arc<[Id]>);

impl Regions {
    /// Reads two-letter codes; gives back the first that is none.
    pub fn parse<'a>(codes: impl IntoIterator<Item = &'a str>) -> Result<Self, String> {
        codes
            .into_iter()
            .map(|code| code.parse::<Id>().map_err(|_| code.to_owned()))
            .collect::<Result<Vec<_>, _>>()
            .map(|ids| Self(ids.into()))
    }

    /// The same where only `wanted` are: regions that stand for a choice are replaced, and a single one, that
    /// a pattern is written for, goes where it is not wanted.
    #[must_use]
    pub fn within(&self, wanted: &Self) -> Self {
        match &*self.0 {
            [] => self.clone(),
            [one] if wanted.0.contains(one) => self.clone(),
            [_] => Self([].into()),
            _ => wanted.clone(),
        }
    }
}

/// The digits that a number has, with its country code.
const DIGITS: std::ops::RangeInclusive<usize> = 7..=15;

/// Answers whether a text is a valid number, in international form or in that of one of the regions.
pub(super) fn is_number(text: &str, regions: &Regions) -> bool {
    // An extension is no part of the number.
    let text = text.split(['x', 'e']).next().unwrap_or_default().trim_end();
    let digits = text.bytes().filter(u8::is_ascii_digit).count();
    if !DIGITS.contains(&digits) || text.len() > 48 {
        return false;
    }
    let is_valid = |region: Option<Id>, text: &str| {
        phonenumber::parse(region, text).is_ok_and(|number| number.is_valid())
    };
    if text.trim_start_matches('(').starts_with('+') {
        return is_valid(None, text);
    }
    if let Some(rest) = text.strip_prefix("00")
        && is_valid(None, &format!("+{rest}"))
    {
        return true;
    }
    regions.0.iter().any(|region| is_valid(Some(*region), text))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn numbers_of_many_countries() {
        let none = Regions::parse([]).unwrap();
        for good in [
            "+1 415 555 2671",
            "+49 30 901820",
            "+44 20 7946 0958",
            "+81-3-1234-5678",
            "0049 30 901820",
            "(+30) 6994 202572",
            "+1-351-515-6641x0749",
            "001-415-555-2671 ext. 12",
        ] {
            assert!(is_number(good, &none), "{good}");
        }
        for bad in ["+1 111 111 1111", "+999 12345678", "415-555-2671", "+12", ""] {
            assert!(!is_number(bad, &none), "{bad}");
        }
        let some = Regions::parse(["US", "DE"]).unwrap();
        for good in ["415-555-2671", "(415) 555-2671", "030 901820"] {
            assert!(is_number(good, &some), "{good}");
        }
        assert!(!is_number("115-555-2671", &some));
        let one = |code| Regions::parse([code]).unwrap();
        let holds = |regions: &Regions, text: &str| is_number(text, regions);
        assert!(holds(&some.within(&one("FR")), "01 42 68 53 00"), "a choice is replaced");
        assert!(!holds(&some.within(&one("FR")), "415-555-2671"));
        assert!(holds(&one("US").within(&some), "415-555-2671"));
        assert!(!holds(&one("US").within(&one("FR")), "415-555-2671"), "its pattern is for no other");
        assert!(!holds(&none.within(&some), "415-555-2671"), "only the international form stays");
        assert_eq!(Regions::parse(["US", "XY"]).unwrap_err(), "XY");
    }
}
