//! Joints: a secret that is cut into neighbouring strings of one array or object, or neighbouring content
//! blocks.
//!
//! No secret that is long and unmistakable has a space in it. So of two strings only the end of the first
//! behind its last space and the start of the second up to its first space can be parts of one. Cards, which
//! are printed in groups, and keys in lines have rules of their own.

mod armour;
mod rows;
mod search;

use std::ops::Range;

use armour::Armour;
use rows::Rows;

use crate::detector::SOLID;
use crate::message::rewrite::{Edit, Rewriter, TooMuch};

/// How much of a string is looked at on either side of a joint, in bytes.
const SIDE: usize = 256;

/// The strings of one sequence that may hold parts of one secret.
#[derive(Debug, Default)]
pub(crate) struct Joint {
    /// Parts of strings, as places of the message.
    pieces: Vec<Range<usize>>,
    length: usize,
    rows: Rows,
    armour: Armour,
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
    /// Adds the next string of the sequence, given with its ends, and looks through what cannot go on behind
    /// it. In one that is not marked no literal stands.
    pub(crate) fn add(
        &mut self,
        json: &str,
        (inner, ends, is_marked): (&Range<usize>, &Ends, bool),
        rewriter: &mut Rewriter<'_>,
        edits: &mut Vec<Edit>,
    ) -> Result<(), TooMuch> {
        self.rows.add(json, inner, rewriter, edits);
        self.armour.add(json, inner, is_marked, rewriter, edits)?;
        match ends {
            Ends::Whole(inner) => self.push(inner.clone()),
            Ends::Parts(head, tail) => {
                self.push(head.clone());
                self.search(json, rewriter, edits)?;
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
        self.rows.end(rewriter, edits);
        self.armour.end(json, rewriter, edits)?;
        self.search(json, rewriter, edits)
    }

    fn search(
        &mut self,
        json: &str,
        rewriter: &mut Rewriter<'_>,
        edits: &mut Vec<Edit>,
    ) -> Result<(), TooMuch> {
        if self.pieces.len() > 1 && self.length >= SOLID {
            search::pieces(json, &self.pieces, rewriter, edits)?;
        }
        self.pieces.clear();
        self.length = 0;
        Ok(())
    }
}

/// No secret goes on behind such a byte. A backslash begins an escape, which may stand for a letter.
fn is_break(byte: u8) -> bool {
    byte <= b' ' || matches!(byte, b'"' | b'<' | b'>' | b',' | b';')
}
