//! Tokens before their signature is checked: the form is right, or there is an error that names no secret.
#![no_main]

use airlock::auth::jwt::inspect;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Ok(token) = std::str::from_utf8(data) else { return };
    match inspect(token) {
        Ok(token_parts) => {
            // The three parts are the whole token: nothing is between or behind what was looked at.
            assert_eq!(format!("{}.{}", token_parts.signed, token_parts.signature), token);
            let _ = token_parts.issuer();
        }
        Err(error) => {
            let reason = error.reason();
            assert!(!reason.is_empty());
            // The sentence for the client must not echo what came in; a short token could be a word of the sentence.
            assert!(token.len() < 24 || !reason.contains(token));
            let _ = error.to_string();
        }
    }
});
