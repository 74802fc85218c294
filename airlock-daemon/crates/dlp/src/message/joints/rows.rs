//! Rows of digits: a card that is cut into neighbouring strings, in its groups or anywhere.

use std::borrow::Cow;
use std::ops::Range;

use crate::message::rewrite::{Edit, Rewriter};
use crate::spelling::blob;
use crate::spelling::view;

/// The longest string that is read as a part of a card in another spelling, in bytes.
const PART: usize = 64;

/// The most digits of neighbouring strings among which a card is looked for. More of them are a table.
const MOST: usize = 28;

/// The fewest digits of a group of a card, where others stand beside it.
const GROUP: usize = 3;

/// Neighbouring strings of digits.
#[derive(Debug, Default)]
pub(super) struct Rows {
    /// Each as a place of the message, with its digits.
    parts: Vec<(Range<usize>, String)>,
    digits: usize,
}

impl Rows {
    /// Adds the next string, and looks through what cannot go on behind it.
    pub(super) fn add(
        &mut self,
        json: &str,
        inner: &Range<usize>,
        rewriter: &mut Rewriter<'_>,
        edits: &mut Vec<Edit>,
    ) {
        let raw = &json[inner.clone()];
        if raw.is_empty() {
            return;
        }
        match whole(raw) {
            Some(Cow::Borrowed(row)) => return self.push_part(inner.start, row),
            Some(Cow::Owned(row)) => return self.push(inner.clone(), &row),
            None => {}
        }
        let bytes = raw.as_bytes();
        let head = bytes.iter().take_while(|byte| is_of_row(**byte)).count();
        let is_apart =
            |byte: u8| !(byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'\\' | 0x80..));
        if head > 0 && !self.parts.is_empty() && (is_apart(bytes[head]) || !bytes[head - 1].is_ascii_digit())
        {
            self.push_part(inner.start, &raw[..head]);
        }
        self.end(rewriter, edits);
        let tail = raw.len() - bytes.iter().rev().take_while(|byte| is_of_row(**byte)).count();
        if tail < raw.len() && (is_apart(bytes[tail - 1]) || !bytes[tail].is_ascii_digit()) {
            self.push_part(inner.start + tail, &raw[tail..]);
        }
    }

    /// Adds a part of a string that begins at a place, from its first digit to its last.
    fn push_part(&mut self, at: usize, part: &str) {
        let is_digit = |character: char| character.is_ascii_digit();
        if let (Some(first), Some(last)) = (part.find(is_digit), part.rfind(is_digit)) {
            self.push(at + first..at + last + 1, &part[first..=last]);
        }
    }

    fn push(&mut self, place: Range<usize>, row: &str) {
        let digits: String = row.chars().filter(char::is_ascii_digit).collect();
        if !digits.is_empty() {
            self.digits += digits.len();
            self.parts.push((place, digits));
        }
    }

    /// Looks through the strings, and begins anew.
    pub(super) fn end(&mut self, rewriter: &mut Rewriter<'_>, edits: &mut Vec<Edit>) {
        if self.parts.len() > 1 && self.digits <= MOST {
            self.search(rewriter, edits);
        }
        self.parts.clear();
        self.digits = 0;
    }

    fn search(&self, rewriter: &mut Rewriter<'_>, edits: &mut Vec<Edit>) {
        let mut first = 0;
        while first + 1 < self.parts.len() {
            let found = (first + 2..=self.parts.len()).rev().find_map(|end| {
                let parts = &self.parts[first..end];
                let are_groups = parts.iter().all(|(_, digits)| digits.len() >= GROUP);
                let number: String = parts.iter().map(|(_, digits)| digits.as_str()).collect();
                let may_be = has_length(&number) && (are_groups || parts.len() == self.parts.len());
                let detector = may_be.then(|| rewriter.card(&number)).flatten()?;
                Some((end, number, detector))
            });
            let Some((end, number, detector)) = found else {
                first += 1;
                continue;
            };
            let with = rewriter.act(detector, &number);
            for (place, (range, _)) in self.parts[first..end].iter().enumerate() {
                let found = if place == 0 { vec![detector] } else { Vec::new() };
                edits.push(Edit { range: range.clone(), with: with.clone(), found, is_partial: false });
            }
            first = end;
        }
    }
}

/// Answers whether a number has as many digits as the cards of most brands.
fn has_length(number: &str) -> bool {
    number.len() == 16 || (matches!(number.len(), 14 | 15) && number.starts_with('3'))
}

/// A string that is a row of digits as a whole, in any spelling.
fn whole(raw: &str) -> Option<Cow<'_, str>> {
    if raw.bytes().all(is_of_row) {
        return Some(Cow::Borrowed(raw));
    }
    let digits = raw.bytes().take_while(|byte| is_of_row(*byte)).count();
    let read = match raw.as_bytes()[digits] {
        _ if raw.len() > PART * 6 => None,
        b'\\' | b'%' | 0x80.. => {
            let text = view::json(raw).text;
            Some(view::all(&text).pop().map_or(text, |view| view.text))
        }
        // So begins the base64 of a digit, or of what stands between digits.
        b'I' | b'L'..=b'O' if digits == 0 && raw.len() <= PART => blob::whole(raw),
        _ => None,
    };
    read.filter(|read| read.bytes().all(is_of_row)).map(Cow::Owned)
}

fn is_of_row(byte: u8) -> bool {
    byte.is_ascii_digit() || matches!(byte, b' ' | b'-')
}
