//! Blobs: runs of base64, base64url or hex within a text, what they hold, and the same run with parts
//! replaced.

use std::ops::Range;

/// The shortest run of base64 that is decoded, in characters.
const BASE64_RUN: usize = 20;

/// The shortest run of hex digits that is decoded, in characters.
const HEX_RUN: usize = 24;

/// The shortest stretch of decoded bytes that is taken for a text: it has three groups of base64 whole.
const STRETCH: usize = 11;

/// A text that stands encoded within another.
#[derive(Debug)]
pub(crate) struct Blob {
    /// The characters of the run that encode all of `bytes`.
    pub(crate) run: Range<usize>,
    coding: Coding,
    /// All that the run decodes to.
    bytes: Vec<u8>,
    /// The parts of `bytes` that are text.
    pub(crate) stretches: Vec<Range<usize>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Coding {
    Base64 { is_url: bool, is_padded: bool },
    Hex { is_upper: bool },
}

impl Blob {
    /// The text of a stretch.
    pub(crate) fn text(&self, stretch: &Range<usize>) -> &str {
        std::str::from_utf8(&self.bytes[stretch.clone()]).unwrap_or_default()
    }

    /// Encodes the bytes anew, with ranges of them replaced, in order and without overlap.
    pub(crate) fn with(&self, edits: &[(Range<usize>, String)]) -> String {
        let mut bytes = Vec::with_capacity(self.bytes.len());
        let mut done = 0;
        for (range, with) in edits {
            bytes.extend_from_slice(&self.bytes[done..range.start]);
            bytes.extend_from_slice(with.as_bytes());
            done = range.end;
        }
        bytes.extend_from_slice(&self.bytes[done..]);
        match self.coding {
            Coding::Hex { is_upper } => {
                let digits = if is_upper { b"0123456789ABCDEF" } else { b"0123456789abcdef" };
                let digit = |value: u8| char::from(digits[usize::from(value)]);
                bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
            }
            Coding::Base64 { is_url, is_padded } => {
                use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
                let engine = match (is_url, is_padded) {
                    (false, true) => &STANDARD,
                    (false, false) => &STANDARD_NO_PAD,
                    (true, true) => &URL_SAFE,
                    (true, false) => &URL_SAFE_NO_PAD,
                };
                base64::Engine::encode(engine, bytes)
            }
        }
    }
}

/// Finds all blobs that hold text.
pub(crate) fn all(text: &str) -> Vec<Blob> {
    let bytes = text.as_bytes();
    let mut blobs = Vec::new();
    for run in runs(bytes) {
        if run.len() >= HEX_RUN && bytes[run.clone()].iter().all(u8::is_ascii_hexdigit) {
            blobs.extend((0..2).filter_map(|phase| hex(bytes, run.start + phase..run.end)));
        }
        for run in of_one_alphabet(bytes, run) {
            blobs.extend((0..4).filter_map(|phase| base64_at(bytes, run.start + phase..run.end)));
        }
    }
    blobs
}

/// Finds all runs that may be blobs.
pub(crate) fn runs(bytes: &[u8]) -> impl Iterator<Item = Range<usize>> {
    let mut from = 0;
    std::iter::from_fn(move || {
        let run = next_run(bytes, from)?;
        from = run.end;
        Some(run)
    })
}

/// The step of the search for runs. Every run that is long enough has two neighbouring places of this step.
const STEP: usize = 8;

const _: () = assert!(BASE64_RUN >= 2 * STEP, "a run has two neighbouring places of the step");

/// Finds the next run of characters of base64 or base64url that is long enough.
fn next_run(bytes: &[u8], from: usize) -> Option<Range<usize>> {
    let is_of = |byte: u8| VALUES[usize::from(byte)] != NONE;
    let mut at = from;
    loop {
        let block = bytes.get(at..=at + STEP)?;
        // Words are short: places far apart tell soonest that there is no run.
        if ![8, 4, 0, 6, 2, 7, 5, 3, 1].iter().all(|&place: &usize| is_of(block[place])) {
            at += STEP;
            continue;
        }
        let before = bytes[from..at].iter().rev().take_while(|&&byte| is_of(byte)).count();
        let start = at - before;
        let end = at + bytes[at..].iter().take_while(|&&byte| is_of(byte)).count();
        if end - start >= BASE64_RUN {
            return Some(start..end);
        }
        at = end;
    }
}

/// Cuts a run that has characters of both alphabets, such as a path with base64 at its end, into runs of one.
fn of_one_alphabet(bytes: &[u8], run: Range<usize>) -> Vec<Range<usize>> {
    let has = |marks: [u8; 2]| memchr::memchr2(marks[0], marks[1], &bytes[run.clone()]).is_some();
    if !(has(STANDARD_ONLY) && has(URL_ONLY)) {
        return [run].into();
    }
    let mut all = Vec::new();
    for foreign in [STANDARD_ONLY, URL_ONLY] {
        let mut start = run.start;
        for part in bytes[run.clone()].split(|byte| foreign.contains(byte)) {
            if part.len() >= BASE64_RUN {
                all.push(start..start + part.len());
            }
            start += part.len() + 1;
        }
    }
    all
}

/// The characters that only standard base64 has (RFC 4648, section 4).
const STANDARD_ONLY: [u8; 2] = *b"+/";

/// The characters that only base64url has (RFC 4648, section 5).
const URL_ONLY: [u8; 2] = *b"-_";

/// A character that is none of base64's.
const NONE: u8 = 0xFF;

/// By character: its six bits, in base64 and base64url alike.
static VALUES: [u8; 256] = {
    let mut values = [NONE; 256];
    let letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let mut value = 0;
    while value < 62 {
        values[letters[value as usize] as usize] = value;
        value += 1;
    }
    values[b'+' as usize] = 62;
    values[b'-' as usize] = 62;
    values[b'/' as usize] = 63;
    values[b'_' as usize] = 63;
    values
};

fn base64_at(bytes: &[u8], run: Range<usize>) -> Option<Blob> {
    let characters = &bytes[run.clone()];
    if !may_be_text(characters) {
        return None;
    }
    let is_url = characters.iter().any(|byte| matches!(byte, b'-' | b'_'));
    let decoded = decode(characters);
    let stretches = stretches(&decoded);
    if stretches.is_empty() {
        return None;
    }
    let rest = characters.len() % 4;
    let padding = if rest == 0 { 0 } else { 4 - rest };
    let is_padded = padding > 0
        && padding < 3
        && bytes.get(run.end..run.end + padding).is_some_and(|end| end.iter().all(|&byte| byte == b'='));
    let run = run.start..run.end - usize::from(rest == 1) + if is_padded { padding } else { 0 };
    // Without a remainder, padding may be needed once parts are replaced: standard base64 has it by habit.
    let is_padded = is_padded || (rest == 0 && !is_url);
    Some(Blob { run, coding: Coding::Base64 { is_url, is_padded }, bytes: decoded, stretches })
}

/// Answers whether three neighbouring groups of four characters may stand for printable ASCII.
///
/// The first byte of a group is below 128 and not a control character if its first character has a value from
/// 8 to 31; the second and third are below 128 if one bit of the second and of the third character is not
/// set.
fn may_be_text(characters: &[u8]) -> bool {
    let mut good = 0_u8;
    for group in characters.chunks_exact(4) {
        let [a, b, c] = [0, 1, 2].map(|place| VALUES[usize::from(group[place])]);
        let is_good = (8..32).contains(&a) && b & 8 == 0 && c & 2 == 0;
        good = if is_good { good + 1 } else { 0 };
        if good == 3 {
            return true;
        }
    }
    false
}

fn decode(characters: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(characters.len() / 4 * 3 + 2);
    let value = |byte: u8| u32::from(VALUES[usize::from(byte)] & 63);
    let mut quads = characters.chunks_exact(4);
    for quad in &mut quads {
        let bits = value(quad[0]) << 18 | value(quad[1]) << 12 | value(quad[2]) << 6 | value(quad[3]);
        decoded.extend_from_slice(&bits.to_be_bytes()[1..]);
    }
    match *quads.remainder() {
        [a, b] => decoded.push((value(a) << 2 | value(b) >> 4).to_be_bytes()[3]),
        [a, b, c] => {
            let bits = value(a) << 10 | value(b) << 4 | value(c) >> 2;
            decoded.extend_from_slice(&bits.to_be_bytes()[2..]);
        }
        _ => {}
    }
    decoded
}

fn hex(bytes: &[u8], run: Range<usize>) -> Option<Blob> {
    let run = run.start..run.end - run.len() % 2;
    let characters = &bytes[run.clone()];
    let value =
        |byte: u8| char::from(byte).to_digit(16).and_then(|value| u8::try_from(value).ok()).unwrap_or(0);
    let decoded: Vec<u8> =
        characters.chunks_exact(2).map(|pair| value(pair[0]) << 4 | value(pair[1])).collect();
    let stretches = stretches(&decoded);
    let is_upper = characters.iter().any(u8::is_ascii_uppercase);
    (!stretches.is_empty()).then_some(Blob {
        run,
        coding: Coding::Hex { is_upper },
        bytes: decoded,
        stretches,
    })
}

/// Finds the parts of decoded bytes that are text: long runs of printable ASCII, with the valid UTF-8 around
/// them.
fn stretches(bytes: &[u8]) -> Vec<Range<usize>> {
    if bytes.len() >= STRETCH && valid_prefix(bytes) == bytes.len() {
        return std::iter::once(0..bytes.len()).collect();
    }
    let mut all: Vec<Range<usize>> = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        // The last byte of a window that is not printable says how far the next window may jump.
        let window = at..(at + STRETCH).min(bytes.len());
        if window.len() < STRETCH {
            break;
        }
        if let Some(last) = bytes[window].iter().rposition(|&byte| !is_printable(byte)) {
            at += last + 1;
            continue;
        }
        let end = at + bytes[at..].iter().take_while(|&&byte| is_printable(byte)).count();
        all.push(at..end);
        at = end;
    }
    let mut wide: Vec<Range<usize>> = Vec::new();
    for stretch in all {
        let end = stretch.end + valid_prefix(&bytes[stretch.end..]);
        if let Some(last) = wide.last_mut().filter(|last| last.end >= stretch.start) {
            last.end = last.end.max(end);
            continue;
        }
        wide.push(stretch.start..end);
    }
    wide
}

fn is_printable(byte: u8) -> bool {
    matches!(byte, b' '..=b'~' | b'\t' | b'\n' | b'\r')
}

/// Counts the bytes at the start that are UTF-8 without control characters.
fn valid_prefix(bytes: &[u8]) -> usize {
    let valid = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => std::str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or_default(),
    };
    valid
        .find(|character: char| character.is_control() && !matches!(character, '\t' | '\n' | '\r'))
        .unwrap_or(valid.len())
}
