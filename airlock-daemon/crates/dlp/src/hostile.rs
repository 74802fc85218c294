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
    let texts = texts(detector.trigger(), TEXT);
    let (times, text) = texts.iter().map(|text| (read(text), text)).max_by_key(|(times, _)| *times)?;
    (times > TIMES).then(|| Slow { text: text[..text.floor_char_boundary(SHOWN)].to_owned(), times })
}

/// Texts of about so many bytes that are hostile to all, and those that repeat what the detector looks for.
fn texts(trigger: &Trigger, length: usize) -> Vec<String> {
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
    let mut texts: Vec<String> = parts.iter().map(|part| part.repeat(length / part.len())).collect();
    // The first of them alone, with all that it may go on with behind it.
    texts.push(base64(length));
    if let Some(first) = parts.get(14) {
        texts.push(format!("{first}={}", "a".repeat(length)));
        texts.push(format!("{first}{}", base64(length)));
    }
    texts
}

/// Letters in no order, as compressed data has them once it is encoded.
fn base64(length: usize) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut state = 9_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        char::from(LETTERS[(state % 64) as usize])
    };
    (0..length).map(|_| next()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pack::{Pack, shipped};

    #[test]
    fn what_is_read_of_hostile_texts_grows_as_they_do() {
        /// A text is so many times as long as the other.
        const LONGER: usize = 4;
        let packs = shipped().iter().map(|pack| Pack::parse(pack.file, pack.text).expect("a pack"));
        for detector in packs.flat_map(|pack| pack.detectors) {
            let detectors = Detectors::new(vec![detector.clone()]);
            let texts = |length| texts(detector.trigger(), length);
            for (short, long) in texts(TEXT / LONGER).into_iter().zip(texts(TEXT)) {
                let read = |text: &String| detectors.look(text, |_| true).read;
                // The windows around what is found at the ends are the same for both.
                let most = LONGER * read(&short) + TEXT;
                assert!(read(&long) <= most, "{}: {:?}", detector.name(), &long[..SHOWN.min(long.len())]);
            }
        }
    }
}
