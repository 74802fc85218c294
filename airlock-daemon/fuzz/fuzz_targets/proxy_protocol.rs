//! The header of a proxy in front of a connection: the first byte is where the bytes are cut. A beginning of
//! a header is never taken for a whole one, and what follows it never changes it.
#![no_main]

use airlock::runtime::proxy_protocol::{MAX_HEADER, Parsed, parse};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let [cut, bytes @ ..] = data else { return };
    let (left, _) = bytes.split_at(usize::from(*cut).min(bytes.len()));
    match (parse(left), parse(bytes)) {
        // More bytes make a header of a beginning, or a fault; they change nothing else.
        (Ok(Parsed::Partial), _) => {}
        (early, late) => assert_eq!(early, late),
    }
    match parse(bytes) {
        Ok(Parsed::Whole { length, .. }) => {
            assert!((1..=MAX_HEADER.min(bytes.len())).contains(&length));
            assert_eq!(parse(&bytes[..length - 1]), Ok(Parsed::Partial));
            assert_eq!(parse(&bytes[..length]), parse(bytes));
        }
        // No more is read than a header can have.
        Ok(Parsed::Partial) => assert!(bytes.len() < MAX_HEADER),
        Err(_) => {}
    }
});
