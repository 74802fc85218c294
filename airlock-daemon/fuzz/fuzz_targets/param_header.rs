//! Headers that repeat arguments: the first line is a tool's input schema, the second the arguments, every
//! other line a header `name:value`. Headers that are written for a server pass the check of the next; those
//! that pass say what the arguments say.
#![no_main]

use airlock::mcp::header::decode;
use airlock::mcp::param_header::{Annotations, Sent};
use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let mut lines = data.split(|byte| *byte == b'\n');
    let (Some(schema), Some(arguments)) = (lines.next(), lines.next()) else { return };
    let (Ok(schema), Ok(arguments)) = (std::str::from_utf8(schema), std::str::from_utf8(arguments)) else {
        return;
    };
    let mut headers = HeaderMap::new();
    for line in lines {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        if let (Ok(name), Ok(value)) =
            (HeaderName::from_bytes(&line[..colon]), HeaderValue::from_bytes(&line[colon + 1..]))
        {
            headers.append(name, value);
        }
    }
    let Ok(Some(annotations)) = Annotations::read(schema) else { return };
    let written: HeaderMap = annotations.write(arguments).into_iter().collect();
    for value in written.values() {
        decode(value.to_str().expect("visible ASCII")).expect("decodable");
    }
    let Ok(sent) = Sent::read(&headers) else { return };
    if annotations.check(&sent, arguments).is_ok() {
        let object: Value = serde_json::from_str(arguments).expect("checked, but not JSON to others");
        // The values that were checked are those that are written, but for the spelling of numbers.
        for (name, value) in &written {
            let value = decode(value.to_str().expect("visible ASCII")).expect("decodable");
            let given = headers.get(name).expect("a value without its header passed");
            let given = decode(given.to_str().expect("visible ASCII")).expect("decodable");
            assert!(
                given == value || given.parse::<f64>() == value.parse::<f64>(),
                "{given} and {value} in {object}"
            );
        }
    }
});
