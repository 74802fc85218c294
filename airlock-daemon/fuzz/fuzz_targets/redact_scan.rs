//! The scanner, which runs each pattern where its trigger stands, finds in any text what patterns find that
//! run over the whole of it.
#![no_main]

use airlock_fuzz::DETECTORS;

libfuzzer_sys::fuzz_target!(|text: &str| {
    let hits = DETECTORS.scan(text, |_| true);
    for slow in DETECTORS.scan_slowly(text) {
        let is_found = hits.iter().any(|hit| {
            hit.detector == slow.detector
                && hit.range.start <= slow.range.start
                && slow.range.end <= hit.range.end
        });
        assert!(is_found, "{}: {:?} in {text:?}", DETECTORS.all()[slow.detector].name(), &text[slow.range]);
    }
});
