//! Lines of a server: the first byte is the limit, the second where the bytes are cut, the third the length
//! of segments. Lines depend on neither cut nor segments, are never longer than the limit, and are told apart
//! without a panic.
#![no_main]

use airlock::mcp::message::{self, Incoming};
use airlock::upstream::transport::frame::{Line, Lines};

/// The lines; of those that are too long, how long they are.
fn read(mut lines: Lines, chunks: &[&[u8]], limit: usize) -> Vec<Result<Vec<u8>, usize>> {
    let (mut out, mut passed) = (Vec::new(), 0);
    for chunk in chunks {
        lines.buffer().extend_from_slice(chunk);
        while let Some(line) = lines.next(limit) {
            match line {
                Line::Whole(line) => out.push(Ok(line.to_vec())),
                Line::Long(parts) => out.push(Ok(parts.concat())),
                Line::Piece(piece, is_last) => {
                    passed += piece.len();
                    if is_last {
                        out.push(Err(std::mem::take(&mut passed)));
                    }
                }
            }
        }
    }
    out
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let [limit, cut, segment, bytes @ ..] = data else { return };
    let limit = usize::from(*limit);
    let (left, right) = bytes.split_at(usize::from(*cut).min(bytes.len()));
    let whole = read(Lines::default(), &[bytes], limit);
    assert_eq!(read(Lines::default(), &[left, right], limit), whole);
    let pieces: Vec<&[u8]> = bytes.chunks(usize::from(*cut).max(1)).collect();
    assert_eq!(read(Lines::in_segments(usize::from(*segment)), &pieces, limit), whole);
    for line in whole {
        let line = match line {
            Ok(line) => line,
            Err(length) => {
                assert!(length > limit);
                continue;
            }
        };
        assert!(!line.is_empty() && line.len() <= limit && !line.contains(&b'\n'));
        let Ok(text) = std::str::from_utf8(&line) else { continue };
        if let Ok(Incoming::Request { id, .. }) = message::parse(text) {
            // It is sent back as it came.
            serde_json::from_str::<serde_json::Value>(id).expect("an id is JSON");
        }
    }
});
