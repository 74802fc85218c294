//! The canonical form of JSON: two texts, parted by a zero byte. They have one form where a reader of its own
//! finds them equal, and two where it does not; a form is its own form.
#![no_main]

use std::collections::BTreeMap;

use airlock_tool_locks::canonical::canonical;
use serde_json::value::RawValue;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (one, other) = text.split_once('\0').unwrap_or((text, text));
    let (Ok(form), Ok(another)) = (canonical(one), canonical(other)) else { return };
    assert_eq!(canonical(&form).as_deref().ok(), Some(form.as_str()), "{one}");
    assert!(equal(one, &form), "{one} became {form}");
    assert_eq!(equal(one, other), form == another, "{one}\n{other}");
});

/// Compares two texts that have a form: value by value, numbers digit by digit.
fn equal(one: &str, other: &str) -> bool {
    let (one, other) = (one.trim(), other.trim());
    match (one.as_bytes().first(), other.as_bytes().first()) {
        (Some(b'{'), Some(b'{')) => {
            let read = |text| serde_json::from_str::<BTreeMap<String, &RawValue>>(text).expect("an object");
            let (one, other) = (read(one), read(other));
            one.len() == other.len()
                && one.iter().zip(&other).all(|((name, value), (named, another))| {
                    name == named && equal(value.get(), another.get())
                })
        }
        (Some(b'['), Some(b'[')) => {
            let read = |text| serde_json::from_str::<Vec<&RawValue>>(text).expect("an array");
            let (one, other) = (read(one), read(other));
            one.len() == other.len()
                && one.iter().zip(&other).all(|(value, another)| equal(value.get(), another.get()))
        }
        (Some(b'"'), Some(b'"')) => {
            let read = |text| serde_json::from_str::<String>(text).expect("a string");
            read(one) == read(other)
        }
        (Some(b'-' | b'0'..=b'9'), Some(b'-' | b'0'..=b'9')) => digits(one) == digits(other),
        _ => one == other,
    }
}

/// Sign, digits without zeros around them, and where they stand.
fn digits(number: &str) -> (bool, String, i128) {
    let (mantissa, exponent) = number.split_once(['e', 'E']).unwrap_or((number, "0"));
    let plain = mantissa.trim_start_matches('-');
    let before = plain.find('.').unwrap_or(plain.len());
    let mut digits: Vec<u8> = plain.bytes().filter(u8::is_ascii_digit).collect();
    let mut place = i128::try_from(before).expect("a length");
    while digits.first() == Some(&b'0') {
        digits.remove(0);
        place -= 1;
    }
    while digits.last() == Some(&b'0') {
        digits.pop();
    }
    if digits.is_empty() {
        return (false, String::new(), 0);
    }
    let exponent: i128 = exponent.parse().expect("an exponent");
    (mantissa.starts_with('-'), String::from_utf8(digits).expect("digits"), place + exponent)
}
