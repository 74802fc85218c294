//! The configuration loader: whatever the file holds, the answer is a configuration or a list of errors that
//! can be shown.
#![no_main]

use airlock::config::from_text;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match from_text("fuzz.yaml", text) {
        // A text that was accepted once is accepted always.
        Ok(_) => assert!(from_text("fuzz.yaml", text).is_ok()),
        Err(diagnostics) => {
            let shown = diagnostics.to_string();
            assert!(shown.contains("fuzz.yaml"), "an error without its place: {shown}");
        }
    }
});
