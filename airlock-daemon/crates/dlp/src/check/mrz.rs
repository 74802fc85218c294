//! Machine readable zones of travel documents (ICAO Doc 9303): lines, and their check digits.

use super::table::Checks;

pub(super) const CHECKS: Checks = &[("mrz", is_zone)];

/// Passports and visas have two lines of 44 or 36 characters, cards two of 36 or three of 30.
fn is_zone(text: &str) -> bool {
    let lines: Vec<&[u8]> = text.split_ascii_whitespace().map(str::as_bytes).collect();
    let is_of = |long: usize| lines.iter().all(|line| line.len() == long);
    match lines.as_slice() {
        [first, second] if is_of(44) => {
            names(&first[5..]) && two(second) && (first[0] == b'V' || whole_44(second))
        }
        [first, second] if is_of(36) => {
            names(&first[5..]) && two(second) && (first[0] == b'V' || whole_36(second))
        }
        [first, second, third] if is_of(30) => {
            names(third)
                && has(&first[5..14], first[14])
                && has(&second[..6], second[6])
                && has(&second[8..14], second[14])
                && has_of(&[&first[5..30], &second[..7], &second[8..15], &second[18..29]], second[29])
        }
        _ => false,
    }
}

fn names(field: &[u8]) -> bool {
    field.iter().all(|byte| byte.is_ascii_uppercase() || *byte == b'<') && field[0] != b'<'
}

/// The second line of two: number, birth, expiry, each with its digit.
fn two(line: &[u8]) -> bool {
    has(&line[..9], line[9]) && has(&line[13..19], line[19]) && has(&line[21..27], line[27])
}

fn whole_44(line: &[u8]) -> bool {
    (has(&line[28..42], line[42]) || (line[42] == b'<' && line[28..42].iter().all(|byte| *byte == b'<')))
        && has_of(&[&line[..10], &line[13..20], &line[21..43]], line[43])
}

fn whole_36(line: &[u8]) -> bool {
    has_of(&[&line[..10], &line[13..20], &line[21..35]], line[35])
}

fn has(field: &[u8], check: u8) -> bool {
    has_of(&[field], check)
}

/// Weights 7, 3, 1; letters count from ten, the filler counts nothing.
fn has_of(fields: &[&[u8]], check: u8) -> bool {
    let sum: Option<u32> = fields
        .iter()
        .copied()
        .flatten()
        .zip([7, 3, 1].into_iter().cycle())
        .map(|(byte, weight)| {
            let value = match byte {
                b'0'..=b'9' => byte - b'0',
                b'A'..=b'Z' => byte - b'A' + 10,
                b'<' => 0,
                _ => return None,
            };
            Some(u32::from(value) * weight)
        })
        .sum();
    sum.is_some_and(|sum| check.is_ascii_digit() && sum % 10 == u32::from(check - b'0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_the_specimens_of_the_standard() {
        for good in [
            "P<UTOERIKSSON<<ANNA<MARIA<<<<<<<<<<<<<<<<<<<\nL898902C36UTO7408122F1204159ZE184226B<<<<<10",
            "I<UTOD231458907<<<<<<<<<<<<<<<\n7408122F1204159UTO<<<<<<<<<<<6\nERIKSSON<<ANNA<MARIA<<<<<<<<<<",
            "I<UTOERIKSSON<<ANNA<MARIA<<<<<<<<<<<\nD231458907UTO7408122F1204159<<<<<<<6",
            "V<UTOERIKSSON<<ANNA<MARIA<<<<<<<<<<<<<<<<<<<\nL8988901C4XXX4009078F96121096ZE184226B<<<<<<",
        ] {
            assert!(is_zone(good), "{good}");
        }
        for bad in [
            "P<UTOERIKSSON<<ANNA<MARIA<<<<<<<<<<<<<<<<<<<\nL898902C36UTO7408122F1204159ZE184226B<<<<<11",
            "P<UTOERIKSSON<<ANNA<MARIA<<<<<<<<<<<<<<<<<<\nL898902C36UTO7408122F1204159ZE184226B<<<<<10",
            "P<UTO",
            "",
        ] {
            assert!(!is_zone(bad), "{bad}");
        }
    }
}
