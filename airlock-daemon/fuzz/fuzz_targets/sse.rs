//! Event streams of a server: the first byte is the limit, the second where the bytes are cut. The events do
//! not depend on the cut, and none is longer than the limit.
#![no_main]

use airlock::upstream::transport::http::sse::{Event, Events};

/// The events, the id to resume after, and whether all was read.
fn read(chunks: &[&[u8]], limit: usize) -> (Vec<Event>, Vec<u8>, bool) {
    let mut events = Events::default();
    let mut out = Vec::new();
    let whole = chunks.iter().all(|chunk| events.feed(chunk, limit, |event| out.push(event)).is_ok());
    (out, events.last_id().to_vec(), whole)
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let [limit, cut, bytes @ ..] = data else { return };
    let limit = usize::from(*limit);
    let (left, right) = bytes.split_at(usize::from(*cut).min(bytes.len()));
    let (events, last_id, whole) = read(&[bytes], limit);
    let (parts, part_id, in_parts) = read(&[left, right], limit);
    // Where a line is too long, the cut decides after how much of it that is noticed.
    if whole && in_parts {
        assert_eq!((&events, &last_id), (&parts, &part_id));
    }
    for event in events.iter().chain(&parts) {
        // Newlines between data lines count on top of each line's own bytes.
        assert!(event.data.len() <= limit + 1);
        assert!(!event.kind.is_empty());
    }
    assert!(!last_id.contains(&0) && !last_id.contains(&b'\n'));
});
