//! A secret in any message, in any spelling: nothing of it is left. The first byte says how it is spelled,
//! the second where it stands, and the rest is the message around it.
#![no_main]

use airlock_dlp::proof::SPELLINGS;
use airlock_dlp::{Redacted, Refused};
use airlock_fuzz::{is_kept, look_through, strings};
use serde_json::{Value, json};

/// In two parts, so that no scanner of repositories takes it for one.
const TOKENS: [&str; 3] = [
    concat!("ghp_", "318wPfvnmcZm8jFzhUXA8iNWWgoZXrugg3af"),
    "4111 1111 1111 1111",
    concat!("AKIA", "QYLPMN5HHHFPZAM2"),
];

/// The place of the spelling that has a character without width behind each.
const INVISIBLE: usize = 6;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let [spelling, place, rest @ ..] = data else { return };
    let Ok(rest) = std::str::from_utf8(rest) else { return };
    // In the strings that it is put together from, it is spelled as it is, or with what cannot be seen.
    let is_parted = place % 8 >= 6;
    let number = usize::from(*spelling) % SPELLINGS.len();
    let spelling = SPELLINGS[if is_parted { number % 2 * INVISIBLE } else { number }];
    let secret = spelling(TOKENS[usize::from(*place) / 8 % TOKENS.len()]);
    let other = serde_json::from_str::<Value>(rest).unwrap_or_else(|_| Value::from(rest));
    let (before, after) = rest.split_at(rest.floor_char_boundary(rest.len() / 2));
    // It stands apart: what touches it makes another text of it.
    let text = format!("{before} {secret} {after}");
    let cut = secret.ceil_char_boundary(secret.len() / 2);
    let (first, second) = secret.split_at(cut);
    let planted = match place % 8 {
        0 => json!([other, format!("a {secret} z")]),
        1 => json!({"a": other, "z": {"b": [text]}}),
        2 => json!({format!("a {secret} z"): other}),
        3 => {
            json!({"result": {"content": [{"type": "text", "text": text}, {"type": "vendor/x", "y": other}]}})
        }
        4 => json!({"error": {"code": 1, "message": "no", "data": [other, secret]}}),
        5 => json!([{"type": "resource", "resource": {"text": format!("a {secret} z")}}, other]),
        6 => json!({"a": [first, second], "b": other}),
        _ => json!([{"text": first}, {"text": second}, other]),
    };
    let json = planted.to_string();
    let result = match look_through(&json) {
        Ok(Redacted { text: Some(text), .. }) => text,
        Err(Refused::TooMuchWork | Refused::TooLong { .. }) => return,
        other => panic!("not found: {json}: {other:?}"),
    };
    is_kept(&json, &result);
    // The message around it may hold one that touches something, which is another text.
    let around = strings(&json!([rest, other]).to_string());
    let left = strings(&result);
    let whole = TOKENS.iter().copied().chain([secret.as_str()]);
    for token in whole.filter(|token| !around.iter().any(|text| text.contains(token))) {
        assert!(!left.iter().any(|text| text.contains(token)), "{json}\n{result}");
    }
});
