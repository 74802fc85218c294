//! One text: everything that is found in it, in any spelling, and the edits that take it out.

use std::ops::Range;

use crate::action::{Action, Digest};
use crate::detector::Detector;
use crate::detectors::Detectors;
use crate::detectors::look::Look;
use crate::hit::Hit;
use crate::placeholder::{self, Blanked, NAMELESS, Written};
use crate::spelling::blob;
use crate::spelling::view;
use crate::spelling::wrapped;

/// A part of a text that another takes the place of.
#[derive(Debug)]
pub(crate) struct Edit {
    pub(crate) range: Range<usize>,
    /// Nothing where the finding is only reported.
    pub(crate) with: Option<String>,
    /// The detectors that found something here, with how often.
    pub(crate) found: Vec<usize>,
    /// The text in its place has parts of what stood there: it is an encoded text with findings taken out.
    pub(crate) is_partial: bool,
}

/// Parts of bytes, each with what takes its place.
type Inner = Vec<(Range<usize>, String)>;

/// How often texts are decoded within each other.
const DEPTH: usize = 4;

/// A message has cost more than its size allows.
#[derive(Debug)]
pub(crate) struct TooMuch;

/// Finds and replaces, and counts the work that it does.
pub(crate) struct Rewriter<'a> {
    pub(crate) detectors: &'a Detectors,
    pub(crate) actions: &'a [Action],
    pub(crate) digest: &'a Digest<'a>,
    /// The detector that blocks the message.
    pub(crate) blocked: Option<usize>,
    /// Bytes that may still be read.
    pub(crate) left: usize,
}

impl Rewriter<'_> {
    /// Finds everything in a text, in all its spellings, as edits in order and without overlap.
    pub(crate) fn edits(&mut self, text: &str) -> Result<Vec<Edit>, TooMuch> {
        self.nested(text, 0)
    }

    fn nested(&mut self, text: &str, depth: usize) -> Result<Vec<Edit>, TooMuch> {
        let mut edits = Vec::new();
        self.collect(text, depth, |range| range, &mut edits)?;
        let views = view::all(text);
        for (last, view) in views.iter().enumerate() {
            self.collect(&view.text, depth, |range| view::source(&views[..=last], range), &mut edits)?;
        }
        // Forms write a space as `+` (application/x-www-form-urlencoded).
        if let Some(last) = views.last()
            && text.contains('%')
            && last.text.contains('+')
        {
            let spaced = last.text.replace('+', " ");
            self.spend(spaced.len())?;
            for hit in self.all(&spaced) {
                let with = self.act(hit.detector, &spaced[hit.range.clone()]);
                let (range, found) = (view::source(&views, hit.range), vec![hit.detector]);
                edits.push(Edit { range, with, found, is_partial: false });
            }
        }
        Ok(merged(edits))
    }

    /// Finds what stands in a text as it is, and in the blobs within it.
    fn collect(
        &mut self,
        text: &str,
        depth: usize,
        source: impl Fn(Range<usize>) -> Range<usize>,
        edits: &mut Vec<Edit>,
    ) -> Result<(), TooMuch> {
        self.spend(text.len())?;
        let mut look = self.seen(text, |_| true);
        for hit in look.hits {
            let with = self.act(hit.detector, &text[hit.range.clone()]);
            edits.push(Edit { range: source(hit.range), with, found: vec![hit.detector], is_partial: false });
        }
        if depth == DEPTH {
            return Ok(());
        }
        for lines in wrapped::all(text, &mut look.runs) {
            let run = 0..lines.run;
            for blob in blob::all(&lines.text, std::slice::from_ref(&run)) {
                let (inner, found) = self.within(&blob, depth)?;
                if !found.is_empty() {
                    let with = || lines.with(&blob.run, &blob.with(&lines.text, &inner));
                    let with = (!inner.is_empty()).then(with);
                    edits.push(Edit { range: source(lines.range.clone()), with, found, is_partial: true });
                }
            }
        }
        for blob in blob::all(text, &look.runs) {
            let (inner, found) = self.within(&blob, depth)?;
            if !found.is_empty() {
                let with = (!inner.is_empty()).then(|| blob.with(text, &inner));
                edits.push(Edit { range: source(blob.run.clone()), with, found, is_partial: true });
            }
        }
        Ok(())
    }

    /// The findings within an encoded text: parts of its bytes that others take the place of, and the
    /// detectors.
    fn within(&mut self, blob: &blob::Blob, depth: usize) -> Result<(Inner, Vec<usize>), TooMuch> {
        let (mut inner, mut found) = (Vec::new(), Vec::new());
        for stretch in &blob.stretches {
            for edit in self.nested(&stretch.text, depth + 1)? {
                found.extend(edit.found);
                let Some(with) = edit.with else { continue };
                inner.push((stretch.start + edit.range.start..stretch.start + edit.range.end, with));
            }
        }
        Ok((inner, found))
    }

    /// Finds everything in a text as it stands.
    pub(crate) fn all(&self, text: &str) -> Vec<Hit> {
        self.seen(text, |_| true).hits
    }

    /// Finds a value of a manifest in the manifest around it.
    pub(crate) fn manifest(&self, value: &str, around: [&str; 2]) -> Option<Hit> {
        if self.blanked(value).is_nothing_else() {
            return None;
        }
        let text = [around[0], value, around[1]].concat();
        self.seen(&text, Detector::finds_manifests).hits.into_iter().next()
    }

    /// Finds what is long and unmistakable in a text as it stands.
    pub(crate) fn solid(&self, text: &str) -> Vec<Hit> {
        self.seen(text, Detector::is_solid).hits
    }

    /// Looks at a text as it stands, but for what took the place of a finding, with some of the detectors.
    fn seen(&self, text: &str, is_one: impl Fn(&Detector) -> bool) -> Look {
        let blanked = self.blanked(text);
        let all = self.detectors.all();
        let is_on = |detector: usize| self.actions[detector] != Action::Off && is_one(&all[detector]);
        let mut look = self.detectors.look(&blanked.text, is_on);
        look.hits.retain_mut(|hit| blanked.keeps(hit));
        look
    }

    /// Takes the words of placeholders out of a text.
    pub(crate) fn blanked<'t>(&self, text: &'t str) -> Blanked<'t> {
        let has_masks = self.actions.contains(&Action::Mask);
        placeholder::blanked(text, has_masks, |name| match self.detectors.place(name) {
            None => Written::Nothing,
            Some(place) if self.actions[place] == Action::Hash => Written::Digest,
            Some(_) => Written::Name,
        })
    }

    /// Finds what is long and unmistakable in a text, and cards, in all spellings.
    pub(crate) fn solid_edits(&mut self, text: &str) -> Result<Vec<Edit>, TooMuch> {
        let all = self.detectors.all().iter();
        let of = |(detector, action): (&Detector, &Action)| {
            if detector.is_solid() || detector.finds_cards() { *action } else { Action::Off }
        };
        let actions: Vec<Action> = all.zip(self.actions).map(of).collect();
        let Self { detectors, digest, blocked, left, .. } = *self;
        let mut solid = Rewriter { detectors, actions: &actions, digest, blocked, left };
        let edits = solid.edits(text);
        let Rewriter { blocked, left, .. } = solid;
        (self.blocked, self.left) = (blocked, left);
        edits
    }

    /// The detector that takes a number for a card.
    pub(crate) fn card(&self, number: &str) -> Option<usize> {
        let is_of = |(place, detector): &(usize, &Detector)| {
            self.actions[*place] != Action::Off && detector.finds_cards() && detector.accepts_number(number)
        };
        self.detectors.all().iter().enumerate().find(is_of).map(|(place, _)| place)
    }

    /// Says what takes the place of a finding, and notes that it blocks.
    pub(crate) fn act(&mut self, detector: usize, found: &str) -> Option<String> {
        let action = self.actions[detector];
        if action == Action::Block {
            self.blocked.get_or_insert(detector);
        }
        action.replacement(self.detectors.all()[detector].name(), found, self.digest)
    }

    /// Counts bytes that are read.
    pub(crate) fn spend(&mut self, bytes: usize) -> Result<(), TooMuch> {
        self.left = self.left.checked_sub(bytes).ok_or(TooMuch)?;
        Ok(())
    }
}

