//! Payment cards: the ranges of the brands, their lengths, and the check digit.

use super::digits::luhn;
use super::table::Checks;

pub(super) const CHECKS: Checks = &[("card", is_card), ("luhn", has_luhn)];

/// The first six digits of a brand's cards, and how many digits they have.
const BRANDS: &[(u32, u32, std::ops::RangeInclusive<usize>)] = &[
    (340_000, 349_999, 15..=15), // American Express
    (370_000, 379_999, 15..=15),
    (300_000, 305_999, 14..=19), // Diners Club
    (309_500, 309_599, 14..=19),
    (360_000, 369_999, 14..=19),
    (380_000, 399_999, 14..=19),
    (400_000, 499_999, 13..=13), // Visa, old
    (400_000, 499_999, 16..=16), // Visa, and Elo and Dankort within
    (400_000, 499_999, 19..=19), // Visa
    (510_000, 559_999, 16..=16), // Mastercard
    (222_100, 272_099, 16..=16),
    (601_100, 601_199, 16..=19), // Discover
    (644_000, 659_999, 16..=19), // Discover, and RuPay, Elo, Troy within
    (622_000, 622_999, 16..=19), // UnionPay
    (620_000, 629_999, 16..=19),
    (810_000, 817_199, 16..=16),
    (352_800, 358_999, 16..=19), // JCB
    (500_000, 509_999, 12..=19), // Maestro, Elo, Verve
    (560_000, 589_999, 12..=19), // Maestro
    (600_000, 609_999, 16..=16), // RuPay, Hipercard
    (630_000, 639_999, 12..=19), // Maestro
    (670_000, 679_999, 12..=19),
    (690_000, 699_999, 16..=19),
    (817_200, 820_199, 16..=16), // RuPay
    (220_000, 220_499, 16..=19), // Mir
    (979_200, 979_299, 16..=16), // Troy
];

/// Digits of a card, without what separates them; at most nineteen.
fn digits(text: &str) -> Option<Vec<u32>> {
    let digits: Vec<_> = text.bytes().filter(u8::is_ascii_digit).map(|byte| u32::from(byte - b'0')).collect();
    (2..=19).contains(&digits.len()).then_some(digits)
}

fn is_card(text: &str) -> bool {
    let Some(digits) = digits(text).filter(|digits| digits.len() >= 12) else { return false };
    let prefix = digits[..6].iter().fold(0, |number, digit| number * 10 + digit);
    let varies = digits.iter().any(|digit| *digit != digits[0]);
    let is_brand =
        BRANDS.iter().any(|(from, to, long)| (*from..=*to).contains(&prefix) && long.contains(&digits.len()));
    is_brand && varies && luhn(&digits)
}

fn has_luhn(text: &str) -> bool {
    digits(text).is_some_and(|digits| luhn(&digits))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers that the brands and processors publish for tests.
    const PUBLISHED: &[&str] = &[
        "378282246310005",
        "371449635398431",
        "30569309025904",
        "38520000023237",
        "36227206271667",
        "6011111111111117",
        "6011000990139424",
        "3530111333300000",
        "3566002020360505",
        "5555555555554444",
        "5105105105105100",
        "2223003122003222",
        "4111111111111111",
        "4012888888881881",
        "4222222222222",
        "6200000000000005",
        "6205500000000000004",
        "6759649826438453",
        "6304000000000000",
        "501800000009",
        "2200000000000004",
    ];

    #[test]
    fn knows_the_published_numbers() {
        for number in PUBLISHED {
            assert!(is_card(number), "{number}");
            let spaced: String = number
                .chars()
                .enumerate()
                .flat_map(|(at, digit)| [" ", ""][usize::from(at % 4 != 0)].chars().chain([digit]))
                .collect();
            assert!(is_card(&spaced), "{spaced}");
        }
    }

    #[test]
    fn refuses_wrong_digits_lengths_and_brands() {
        for number in [
            "4111111111111112",   // check digit
            "411111111111116",    // Visa of fifteen digits
            "464854781166125682", // Visa of eighteen digits
            "9999999999999995",   // no brand
            "0000000000000000",   // no brand
            "41111111",
            "",
            "４１１１１１１１１１１１１１１１",
        ] {
            assert!(!is_card(number), "{number}");
        }
    }

    #[test]
    fn luhn_needs_two_digits() {
        assert!(has_luhn("18") && has_luhn("79927398713"));
        assert!(!has_luhn("0") && !has_luhn("x") && !has_luhn("79927398714"));
    }
}
