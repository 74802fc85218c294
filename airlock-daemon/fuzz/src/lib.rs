//! The shipped detectors and the parts of a message that must stay, for the targets of redaction.

use std::sync::LazyLock;

use airlock_dlp::{Action, Detectors, Plan, Redacted, Refused, redact, shipped};

/// All detectors of the shipped packs.
pub static DETECTORS: LazyLock<Detectors> = LazyLock::new(|| {
    let packs = shipped().iter().map(|pack| pack.load().expect("a shipped pack"));
    Detectors::new(packs.flat_map(|pack| pack.detectors).collect())
});

/// Looks through a message; all that is found is taken out.
pub fn look_through(json: &str) -> Result<Redacted, Refused> {
    let actions = vec![Action::Redact; DETECTORS.all().len()];
    let plan = Plan {
        detectors: &DETECTORS,
        actions: &actions,
        digest: &|_| 0,
        skip: &[&["id"]],
        keep: &[],
        limit: 1 << 24,
    };
    redact(&plan, json)
}

/// JSON without what stands in its strings: all else byte for byte, with each number by itself.
fn outline(json: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let (mut is_string, mut is_escaped, mut is_number) = (false, false, false);
    for character in json.chars() {
        if is_string {
            is_string = is_escaped || character != '"';
            is_escaped = !is_escaped && character == '\\';
            continue;
        }
        is_string = character == '"';
        let goes_on = character.is_ascii_digit() || matches!(character, '-' | '+' | '.' | 'e' | 'E');
        // The letters of `true` and `false` follow none.
        let begins = character.is_ascii_digit() || character == '-';
        if is_number != if is_number { goes_on } else { begins } {
            is_number = !is_number;
            parts.push(String::new());
        }
        parts.last_mut().expect("one").push(character);
    }
    parts
}

/// All strings of a JSON text, names of members among them, as a reader of it sees them.
pub fn strings(json: &str) -> Vec<String> {
    let mut strings = Vec::new();
    let mut rest = json;
    while let Some(start) = rest.find('"') {
        let mut is_escaped = false;
        let end = rest[start + 1..].find(|character| {
            let is_end = !is_escaped && character == '"';
            is_escaped = !is_escaped && character == '\\';
            is_end
        });
        let (string, behind) = rest[start..].split_at(end.expect("a closed string") + 2);
        strings.push(serde_json::from_str(string).unwrap_or_else(|error| panic!("{error}: {string}")));
        rest = behind;
    }
    strings
}

/// Holds a redacted message against what it was: it differs inside of strings only, and in numbers that
/// became 0.
pub fn is_kept(before: &str, after: &str) {
    let (was, is) = (outline(before), outline(after));
    let is_same = was.len() == is.len() && was.iter().zip(&is).all(|(was, is)| was == is || is == "0");
    assert!(is_same, "{before}\n{after}");
    serde_json::from_str::<serde::de::IgnoredAny>(after).unwrap_or_else(|error| panic!("{error}: {after}"));
}
