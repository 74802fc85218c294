//! Blobs of which only some is text.

use std::cell::Cell;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::*;

thread_local! {
    /// The characters of base64 that this thread has decoded, each as often as it was.
    pub(super) static DECODED: Cell<usize> = const { Cell::new(0) };
}

fn found(run: &str) -> Vec<Blob> {
    all(run, std::slice::from_ref(&(0..run.len())))
}

/// The texts that base64 of some bytes has, without those of groups that begin elsewhere.
fn texts(bytes: &[u8]) -> Vec<(usize, String)> {
    let blobs = found(&STANDARD.encode(bytes)).into_iter().filter(|blob| blob.run.start == 0);
    blobs.flat_map(|blob| blob.stretches).map(|stretch| (stretch.start, stretch.text)).collect()
}

#[test]
fn base64_is_decoded_as_often_however_long_it_is() {
    /// A run is so many times as long as the other.
    const LONGER: usize = 8;
    // Three groups of printable characters stand together, and not one more.
    for text in ["aaaaaaaaa\u{20ac}".as_bytes(), b"aaaaaaaaa\xff\xff\xff", b"aaaaaaaaaaa\xff", b"a"] {
        let decoded = |times: usize| {
            let run = STANDARD.encode(text.repeat(times * 12 / text.len()));
            DECODED.set(0);
            found(&run);
            DECODED.get()
        };
        let (short, long) = (decoded(200), decoded(200 * LONGER));
        // Less is decoded beyond the last stretch, at the end of a run.
        assert!(long <= LONGER * short + CHUNK * CHUNK, "{text:?}: {short} and {long} characters");
    }
}

#[test]
fn stretches_begin_and_end_with_what_is_printable() {
    let all = texts(b"\xff\xffone, two, three\xff\xff\xfffour, five, six\xff");
    assert_eq!(all, [(2, "one, two, three".to_owned()), (20, "four, five, six".to_owned())]);
    let all = texts("\u{e9}t\u{e9} and all that\u{20ac}".as_bytes());
    assert_eq!(all, [(0, "\u{e9}t\u{e9} and all that\u{20ac}".to_owned())]);
    assert!(texts(b"\xff\xff\xffnine char\xff\xff\xff\xff\xff\xff").is_empty());
}
