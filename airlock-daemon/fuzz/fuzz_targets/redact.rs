//! Redaction of any JSON: the result parses, and has the shape of the message.
#![no_main]

use std::sync::LazyLock;

use airlock_dlp::{Action, Detectors, Plan, Redacted, redact, shipped};
use serde_json::Value;

static DETECTORS: LazyLock<Detectors> = LazyLock::new(|| {
    let packs = shipped().iter().map(|pack| pack.load().expect("a shipped pack"));
    Detectors::new(packs.flat_map(|pack| pack.detectors).collect())
});

fn is_of_one_shape(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::String(_), Value::String(_)) => true,
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| is_of_one_shape(a, b))
        }
        (Value::Object(a), Value::Object(b)) => a.len() == b.len(),
        // A number that is a card becomes 0.
        (Value::Number(_), Value::Number(b)) => a == &Value::Number(b.clone()) || a.as_u64() == Some(0),
        (a, b) => a == b,
    }
}

fn look_through(json: &str) -> Option<Redacted> {
    let actions = vec![Action::Redact; DETECTORS.all().len()];
    let plan = Plan {
        detectors: &DETECTORS,
        actions: &actions,
        digest: &|_| 0,
        skip: &[&["id"]],
        keep: &[],
        limit: 1 << 24,
    };
    redact(&plan, json).ok()
}

libfuzzer_sys::fuzz_target!(|data: &str| {
    let whole = serde_json::from_str::<Value>(data).is_ok();
    let json = if whole { data.to_owned() } else { Value::from(data).to_string() };
    let Some(Redacted { text: Some(text), counts }) = look_through(&json) else { return };
    assert!(!counts.is_empty());
    let before: Value = serde_json::from_str(&json).expect("it was read before");
    let after: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
    assert!(is_of_one_shape(&after, &before), "{json} {text}");
});
