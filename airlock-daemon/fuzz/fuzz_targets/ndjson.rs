//! Lines of a server: the first byte is the limit, the second where the bytes are cut. What comes out does not depend on the cut,
//! is never longer than the limit, and is told apart without a panic.
#![no_main]

use airlock::mcp::message::{self, Incoming};
use airlock::upstream::frame::Lines;

/// The lines up to the first that is too long, if there is one.
fn read(chunks: &[&[u8]], limit: usize) -> (Vec<Vec<u8>>, bool) {
    let mut lines = Lines::default();
    let mut out = Vec::new();
    for chunk in chunks {
        lines.buffer().extend_from_slice(chunk);
        loop {
            match lines.next(limit) {
                Ok(Some(line)) => out.push(line.to_vec()),
                Ok(None) => break,
                Err(_) => return (out, true),
            }
        }
    }
    (out, false)
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let [limit, cut, bytes @ ..] = data else { return };
    let limit = usize::from(*limit);
    let (left, right) = bytes.split_at(usize::from(*cut).min(bytes.len()));
    let (whole, long) = read(&[bytes], limit);
    assert_eq!(read(&[left, right], limit), (whole.clone(), long));
    for line in whole {
        assert!(!line.is_empty() && line.len() <= limit && !line.contains(&b'\n'));
        let Ok(text) = std::str::from_utf8(&line) else { continue };
        if let Ok(Incoming::Request { id, .. }) = message::parse(text) {
            // It is sent back as it came.
            serde_json::from_str::<serde_json::Value>(id).expect("an id is JSON");
        }
    }
});
