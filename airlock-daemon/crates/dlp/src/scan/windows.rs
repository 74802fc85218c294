//! Windows: the parts of a text in which patterns run, merged where they touch, so that none reads a byte
//! twice.

use std::ops::Range;

use crate::detector::Detector;
use crate::hit::Hit;

/// The windows that were added last, among which one is looked for that goes on.
const RECENT: usize = 16;

#[derive(Default)]
pub(crate) struct Windows(Vec<(usize, Range<usize>)>);

impl Windows {
    pub(crate) fn add(&mut self, detector: usize, start: usize, end: usize) {
        let recent = self.0.iter_mut().rev().take(RECENT).find(|(of, _)| *of == detector);
        if let Some((_, last)) = recent
            && start <= last.end
            && last.start <= start
        {
            last.end = last.end.max(end);
            return;
        }
        self.0.push((detector, start..end));
    }

    /// Runs the patterns, and counts the bytes that they read.
    pub(crate) fn run(mut self, text: &str, all: &[Detector], hits: &mut Vec<Hit>, read: &mut usize) {
        if self.0.len() > 1 {
            self.0.sort_unstable_by_key(|(detector, window)| (*detector, window.start));
        }
        let mut rest = self.0.into_iter().peekable();
        while let Some((detector, mut window)) = rest.next() {
            while let Some((_, next)) = rest.next_if(|(of, next)| *of == detector && next.start <= window.end)
            {
                window.end = window.end.max(next.end);
            }
            let mut start = text.floor_char_boundary(window.start);
            let end = text.ceil_char_boundary(window.end.min(text.len()));
            while start < end
                && let Some(found) = all[detector].find(text, start..end, false, read)
            {
                start = found.next;
                hits.push(Hit { detector, range: found.secret });
            }
        }
    }
}

/// A place around which words are looked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Around {
    /// The fewest digits, or characters, that it has.
    pub(crate) least: usize,
    before: usize,
    after: usize,
}

impl Default for Around {
    fn default() -> Self {
        Self { least: usize::MAX, before: 0, after: 0 }
    }
}

impl Around {
    /// Widens it for a detector whose matches have so many bytes.
    pub(crate) fn add(&mut self, least: usize, reach: usize, before: usize, after: usize) {
        self.least = self.least.min(least);
        self.before = self.before.max(reach + before);
        self.after = self.after.max(reach + after);
    }

    /// The part of a text in which a word may stand near digits or a run, where so many bytes may stand for
    /// one.
    pub(crate) fn part(&self, of: &Range<usize>, bytes: usize) -> Range<usize> {
        of.start.saturating_sub(bytes * self.before)..of.end.saturating_add(bytes * self.after)
    }
}

/// Widens parts of a text, given by their starts, and joins those that overlap then.
pub(crate) fn widened(
    parts: impl Iterator<Item = Range<usize>>,
    before: usize,
    after: usize,
    length: usize,
    mut found: impl FnMut(Range<usize>),
) {
    let mut open: Option<Range<usize>> = None;
    for part in parts {
        let wide = part.start.saturating_sub(before)..part.end.saturating_add(after).min(length);
        match &mut open {
            Some(last) if wide.start <= last.end => last.end = last.end.max(wide.end),
            last => {
                if let Some(done) = last.replace(wide) {
                    found(done);
                }
            }
        }
    }
    open.into_iter().for_each(found);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_that_overlap_are_joined() {
        let mut all = Vec::new();
        widened([5..6, 8..9, 30..32].into_iter(), 2, 3, 33, |part| all.push(part));
        assert_eq!(all, [3..12, 28..33]);
    }
}
