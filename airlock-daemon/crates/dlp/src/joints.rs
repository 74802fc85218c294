//! Joints: a secret that is cut into neighbouring strings of one array or object, or neighbouring content
//! blocks.
//!
//! No secret that is long and unmistakable has a space in it. So of two strings only the end of the first
//! behind its last space and the start of the second up to its first space can be parts of one.

use std::ops::Range;

use crate::action::Action;
use crate::detector::SOLID;
use crate::rewrite::{Edit, Rewriter, TooMuch};
use crate::view::{self, View};

/// How much of a string is looked at on either side of a joint, in bytes.
const SIDE: usize = 256;

/// The strings of one sequence that may hold parts of one secret.
#[derive(Debug, Default)]
pub(crate) struct Joint {
    /// Parts of strings, as places of the message.
    pieces: Vec<Range<usize>>,
    length: usize,
}

/// The ends of a string that can be parts of a secret.
#[derive(Debug)]
pub(crate) enum Ends {
    /// All of it is one part.
    Whole(Range<usize>),
    /// The part up to the first space, and the part behind the last.
    Parts(Range<usize>, Range<usize>),
}

impl Ends {
    pub(crate) fn of(json: &str, inner: &Range<usize>) -> Self {
        let bytes = &json.as_bytes()[inner.clone()];
        let near = &bytes[..bytes.len().min(SIDE)];
        let head = near.iter().position(|&byte| is_break(byte)).unwrap_or(near.len());
        if head == bytes.len() {
            return Self::Whole(inner.clone());
        }
        let head = json.floor_char_boundary(inner.start + head);
        let far = &bytes[bytes.len().saturating_sub(SIDE)..];
        let tail = far.iter().rev().position(|&byte| is_break(byte)).unwrap_or(far.len());
        Self::Parts(inner.start..head, json.ceil_char_boundary(inner.end - tail)..inner.end)
    }
}

impl Joint {
    /// Adds the ends of the next string of the sequence, and looks through what cannot go on behind it.
    pub(crate) fn add(
        &mut self,
        json: &str,
        ends: &Ends,
        rewriter: &mut Rewriter<'_>,
        edits: &mut Vec<Edit>,
    ) -> Result<(), TooMuch> {
        match ends {
            Ends::Whole(inner) => self.push(inner.clone()),
            Ends::Parts(head, tail) => {
                self.push(head.clone());
                self.end(json, rewriter, edits)?;
                self.push(tail.clone());
            }
        }
        Ok(())
    }

    fn push(&mut self, piece: Range<usize>) {
        self.length += piece.len();
        self.pieces.push(piece);
    }

    /// Looks through the parts, and begins anew: edits are places of the message, one in each string that has
    /// a part of what is found.
    pub(crate) fn end(
        &mut self,
        json: &str,
        rewriter: &mut Rewriter<'_>,
        edits: &mut Vec<Edit>,
    ) -> Result<(), TooMuch> {
        if self.pieces.len() > 1 && self.length >= SOLID {
            let found = self.search(json, rewriter)?;
            edits.extend(found);
        }
        self.pieces.clear();
        self.length = 0;
        Ok(())
    }

    fn search(&self, json: &str, rewriter: &mut Rewriter<'_>) -> Result<Vec<Edit>, TooMuch> {
        rewriter.spend(self.length)?;
        let mut text = String::with_capacity(self.length);
        let parts: Vec<Part> = self.pieces.iter().map(|piece| Part::new(json, piece, &mut text)).collect();
        let (detectors, actions) = (rewriter.detectors, rewriter.actions);
        let is_on =
            |detector: usize| actions[detector] != Action::Off && detectors.all()[detector].is_solid();
        let mut edits = Vec::new();
        for hit in detectors.scan(&text, is_on) {
            let has_part =
                |part: &&Part| part.joined.start < hit.range.end && hit.range.start < part.joined.end;
            if parts.iter().filter(has_part).count() < 2 {
                continue;
            }
            let with = rewriter.act(hit.detector, &text[hit.range.clone()]);
            for (number, part) in parts.iter().filter(has_part).enumerate() {
                let found = if number == 0 { vec![hit.detector] } else { Vec::new() };
                edits.push(Edit {
                    range: part.source(&hit.range),
                    with: with.clone(),
                    found,
                    is_partial: false,
                });
            }
        }
        Ok(edits)
    }
}

/// No secret goes on behind such a byte. A backslash begins an escape, which may stand for a letter.
fn is_break(byte: u8) -> bool {
    byte <= b' ' || matches!(byte, b'"' | b'<' | b'>' | b',' | b';')
}

/// A part of the joined text, and the place that it comes from.
struct Part {
    joined: Range<usize>,
    view: Option<View>,
    at: usize,
}

impl Part {
    fn new(json: &str, piece: &Range<usize>, text: &mut String) -> Self {
        let raw = &json[piece.clone()];
        let view = raw.contains('\\').then(|| view::json(raw));
        let start = text.len();
        text.push_str(view.as_ref().map_or(raw, |view| &view.text));
        Self { joined: start..text.len(), view, at: piece.start }
    }

    /// The places of the message that a range of the joined text takes of this part.
    fn source(&self, found: &Range<usize>) -> Range<usize> {
        let start = found.start.max(self.joined.start) - self.joined.start;
        let end = found.end.min(self.joined.end) - self.joined.start;
        let source = self.view.as_ref().map_or(start..end, |view| view.source(&(start..end)));
        self.at + source.start..self.at + source.end
    }
}
