//! The mirrored headers: the first line is the body's value, every other line a header value.
#![no_main]

use airlock::mcp::header::{NAME, agrees, decode, single};
use http::{HeaderMap, HeaderValue};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let mut lines = data.split(|byte| *byte == b'\n');
    let Some(Ok(body)) = lines.next().map(std::str::from_utf8) else { return };
    let mut headers = HeaderMap::new();
    for line in lines {
        if let Ok(value) = HeaderValue::from_bytes(line) {
            headers.append(NAME, value);
        }
    }
    let one = single(&headers, NAME);
    if headers.len() > 1 {
        assert!(one.is_err(), "a repeated header was read");
    }
    if agrees(&headers, NAME, body).is_ok() {
        assert_eq!(headers.len(), 1);
        let value = one.expect("readable").expect("there");
        assert_eq!(decode(value).expect("decodable"), body);
    }
});
