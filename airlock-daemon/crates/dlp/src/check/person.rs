//! Data that belongs to a person without being a number of a state: dates of birth, addresses of machines.

use std::net::IpAddr;

use super::table::Checks;

use super::digits::is_date;

pub(super) const CHECKS: Checks = &[("date", is_birth), ("ip", is_public_address), ("no-date", is_no_date)];

/// A date in digits, in any usual order, or with the name of its month, of a year that a living person may be
/// born in.
fn is_birth(text: &str) -> bool {
    let numbers: Vec<u32> = text
        .split(|letter: char| !letter.is_ascii_digit())
        .filter(|digits| !digits.is_empty())
        .filter_map(|digits| digits.parse().ok())
        .collect();
    let is_year = |year: u32| year < 100 || (1900..=2035).contains(&year);
    match numbers[..] {
        [year, month, day] if year >= 1000 => is_year(year) && is_date(day, month),
        [first, second, year] => is_year(year) && (is_date(first, second) || is_date(second, first)),
        [day, year] => {
            is_year(year) && (1..=31).contains(&day) && text.bytes().any(|byte| byte.is_ascii_alphabetic())
        }
        _ => false,
    }
}

/// Refuses a date of three parts with a year of four digits, and a span of years.
fn is_no_date(text: &str) -> bool {
    let parts: Vec<&str> = text.split(['-', '.', '/', ' ']).collect();
    let has_year = |part: &str| part.len() == 4 && (part.starts_with("19") || part.starts_with("20"));
    let is_date = parts.len() == 3 && (has_year(parts[0]) || has_year(parts[2])) && is_birth(text);
    let is_span = parts.len() == 2 && parts.iter().all(|part| has_year(part));
    !(text.is_empty() || is_date || is_span)
}

/// An address that names a machine of somebody: not loopback, not unspecified, not for documents.
fn is_public_address(text: &str) -> bool {
    text.parse::<IpAddr>().is_ok_and(|address| match address {
        IpAddr::V4(address) => {
            !(address.is_loopback()
                || address.is_unspecified()
                || address.is_broadcast()
                || address.is_multicast()
                || address.octets()[0] == 0)
        }
        IpAddr::V6(address) => !(address.is_loopback() || address.is_unspecified() || address.is_multicast()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn births_are_dates() {
        for good in ["1984-02-29", "29.02.1984", "2/29/1984", "29/2/84", "29 February 1984", "Feb 29, 1984"] {
            assert!(is_birth(good), "{good}");
        }
        for bad in ["1984-13-29", "31.04.1984", "1/1/1799", "12", "2/30/1984", "", "99999999999"] {
            assert!(!is_birth(bad), "{bad}");
        }
    }

    #[test]
    fn dates_are_told_from_numbers() {
        assert!(is_no_date("030 901820") && is_no_date("2024 555 123") && is_no_date("415-555-2671"));
        assert!(
            !is_no_date("2024-01-01")
                && !is_no_date("31.12.1999")
                && !is_no_date("2018-2019")
                && !is_no_date("")
        );
    }

    #[test]
    fn addresses_name_a_machine() {
        assert!(
            is_public_address("203.0.113.7")
                && is_public_address("2001:db8::1")
                && is_public_address("10.0.0.1")
        );
        assert!(!is_public_address("127.0.0.1") && !is_public_address("::1") && !is_public_address("1.2.3"));
        assert!(!is_public_address("256.1.1.1") && !is_public_address("0.1.2.3"));
    }
}
