//! Views: a text as a reader takes it who undoes escapes, percent encoding or look-alike characters, with a
//! map back to the bytes as they stand.

use std::ops::Range;

use crate::spelling::fold;
use crate::spelling::{Decoded, Spelled};

/// A text that was decoded, and where its parts come from.
#[derive(Debug)]
pub(crate) struct View {
    /// The decoded text.
    pub(crate) text: String,
    /// In order of place, and the first begins at 0.
    parts: Vec<Part>,
}

/// A part of a decoded text: one that was copied, or one spelling.
#[derive(Debug, Clone, Copy)]
struct Part {
    /// The place at which it begins in the text.
    text: u32,
    /// The place at which it begins in the source.
    source: u32,
    /// The length of the spelling in the source; 0 for a part that was copied.
    spelled: u32,
}

impl View {
    fn with_capacity(bytes: usize) -> Self {
        Self { text: String::with_capacity(bytes), parts: Vec::new() }
    }

    /// Says which bytes of the source a range of the decoded text stands for.
    pub(crate) fn source(&self, range: &Range<usize>) -> Range<usize> {
        let start = self.part_at(range.start).map_or(0, |part| match part.spelled {
            0 => part.source as usize + (range.start - part.text as usize),
            _ => part.source as usize,
        });
        let last = range.end.checked_sub(1).and_then(|last| self.part_at(last));
        let end = last.map_or(start, |part| match part.spelled {
            0 => part.source as usize + (range.end - part.text as usize),
            spelled => (part.source + spelled) as usize,
        });
        start..end.max(start)
    }

    /// The part that has a byte of the text.
    fn part_at(&self, at: usize) -> Option<&Part> {
        let behind = self.parts.partition_point(|part| part.text as usize <= at);
        self.parts.get(behind.checked_sub(1)?)
    }

    fn push(&mut self, decoded: &str, source: Range<usize>) {
        // A spelling of nothing has no bytes that come from it.
        if !decoded.is_empty() {
            let spelled = place(source.len());
            self.parts.push(Part { text: place(self.text.len()), source: place(source.start), spelled });
            self.text.push_str(decoded);
        }
    }

    fn copy(&mut self, text: &str, at: usize) {
        if !text.is_empty() {
            self.parts.push(Part { text: place(self.text.len()), source: place(at), spelled: 0 });
            self.text.push_str(text);
        }
    }
}

