//! The spellings that secrets are planted in, by tests and by fuzzing.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

/// Spells a text byte by byte.
fn spelled(text: &str, how: impl Fn(u8) -> String) -> String {
    text.bytes().map(how).collect()
}

/// Spells a text in wide characters.
fn wide(text: &str) -> String {
    let wide = |of| if of == ' ' { '\u{3000}' } else { char::from_u32(of as u32 + 0xFEE0).unwrap_or(of) };
    text.chars().map(wide).collect()
}

/// Cuts a text into lines of so many characters.
fn in_lines(text: &str, length: usize, between: &str) -> String {
    let lines: Vec<_> = text.as_bytes().chunks(length).map(String::from_utf8_lossy).collect();
    lines.join(between)
}

/// Every spelling that a secret has, by what writes it.
pub const SPELLINGS: [fn(&str) -> String; 16] = [
    str::to_owned,
    |text| spelled(text, |byte| format!("%{byte:02x}")),
    |text| spelled(text, |byte| format!("%25{byte:02X}")),
    |text| spelled(text, |byte| format!("\\u{byte:04x}")),
    |text| spelled(text, |byte| format!("\\x{byte:02x}")),
    wide,
    |text| text.chars().flat_map(|of| [of, '\u{200D}']).collect(),
    |text| STANDARD.encode(format!("a {text} z")),
    |text| URL_SAFE_NO_PAD.encode(format!("{{\"k\":\"{text}\"}}")),
    |text| spelled(&format!("is {text};"), |byte| format!("{byte:02X}")),
    |text| STANDARD.encode(format!("x={}", STANDARD.encode(format!("y is it: {text};")))),
    |text| format!("0x{}", spelled(&format!("so {text}!"), |byte| format!("{byte:02x}"))),
    |text| in_lines(&STANDARD.encode(format!("{0}{text} {0}", "so it is, and so on ".repeat(4))), 76, "\n"),
    |text| {
        in_lines(&STANDARD.encode(format!("{0}{text} {0}", "so it is, and so on ".repeat(4))), 64, "\r\n  ")
    },
    |text| STANDARD.encode(wide(&format!("so {text} it is"))),
    |text| format!("a+b%3D{}", text.replace(' ', "+")),
];