/// Puts edits in order. Where two overlap, the longer that begins first says what takes the place of both,
/// but for an encoded text: it would keep what the other finds in it, as would each of two encoded texts.
pub(crate) fn merged(mut edits: Vec<Edit>) -> Vec<Edit> {
    edits.sort_by(|a, b| {
        (a.with.is_none(), a.range.start, b.range.end).cmp(&(b.with.is_none(), b.range.start, a.range.end))
    });
    let replaced = edits.partition_point(|edit| edit.with.is_some());
    let reported = edits.split_off(replaced);
    let mut merged: Vec<Edit> = Vec::new();
    for edit in edits {
        match merged.last_mut().filter(|last| edit.range.start < last.range.end) {
            // Views of a text find its encoded texts once more.
            Some(last) if last.range == edit.range && last.with == edit.with => {}
            Some(last) => {
                if last.is_partial {
                    last.with = if edit.is_partial { Some(NAMELESS.to_owned()) } else { edit.with };
                    last.is_partial = false;
                }
                last.range.end = last.range.end.max(edit.range.end);
            }
            None => merged.push(edit),
        }
    }
    let (mut kept, mut end) = (Vec::new(), 0);
    for edit in reported {
        let behind = merged.partition_point(|other| other.range.end <= edit.range.start);
        let overlaps = merged.get(behind).is_some_and(|other| other.range.start < edit.range.end);
        if edit.range.start >= end && !overlaps {
            end = edit.range.end;
            kept.push(edit);
        }
    }
    merged.extend(kept);
    merged.sort_by_key(|edit| edit.range.start);
    merged
}
