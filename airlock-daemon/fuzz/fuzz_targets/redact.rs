//! Redaction of any JSON: the result parses, differs inside of strings only, and a second look finds nothing.
#![no_main]

use airlock_dlp::{Redacted, Refused};
use airlock_fuzz::{is_kept, look_through};
use serde_json::Value;

libfuzzer_sys::fuzz_target!(|data: &str| {
    let whole = serde_json::from_str::<Value>(data).is_ok();
    let json = if whole { data.to_owned() } else { Value::from(data).to_string() };
    let Ok(Redacted { text: Some(text), counts }) = look_through(&json) else { return };
    assert!(!counts.is_empty());
    is_kept(&json, &text);
    match look_through(&text) {
        Ok(Redacted { text: None, .. }) | Err(Refused::TooMuchWork) => {}
        again => panic!("{json}\n{text}\n{again:?}"),
    }
});
