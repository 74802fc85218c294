//! Blobs: runs of base64, base64url or hex within a text, what they hold, and the same run with parts
//! replaced.

use std::ops::Range;

use crate::classes::{NONE, VALUES};
use crate::scan::vector;

/// The shortest run of base64 that is decoded, in characters.
const BASE64_RUN: usize = 20;

/// The shortest run of hex digits that is decoded, in characters.
const HEX_RUN: usize = 24;

/// The shortest stretch of decoded bytes that is taken for a text: it has three groups of base64 whole.
const STRETCH: usize = 11;

/// The longest text that is decoded as a whole, in characters.
const WHOLE: usize = 4 << 10;

/// A text that stands encoded within another.
#[derive(Debug)]
pub(crate) struct Blob {
    /// The characters of the run that encode all of its bytes.
    pub(crate) run: Range<usize>,
    coding: Coding,
    /// The parts of its bytes that are text.
    pub(crate) stretches: Vec<Stretch>,
}

/// A part of decoded bytes that is text.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Stretch {
    /// The first of its bytes among those of the blob.
    pub(crate) start: usize,
    pub(crate) text: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Coding {
    Base64 { is_url: bool, is_padded: bool },
    Hex { is_upper: bool },
}

impl Blob {
    /// Encodes the bytes anew, with ranges of them replaced, in order and without overlap. `text` is what the
    /// blob was found in.
    pub(crate) fn with(&self, text: &str, edits: &[(Range<usize>, String)]) -> String {
        let characters = &text.as_bytes()[self.run.clone()];
        let before = match self.coding {
            Coding::Hex { .. } => of_hex(characters),
            Coding::Base64 { .. } => {
                let padding = characters.iter().rev().take_while(|&&byte| byte == b'=').count();
                decode(&characters[..characters.len() - padding])
            }
        };
        let mut bytes = Vec::with_capacity(before.len());
        let mut done = 0;
        for (range, with) in edits {
            bytes.extend_from_slice(&before[done..range.start]);
            bytes.extend_from_slice(with.as_bytes());
            done = range.end;
        }
        bytes.extend_from_slice(&before[done..]);
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

/// Answers whether a run of characters that tokens have may hold text.
pub(crate) fn may_be(run: &[u8]) -> bool {
    let mut may_be = false;
    of_hex_digits(run, 0..run.len(), |_| may_be = true);
    if run.len() >= BASE64_RUN && !may_be {
        vector::groups(run, |_| may_be = true);
        // Behind an escape a run begins with its letter.
        may_be = may_be || is_text(run) || is_text(&run[1..]);
    }
    may_be
}

/// Finds all blobs that hold text, in runs of characters that tokens have.
pub(crate) fn all(text: &str, runs: &[Range<usize>]) -> Vec<Blob> {
    let bytes = text.as_bytes();
    let mut blobs = Vec::new();
    for run in runs.iter().filter(|run| run.len() >= BASE64_RUN) {
        of_hex_digits(bytes, run.clone(), |part| {
            blobs.extend((0..2).filter_map(|phase| hex(bytes, part.start + phase..part.end)));
        });
        if is_mixed(&bytes[run.clone()]) {
            of_one_alphabet(bytes, run, |part| base64(bytes, part, &mut blobs));
        } else {
            base64(bytes, run.clone(), &mut blobs);
        }
    }
    blobs
}

/// Finds the parts of a run that are of hex digits alone: `0x` and other letters may stand before them.
fn of_hex_digits(bytes: &[u8], run: Range<usize>, mut found: impl FnMut(Range<usize>)) {
    let mut at = run.start;
    while at + HEX_RUN <= run.end {
        let window = &bytes[at..at + HEX_RUN];
        if let Some(other) = window.iter().rposition(|byte| !byte.is_ascii_hexdigit()) {
            at += other + 1;
            continue;
        }
        let digits = bytes[at..run.end].iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
        found(at..at + digits);
        at += digits;
    }
}

/// The text that stands encoded in another as a whole; none where it is no base64 and no hex of text.
pub(crate) fn whole(text: &str) -> Option<String> {
    let characters = text.trim_end_matches('=').as_bytes();
    let is_of_base64 = |byte: &u8| VALUES[usize::from(*byte)] != NONE;
    if !(4..=WHOLE).contains(&characters.len())
        || text.len() > characters.len() + 2
        || !characters.iter().all(is_of_base64)
    {
        return None;
    }
    let is_hex = characters.len().is_multiple_of(2) && characters.iter().all(u8::is_ascii_hexdigit);
    if !is_hex && !decode(&characters[..4]).iter().all(|&byte| is_printable(byte)) {
        return None;
    }
    let readings = [is_hex.then(|| of_hex(characters)), Some(decode(characters))];
    let is_text = |bytes: &Vec<u8>| !bytes.is_empty() && bytes.iter().all(|&byte| is_printable(byte));
    readings.into_iter().flatten().find(is_text).and_then(|bytes| String::from_utf8(bytes).ok())
}

/// Answers whether a run has characters of both alphabets, such as a path with base64 at its end.
fn is_mixed(run: &[u8]) -> bool {
    [STANDARD_ONLY, URL_ONLY].iter().all(|of| memchr::memchr2(of[0], of[1], run).is_some())
}

/// Cuts a run that has characters of both alphabets into runs of one.
fn of_one_alphabet(bytes: &[u8], run: &Range<usize>, mut found: impl FnMut(Range<usize>)) {
    for foreign in [STANDARD_ONLY, URL_ONLY] {
        let mut start = run.start;
        for part in bytes[run.clone()].split(|byte| foreign.contains(byte)) {
            if part.len() >= BASE64_RUN {
                found(start..start + part.len());
            }
            start += part.len() + 1;
        }
    }
}

/// The characters that only standard base64 has (RFC 4648, section 4).
const STANDARD_ONLY: [u8; 2] = *b"+/";

/// The characters that only base64url has (RFC 4648, section 5).
const URL_ONLY: [u8; 2] = *b"-_";

/// Finds the blobs of a run, which begin at its first four characters.
fn base64(bytes: &[u8], run: Range<usize>, blobs: &mut Vec<Blob>) {
    let characters = &bytes[run.clone()];
    let mut phases: [Phase; 4] = Default::default();
    vector::groups(characters, |at| phases[at % 4].candidate(characters, at));
    if phases[0].stretches.is_empty() && is_text(characters) {
        let mut bytes = decode(characters);
        bytes.truncate(valid_prefix(&bytes));
        phases[0].stretches.extend(String::from_utf8(bytes).ok().map(|text| Stretch { start: 0, text }));
    }
    for (phase, Phase { stretches, .. }) in phases.into_iter().enumerate() {
        if !stretches.is_empty() {
            blobs.push(base64_at(bytes, run.start + phase..run.end, stretches));
        }
    }
}

/// Characters of which the bytes tell if base64 is of text beyond ASCII, which has no groups of printable
/// characters.
const HEAD: usize = 16;

/// Answers whether base64 begins with the bytes of a text.
fn is_text(characters: &[u8]) -> bool {
    let Some(head) = characters.first_chunk::<HEAD>() else { return false };
    // Bytes that begin no character are most of those of other content.
    let first = VALUES[usize::from(head[0])];
    if !matches!(first, 8..=31 | 48..=61) {
        return false;
    }
    let bytes = decode(head);
    // The last character may be cut off.
    valid_prefix(&bytes) + 3 >= bytes.len()
}

/// Says how the run of a blob is encoded.
fn base64_at(bytes: &[u8], run: Range<usize>, stretches: Vec<Stretch>) -> Blob {
    let characters = &bytes[run.clone()];
    let is_url = characters.iter().any(|byte| matches!(byte, b'-' | b'_'));
    let rest = characters.len() % 4;
    let padding = if rest == 0 { 0 } else { 4 - rest };
    let is_padded = padding > 0
        && padding < 3
        && bytes.get(run.end..run.end + padding).is_some_and(|end| end.iter().all(|&byte| byte == b'='));
    let run = run.start..run.end - usize::from(rest == 1) + if is_padded { padding } else { 0 };
    // Without a remainder, padding may be needed once parts are replaced: standard base64 has it by habit.
    let is_padded = is_padded || (rest == 0 && !is_url);
    Blob { run, coding: Coding::Base64 { is_url, is_padded }, stretches }
}

/// The groups of a run that begin at characters of one remainder.
#[derive(Debug, Default)]
struct Phase {
    stretches: Vec<Stretch>,
    /// The characters of which no more stretch begins.
    done: usize,
}

/// Characters that are decoded at once.
const CHUNK: usize = 256;

/// The bytes of three groups.
const GROUPS: usize = 9;

/// Characters behind which a stretch is long enough, if it has no others.
const AHEAD: usize = 16;

const _: () = assert!(AHEAD / 4 * 3 >= STRETCH, "they decide if a stretch is long enough");

impl Phase {
    /// Three groups that begin at a character may be text: adds the stretch in which they lie.
    fn candidate(&mut self, characters: &[u8], at: usize) {
        if at < self.done {
            return;
        }
        let phase = at % 4;
        let ahead = decode(&characters[at..(at + AHEAD).min(characters.len())]);
        let printable = ahead.iter().take_while(|&&byte| is_printable(byte)).count();
        if printable < GROUPS {
            return;
        }
        // Two groups in front may end in printable characters.
        let near = at.saturating_sub(8).max(self.done).max(phase);
        let before = decode(&characters[near..at]);
        let printable_before = before.iter().rev().take_while(|&&byte| is_printable(byte)).count();
        // All else is decoded for a stretch only, behind which the next one begins.
        if printable_before + printable < STRETCH {
            return;
        }
        let mut bytes = before[before.len() - printable_before..].to_vec();
        // Text from the start on is one stretch.
        if self.done == 0 {
            let whole = decode(&characters[phase..at]);
            if valid_prefix(&whole) == whole.len() {
                bytes = whole;
            }
        }
        let start = (at - phase) / 4 * 3 - bytes.len();
        // Decodes on as long as there is text.
        let (mut next, mut end) = (at, bytes.len());
        loop {
            let chunk = &characters[next..(next + CHUNK).min(characters.len())];
            bytes.extend(decode(chunk));
            next += chunk.len();
            end += valid_prefix(&bytes[end..]);
            // A character may go on in the next chunk.
            if next == characters.len() || bytes.len() - end > 3 {
                break;
            }
        }
        bytes.truncate(end);
        self.done = phase + (start + end).div_ceil(3) * 4;
        self.stretches.extend(String::from_utf8(bytes).ok().map(|text| Stretch { start, text }));
    }
}

fn decode(characters: &[u8]) -> Vec<u8> {
    #[cfg(test)]
    tests::DECODED.set(tests::DECODED.get() + characters.len());
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

fn of_hex(characters: &[u8]) -> Vec<u8> {
    let value =
        |byte: u8| char::from(byte).to_digit(16).and_then(|value| u8::try_from(value).ok()).unwrap_or(0);
    characters.chunks_exact(2).map(|pair| value(pair[0]) << 4 | value(pair[1])).collect()
}

fn hex(bytes: &[u8], run: Range<usize>) -> Option<Blob> {
    let run = run.start..run.end - run.len() % 2;
    let characters = &bytes[run.clone()];
    let decoded = of_hex(characters);
    let of = |range: Range<usize>| Stretch {
        start: range.start,
        text: std::str::from_utf8(&decoded[range]).unwrap_or_default().to_owned(),
    };
    let stretches: Vec<_> = stretches(&decoded).into_iter().map(of).collect();
    let is_upper = characters.iter().any(u8::is_ascii_uppercase);
    (!stretches.is_empty()).then_some(Blob { run, coding: Coding::Hex { is_upper }, stretches })
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

#[cfg(test)]
mod tests;
