//! Parts of strings as one text: a secret that was cut, one that was encoded and then cut, and one of which
//! each part was encoded.

use std::ops::Range;

use crate::classes::is_token;
use crate::message::rewrite::{Edit, Rewriter, TooMuch};
use crate::spelling::blob;
use crate::spelling::view::{self, View};

/// The shortest run that may be encoded text, in characters.
const ENCODED: usize = 20;

/// So much of a long text is looked at on either side of a seam, in bytes.
const NEAR: usize = 2 << 10;

/// The most parts that a secret is looked for in which words stand before and behind.
const AMONG: usize = 4;

/// Looks through parts of neighbouring strings, given as places of the message.
pub(super) fn pieces(
    json: &str,
    pieces: &[Range<usize>],
    rewriter: &mut Rewriter<'_>,
    edits: &mut Vec<Edit>,
) -> Result<(), TooMuch> {
    let mut text = String::new();
    let parts: Vec<Part> = pieces.iter().map(|piece| Part::new(json, piece, &mut text)).collect();
    rewriter.spend(text.len())?;
    for hit in rewriter.solid(&text) {
        cut(&hit.range, hit.detector, (&text, &parts), rewriter, edits);
    }
    if rewriter.detectors.has_start(&text) {
        for first in 0..parts.len() {
            among(first, (&text, &parts), rewriter, edits)?;
        }
    }
    if may_be_encoded(&text, &parts) {
        for near in near_seams(&text, &parts) {
            for edit in rewriter.solid_edits(&text[near.clone()])? {
                let Some(&detector) = edit.found.first() else { continue };
                let found = near.start + edit.range.start..near.start + edit.range.end;
                cut(&found, detector, (&text, &parts), rewriter, edits);
            }
        }
    }
    each_encoded(&text, &parts, rewriter, edits)
}

/// Looks through the parts from one on in which a secret begins, without those around them: their letters
/// would make another word of it.
fn among(
    first: usize,
    (text, parts): (&str, &[Part]),
    rewriter: &mut Rewriter<'_>,
    edits: &mut Vec<Edit>,
) -> Result<(), TooMuch> {
    let start = parts[first].joined.start;
    if !rewriter.detectors.has_start(&text[parts[first].joined.clone()]) {
        return Ok(());
    }
    for last in parts[first..].iter().take(AMONG).skip(1) {
        let near = &text[start..last.joined.end];
        if near.len() > NEAR {
            break;
        }
        rewriter.spend(near.len())?;
        for hit in rewriter.solid(near) {
            let found = start + hit.range.start..start + hit.range.end;
            cut(&found, hit.detector, (text, parts), rewriter, edits);
        }
    }
    Ok(())
}

/// Takes a finding out of each of the parts that it lies in, if these are two and more.
pub(super) fn cut(
    found: &Range<usize>,
    detector: usize,
    (text, parts): (&str, &[Part]),
    rewriter: &mut Rewriter<'_>,
    edits: &mut Vec<Edit>,
) {
    let has_part = |part: &&Part| part.joined.start < found.end && found.start < part.joined.end;
    if parts.iter().filter(has_part).count() < 2 {
        return;
    }
    let with = rewriter.act(detector, &text[found.clone()]);
    for (number, part) in parts.iter().filter(has_part).enumerate() {
        let found_here = if number == 0 { vec![detector] } else { Vec::new() };
        edits.push(Edit {
            range: part.source(found),
            with: with.clone(),
            found: found_here,
            is_partial: false,
        });
    }
}

/// The places in which a secret may lie that has bytes of two parts: all of a short text.
fn near_seams(text: &str, parts: &[Part]) -> Vec<Range<usize>> {
    if text.len() <= 4 * NEAR {
        return std::iter::once(0..text.len()).collect();
    }
    let mut all: Vec<Range<usize>> = Vec::new();
    for part in parts.iter().skip(1) {
        let start = text.floor_char_boundary(part.joined.start.saturating_sub(NEAR));
        let end = text.ceil_char_boundary((part.joined.start + NEAR).min(text.len()));
        match all.last_mut().filter(|last| start <= last.end) {
            Some(last) => last.end = end,
            None => all.push(start..end),
        }
    }
    all
}

/// Answers whether a text of parts has a spelling in it, or encoded text that goes on from one to the next.
fn may_be_encoded(text: &str, parts: &[Part]) -> bool {
    if !text.is_ascii() || memchr::memchr2(b'%', b'\\', text.as_bytes()).is_some() {
        return true;
    }
    let bytes = text.as_bytes();
    let mut start = 0;
    bytes.split(|&byte| !is_token(byte)).any(|run| {
        let range = start..start + run.len();
        start = range.end + 1;
        let next = parts.partition_point(|part| part.joined.start <= range.start);
        let has_seam = parts.get(next).is_some_and(|part| part.joined.start < range.end);
        run.len() >= ENCODED && has_seam && blob::may_be(run)
    })
}

/// Looks through parts of which each is encoded by itself.
fn each_encoded(
    text: &str,
    parts: &[Part],
    rewriter: &mut Rewriter<'_>,
    edits: &mut Vec<Edit>,
) -> Result<(), TooMuch> {
    let mut decoded = String::new();
    let mut open: Vec<(&Part, Range<usize>)> = Vec::new();
    for part in parts.iter().map(Some).chain([None]) {
        let inner = part.and_then(|part| blob::whole(&text[part.joined.clone()]));
        if let Some((part, inner)) = part.zip(inner) {
            let start = decoded.len();
            decoded.push_str(&inner);
            open.push((part, start..decoded.len()));
            continue;
        }
        if open.len() > 1 {
            rewriter.spend(decoded.len())?;
            for hit in rewriter.solid(&decoded) {
                let has_part =
                    |(_, of): &&(&Part, Range<usize>)| of.start < hit.range.end && hit.range.start < of.end;
                if open.iter().filter(has_part).count() < 2 {
                    continue;
                }
                let with = rewriter.act(hit.detector, &decoded[hit.range.clone()]);
                for (number, (part, _)) in open.iter().filter(has_part).enumerate() {
                    let found = if number == 0 { vec![hit.detector] } else { Vec::new() };
                    let range = part.source(&part.joined);
                    edits.push(Edit { range, with: with.clone(), found, is_partial: false });
                }
            }
        }
        decoded.clear();
        open.clear();
    }
    Ok(())
}

/// A part of the joined text, and the place that it comes from.
pub(super) struct Part {
    pub(super) joined: Range<usize>,
    view: Option<View>,
    at: usize,
}

impl Part {
    pub(super) fn new(json: &str, piece: &Range<usize>, text: &mut String) -> Self {
        let raw = &json[piece.clone()];
        let view = raw.contains('\\').then(|| view::json(raw));
        let start = text.len();
        text.push_str(view.as_ref().map_or(raw, |view| &view.text));
        Self { joined: start..text.len(), view, at: piece.start }
    }

    /// The places of the message that a range of the joined text takes of this part.
    pub(super) fn source(&self, found: &Range<usize>) -> Range<usize> {
        let start = found.start.max(self.joined.start) - self.joined.start;
        let end = found.end.min(self.joined.end) - self.joined.start;
        let source = self.view.as_ref().map_or(start..end, |view| view.source(&(start..end)));
        self.at + source.start..self.at + source.end
    }
}
