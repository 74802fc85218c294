//! Hostile texts: what a pattern may be made slow with. A detector that reads one of them over and over is
//! refused before it runs on anything that passes.

use crate::detector::{Detector, DetectorError, Spec};
use crate::detectors::Detectors;
use crate::trigger::Trigger;

/// The length of a hostile text, in bytes.
const TEXT: usize = 16 << 10;

/// How many times its length a detector may read of a hostile text. Shipped ones read less than half of that.
const TIMES: usize = 32;

/// The start of a text that is shown, in bytes.
const SHOWN: usize = 40;

/// A text that a detector is slow on.
#[derive(Debug, PartialEq, Eq)]
struct Slow {
    /// Its first bytes.
    text: String,
    /// How many times its length the detector reads.
    times: usize,
}

impl Detector {
    /// Compiles the pattern, derives where to look for it, and tries it on hostile texts.
    pub fn new(spec: Spec) -> Result<Self, DetectorError> {
        let detector = Self::compiled_now(spec)?;
        match slowest(&detector) {
            Some(Slow { text, times }) => Err(DetectorError::Slow { text, times, limit: TIMES }),
            None => Ok(detector),
        }
    }
}

/// Finds the text that a detector is slowest on, if it is slow on any. Bytes are counted, and no time is
/// measured, so that the answer is the same on every machine.
fn slowest(detector: &Detector) -> Option<Slow> {
    let detectors = Detectors::new(vec![detector.clone()]);
    let read = |text: &String| detectors.look(text, |_| true).read / text.len();
    let texts = texts(detector.trigger());
    let (times, text) = texts.iter().map(|text| (read(text), text)).max_by_key(|(times, _)| *times)?;
    (times > TIMES).then(|| Slow { text: text[..text.floor_char_boundary(SHOWN)].to_owned(), times })
}

/// Texts that are hostile to all, and those that repeat what the detector looks for.
fn texts(trigger: &Trigger) -> Vec<String> {
    let mut parts: Vec<String> = [
        "a",
        "1",
        "@",
        "a@b.",
        "4111 1111 1111 1111 ",
        "12,345.67;",
        "\\",
        "\\\\u0040",
        "%2540",
        "[{\"a\":",
        "é",
        "a=",
        "ab ",
        "//a:b@",
    ]
    .map(str::to_owned)
    .into();
    let mut lead = |word: &[u8]| {
        let word = String::from_utf8_lossy(word).into_owned();
        parts.extend(["", "=", ": 12345678 ", "aB3dE5gH7jK9"].map(|after| format!("{word}{after}")));
    };
    match trigger {
        Trigger::Literals(all) => all.iter().take(8).for_each(|literal| lead(&literal.folded)),
        Trigger::Words { words, .. } => words.iter().take(2).for_each(|word| lead(word)),
        Trigger::At(_) | Trigger::Digits(_) => {}
    }
    let mut texts: Vec<String> = parts.iter().map(|part| part.repeat(TEXT / part.len())).collect();
    // The first of them alone, with all that it may go on with behind it.
    texts.push(base64());
    if let Some(first) = parts.get(14) {
        texts.push(format!("{first}={}", "a".repeat(TEXT)));
        texts.push(format!("{first}{}", base64()));
    }
    texts
}

/// Letters in no order, as compressed data has them once it is encoded.
fn base64() -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut state = 9_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        char::from(LETTERS[(state % 64) as usize])
    };
    (0..TEXT).map(|_| next()).collect()
}
