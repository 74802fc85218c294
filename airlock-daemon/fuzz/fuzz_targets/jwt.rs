//! Tokens before their signature is checked: the form is right, or there is an error that can be shown.
#![no_main]

use std::borrow::Cow;

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
            // The sentence for the client is a constant, so it cannot repeat a part of the token.
            let Cow::Borrowed(reason) = error.reason() else { panic!("{error:?} repeats something") };
            assert!(!reason.is_empty());
            let _ = error.to_string();
        }
    }
});
