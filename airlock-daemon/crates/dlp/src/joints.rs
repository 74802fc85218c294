//! Joints: a secret that is cut into neighbouring strings of one array or object, or neighbouring content
//! blocks.

use std::collections::HashMap;
use std::ops::Range;

use crate::action::Action;
use crate::rewrite::{Edit, Rewriter, TooMuch};
use crate::view;

/// How much of a string is looked at on either side of a joint, in bytes.
const SIDE: usize = 256;

/// Strings that stand beside each other, by what they are members of.
#[derive(Debug, Default)]
pub(crate) struct Joints {
    sequences: Vec<Vec<Range<usize>>>,
    /// By container, and the name within each of its entries where these are objects.
    places: HashMap<(u32, String), usize>,
}

impl Joints {
    /// Adds a string that stands next in a container.
    pub(crate) fn add(&mut self, (container, name): (u32, &str), inner: Range<usize>) {
        let next = self.sequences.len();
        let place = *self.places.entry((container, name.to_owned())).or_insert(next);
        if place == next {
            self.sequences.push(Vec::new());
        }
        self.sequences[place].push(inner);
    }

    /// Finds what is cut, as edits in places of the message: one in each string that has a part.
    pub(crate) fn edits(&self, json: &str, rewriter: &mut Rewriter<'_>) -> Result<Vec<Edit>, TooMuch> {
        let mut edits = Vec::new();
        for sequence in self.sequences.iter().filter(|sequence| sequence.len() > 1) {
            joined(json, sequence, rewriter, &mut edits)?;
        }
        Ok(edits)
    }
}

/// A part of the joined text, and the string that it comes from.
struct Piece {
    joined: Range<usize>,
    view: view::View,
    /// Where the part begins in the decoded string.
    from: usize,
    /// Where the string begins in the message.
    at: usize,
}

fn joined(
    json: &str,
    sequence: &[Range<usize>],
    rewriter: &mut Rewriter<'_>,
    edits: &mut Vec<Edit>,
) -> Result<(), TooMuch> {
    let (mut text, mut pieces) = (String::new(), Vec::new());
    for inner in sequence {
        rewriter.spend(inner.len())?;
        let raw = &json[inner.clone()];
        if raw.len() <= 2 * SIDE {
            let view = view::json(raw);
            push(&mut text, &mut pieces, view, 0..usize::MAX, inner.start);
        } else {
            // The middle of a long string is far from both its joints.
            let view = view::json(raw);
            let head = view.text.floor_char_boundary(SIDE);
            let tail = view.text.ceil_char_boundary(view.text.len().saturating_sub(SIDE));
            push(&mut text, &mut pieces, view, 0..head, inner.start);
            text.push('\0');
            push(&mut text, &mut pieces, view::json(raw), tail..usize::MAX, inner.start);
        }
    }
    let detectors = rewriter.detectors;
    let actions = rewriter.actions;
    let is_on = |detector: usize| actions[detector] != Action::Off && detectors.all()[detector].is_solid();
    rewriter.spend(text.len())?;
    for hit in detectors.scan(&text, is_on) {
        let parts: Vec<&Piece> = pieces
            .iter()
            .filter(|piece: &&Piece| piece.joined.start < hit.range.end && hit.range.start < piece.joined.end)
            .collect();
        if parts.len() < 2 {
            continue;
        }
        let with = rewriter.act(hit.detector, &text[hit.range.clone()]);
        for (number, piece) in parts.into_iter().enumerate() {
            let start = hit.range.start.max(piece.joined.start) - piece.joined.start + piece.from;
            let end = hit.range.end.min(piece.joined.end) - piece.joined.start + piece.from;
            let source = piece.view.source(&(start..end));
            let found = if number == 0 { vec![hit.detector] } else { Vec::new() };
            edits.push(Edit {
                range: piece.at + source.start..piece.at + source.end,
                with: with.clone(),
                found,
            });
        }
    }
    Ok(())
}

fn push(text: &mut String, pieces: &mut Vec<Piece>, view: view::View, part: Range<usize>, at: usize) {
    let part = part.start..part.end.min(view.text.len());
    let start = text.len();
    text.push_str(&view.text[part.clone()]);
    pieces.push(Piece { joined: start..text.len(), from: part.start, view, at });
}