/// Texts of 4 GiB and more are refused long before.
fn place(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

/// Undoes the escapes of a JSON string, given without its quotes. The string is known to be valid.
pub(crate) fn json(raw: &str) -> View {
    decode(raw, Layer::Json).unwrap_or_else(|| {
        let mut same = View::with_capacity(raw.len());
        same.copy(raw, 0);
        same
    })
}

/// The layers that are undone one after the other, at most.
const LAYERS: usize = 4;

/// All views of a text, from the nearest to the furthest; none of a text that reads as it stands. Each is a
/// view of the one before.
pub(crate) fn all(text: &str) -> Vec<View> {
    let mut views: Vec<View> = Vec::new();
    for _ in 0..LAYERS {
        let next = decode(views.last().map_or(text, |view| &view.text), Layer::Loose);
        let Some(next) = next else { break };
        views.push(next);
    }
    views
}

/// Says which bytes of the source a range of the last of some views stands for.
pub(crate) fn source(views: &[View], range: Range<usize>) -> Range<usize> {
    views.iter().rev().fold(range, |range, view| view.source(&range))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Layer {
    /// Escapes of JSON alone.
    Json,
    /// Escapes of JSON and of other languages, percent encoding, look-alike and invisible characters.
    Loose,
}

/// Decodes one layer; nothing where the text has none.
fn decode(text: &str, layer: Layer) -> Option<View> {
    let bytes = text.as_bytes();
    let is_ascii = text.is_ascii();
    let mut at = next_special(text, 0, layer, is_ascii)?;
    let mut view = None::<View>;
    let mut done = 0;
    loop {
        let spelled = match bytes[at] {
            b'\\' => escape(text, at),
            b'%' if layer == Layer::Loose => percent(text, at),
            byte if byte >= 0x80 && layer == Layer::Loose => fold::at(text, at),
            _ => None,
        };
        let next = match spelled {
            Some(Spelled { decoded, length }) => {
                let view = view.get_or_insert_with(|| View::with_capacity(text.len()));
                view.copy(&text[done..at], done);
                view.push(decoded.as_str(), at..at + length);
                done = at + length;
                done
            }
            None => at + text[at..].chars().next().map_or(1, char::len_utf8),
        };
        match next_special(text, next, layer, is_ascii) {
            Some(special) => at = special,
            None => break,
        }
    }
    let mut view = view?;
    view.copy(&text[done..], done);
    Some(view)
}

/// Finds the next byte at which a spelling may begin.
fn next_special(text: &str, from: usize, layer: Layer, is_ascii: bool) -> Option<usize> {
    let bytes = text.as_bytes().get(from..)?;
    let at = match layer {
        Layer::Json => memchr::memchr(b'\\', bytes),
        Layer::Loose if is_ascii => memchr::memchr2(b'\\', b'%', bytes),
        Layer::Loose => bytes.iter().position(|&byte| byte == b'\\' || byte == b'%' || byte >= 0x80),
    };
    at.map(|at| from + at)
}

/// Reads an escape: `\n`, `\/`, `\u0041`, a pair of surrogates, `\x41`, `\u{41}`.
fn escape(text: &str, at: usize) -> Option<Spelled> {
    let bytes = text.as_bytes();
    let simple = |character| Some(Spelled { decoded: Decoded::of(character), length: 2 });
    match bytes.get(at + 1)? {
        b'"' => simple('"'),
        b'\\' => simple('\\'),
        b'/' => simple('/'),
        b'\'' => simple('\''),
        b'b' => simple('\u{8}'),
        b'f' => simple('\u{c}'),
        b'n' => simple('\n'),
        b'r' => simple('\r'),
        b't' => simple('\t'),
        b'x' => {
            let value = hex(bytes.get(at + 2..at + 4)?)?;
            Some(Spelled { decoded: Decoded::of(char::from_u32(value)?), length: 4 })
        }
        b'u' if bytes.get(at + 2) == Some(&b'{') => {
            let digits = bytes.get(at + 3..(at + 10).min(bytes.len()))?;
            let length = digits.iter().position(|&byte| byte == b'}').filter(|&length| length > 0)?;
            Some(Spelled {
                decoded: Decoded::of(char::from_u32(hex(&digits[..length])?)?),
                length: length + 4,
            })
        }
        b'u' => {
            let first = hex(bytes.get(at + 2..at + 6)?)?;
            if let Some(character) = char::from_u32(first) {
                return Some(Spelled { decoded: Decoded::of(character), length: 6 });
            }
            let low =
                bytes.get(at + 6..at + 8).filter(|mark| *mark == b"\\u").and(bytes.get(at + 8..at + 12));
            let pair = low.and_then(hex).filter(|low| (0xDC00..0xE000).contains(low) && first < 0xDC00);
            let whole =
                pair.and_then(|low| char::from_u32(0x1_0000 + ((first - 0xD800) << 10) + (low - 0xDC00)));
            // A lone surrogate is no character; its place stays visible.
            let (decoded, length) = whole.map_or((char::REPLACEMENT_CHARACTER, 6), |whole| (whole, 12));
            Some(Spelled { decoded: Decoded::of(decoded), length })
        }
        _ => None,
    }
}

fn hex(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0_u32, |value, &byte| Some(value << 4 | char::from(byte).to_digit(16)?))
}

/// Reads a character in percent encoding (RFC 3986, section 2.1), of as many bytes as UTF-8 gives it.
fn percent(text: &str, at: usize) -> Option<Spelled> {
    let bytes = text.as_bytes();
    let byte = |at: usize| {
        (bytes.get(at) == Some(&b'%')).then_some(())?;
        hex(bytes.get(at + 1..at + 3)?).and_then(|value| u8::try_from(value).ok())
    };
    let mut encoded = [byte(at)?, 0, 0, 0];
    let length = match encoded[0] {
        0..=0x7F => 1,
        0xC2..=0xDF => 2,
        0xE0..=0xEF => 3,
        0xF0..=0xF4 => 4,
        _ => return None,
    };
    for (place, encoded) in encoded.iter_mut().enumerate().take(length).skip(1) {
        *encoded = byte(at + 3 * place)?;
    }
    let character = std::str::from_utf8(&encoded[..length]).ok()?.chars().next()?;
    Some(Spelled { decoded: Decoded::of(character), length: 3 * length })
}
