//! Armour: a key in lines, of which each is a string of its own, or that is cut into a few.

use std::borrow::Cow;
use std::ops::Range;

use super::search::Part;
use crate::message::rewrite::{Edit, Rewriter, TooMuch};
use crate::spelling::view;

const BEGIN: &str = "-----BEGIN ";
const END: &str = "-----END ";

/// The most bytes that are put together.
const MOST: usize = 64 << 10;

/// The strings since one in which a key begins and does not end.
#[derive(Debug, Default)]
pub(super) struct Armour {
    lines: Vec<Range<usize>>,
    length: usize,
}

impl Armour {
    /// Adds the next string, and looks through what was put together where a key ends in it.
    pub(super) fn add(
        &mut self,
        json: &str,
        inner: &Range<usize>,
        is_marked: bool,
        rewriter: &mut Rewriter<'_>,
        edits: &mut Vec<Edit>,
    ) -> Result<(), TooMuch> {
        if self.lines.is_empty() {
            let begins = |text: &str| text.rfind(BEGIN).is_some_and(|at| !text[at..].contains(END));
            if is_marked && begins(&read(json, inner)) {
                self.push(inner);
            }
            return Ok(());
        }
        self.push(inner);
        if read(json, inner).contains(END) || self.length > MOST {
            self.end(json, rewriter, edits)?;
        }
        Ok(())
    }

    fn push(&mut self, line: &Range<usize>) {
        self.length += line.len();
        self.lines.push(line.clone());
    }

    /// Looks through what was put together, and begins anew.
    pub(super) fn end(
        &mut self,
        json: &str,
        rewriter: &mut Rewriter<'_>,
        edits: &mut Vec<Edit>,
    ) -> Result<(), TooMuch> {
        if self.lines.len() > 1 {
            let mut text = String::new();
            let mut parts = Vec::with_capacity(self.lines.len());
            for line in &self.lines {
                parts.push(Part::new(json, line, &mut text));
                text.push('\n');
            }
            rewriter.spend(text.len())?;
            for hit in rewriter.all(&text) {
                if text[hit.range.clone()].starts_with(BEGIN) {
                    super::search::cut(&hit.range, hit.detector, (&text, &parts), rewriter, edits);
                }
            }
        }
        self.lines.clear();
        self.length = 0;
        Ok(())
    }
}

/// A string as its reader sees it, escapes and all.
fn read<'a>(json: &'a str, inner: &Range<usize>) -> Cow<'a, str> {
    let raw = &json[inner.clone()];
    if raw.contains("\\u") { Cow::Owned(view::json(raw).text) } else { Cow::Borrowed(raw) }
}
