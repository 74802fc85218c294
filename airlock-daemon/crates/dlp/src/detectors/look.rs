//! A look at a text: each pattern runs where its trigger stands.

use std::ops::Range;

use super::Detectors;
use crate::hit::Hit;
use crate::scan::net::{Need, User};
use crate::scan::sieve;
use crate::scan::told::Seen;
use crate::scan::windows::{Windows, widened};
use crate::trigger::literals::NEAR;

/// All that a look at a text finds.
#[derive(Debug, Default)]
pub(crate) struct Look {
    /// In order of place.
    pub(crate) hits: Vec<Hit>,
    /// The runs of characters that tokens have.
    pub(crate) runs: Vec<Range<usize>>,
    /// The bytes that patterns have read, each as often as it was.
    pub(crate) read: usize,
}

impl Detectors {
    /// Finds everything in a text as it stands, without decoding anything, in order of place.
    pub fn scan(&self, text: &str, is_on: impl Fn(usize) -> bool) -> Vec<Hit> {
        self.look(text, is_on).hits
    }

    /// As [`Self::scan`], and tells of the runs in which other texts may stand encoded.
    pub(crate) fn look(&self, text: &str, is_on: impl Fn(usize) -> bool) -> Look {
        let bytes = text.as_bytes();
        let mut seen = Seen {
            ats: &self.ats,
            text: bytes,
            runs: Vec::new(),
            clusters: Default::default(),
            found: Vec::new(),
        };
        sieve::sieve(bytes, &self.wanted[0], &mut seen);
        let Seen { runs, clusters: [worded, alone], found: ats, .. } = seen;
        let mut found = Found {
            detectors: self,
            text,
            windows: Windows::default(),
            hits: Vec::new(),
            read: 0,
            tries: Vec::new(),
        };
        self.everywhere.find(bytes, 0..bytes.len(), |user, at| {
            if is_on(user.detector) && self.has_sign(bytes, 0..bytes.len(), user, at, 1) {
                found.literal(user, at);
            }
        });
        let longest = self.near_runs.longest();
        widened(runs.iter().cloned(), NEAR, NEAR + longest, bytes.len(), |part| {
            self.near_runs.find(bytes, part, |user, at| {
                if is_on(user.detector) {
                    found.literal(user, at);
                }
            });
        });
        self.look_for_words(bytes, &runs, &worded, |user, at| {
            if is_on(user.detector) {
                found.literal(user, at);
            }
        });
        for at in ats {
            for (detector, of) in self.ats.all.iter().filter(|(detector, _)| is_on(*detector)) {
                found.windows.add(*detector, at.saturating_sub(of.back), at + self.all[*detector].reach());
            }
        }
        self.numbers.parts(&alone, text, |part, size| {
            self.numbers.find(&self.all, text, part.clone(), size, |number| {
                if is_on(number.detector) {
                    found.windows.add(number.detector, part.start, part.end);
                }
            });
        });
        let Found { windows, mut hits, mut read, .. } = found;
        windows.run(text, &self.all, &mut hits, &mut read);
        if hits.len() > 1 {
            hits.sort_by_key(Hit::order);
            hits.dedup();
        }
        Look { hits, runs, read }
    }

    /// Tells of words near the runs and the digits that their detectors need.
    fn look_for_words(
        &self,
        text: &[u8],
        runs: &[Range<usize>],
        clusters: &[(Range<usize>, usize)],
        mut found: impl FnMut(&User, usize),
    ) {
        self.near_words(runs, clusters, 1, text.len(), |part| {
            self.words.find(text, part, |user, at| {
                let (start, end) = self.window(user, at);
                let is_there = match user.need {
                    Need::Nothing | Need::Byte(_) => true,
                    Need::Digits(least) => {
                        let first = clusters.partition_point(|(cluster, _)| cluster.end <= start);
                        let mut near =
                            clusters[first..].iter().take_while(|(cluster, _)| cluster.start < end);
                        near.any(|(_, count)| *count >= least)
                    }
                    Need::Run(least) => {
                        let first = runs.partition_point(|run| run.end <= start);
                        runs[first..].iter().take_while(|run| run.start < end).any(|run| run.len() >= least)
                    }
                };
                if is_there {
                    found(user, at);
                }
            });
        });
    }

    /// Tells of the parts of a text in which words may stand near runs and digits, where so many bytes may
    /// stand for one.
    pub(super) fn near_words(
        &self,
        runs: &[Range<usize>],
        clusters: &[(Range<usize>, usize)],
        bytes: usize,
        length: usize,
        found: impl FnMut(Range<usize>),
    ) {
        let digits = &self.words_near_digits;
        let mut near: Vec<Range<usize>> = Vec::new();
        near.extend(
            clusters.iter().filter(|(_, count)| *count >= digits.least).map(|(of, _)| digits.part(of, bytes)),
        );
        let long = &self.words_near_runs;
        near.extend(runs.iter().filter(|run| run.len() >= long.least).map(|of| long.part(of, bytes)));
        near.sort_unstable_by_key(|part| part.start);
        widened(near.into_iter(), 0, 0, length, found);
    }

    /// The part of a text in which a match lies that has a literal of its own, or stands near a word.
    pub(super) fn window(&self, user: &User, at: usize) -> (usize, usize) {
        (at.saturating_sub(user.back), at + user.ahead + self.all[user.detector].reach())
    }

    /// Answers whether a sign that the matches of a detector have stands near a word of it, within a part of
    /// a text of which so many bytes may stand for one.
    pub(super) fn has_sign(
        &self,
        text: &[u8],
        part: Range<usize>,
        user: &User,
        at: usize,
        bytes: usize,
    ) -> bool {
        let Need::Byte(sign) = user.need else { return true };
        let start = at.saturating_sub(bytes * user.back).max(part.start);
        let end = (at + bytes * (user.ahead + self.all[user.detector].reach())).min(part.end);
        memchr::memchr(sign, &text[start..end]).is_some()
    }
}

/// The findings in a text, so far.
struct Found<'a> {
    detectors: &'a Detectors,
    text: &'a str,
    windows: Windows,
    hits: Vec<Hit>,
    read: usize,
    /// By detector: how often it was tried at a literal.
    tries: Vec<(usize, usize)>,
}

/// A detector is tried at so many literals by themselves. Where there are more, one pass over all that lies
/// behind them costs less: each try may read far.
const TRIES: usize = 16;

impl Found<'_> {
    fn literal(&mut self, user: &User, at: usize) {
        if user.back == 0 && user.ahead == 0 && self.is_tried_once_more(user.detector) {
            self.anchored(at, user.detector);
        } else {
            let (start, end) = self.detectors.window(user, at);
            self.windows.add(user.detector, start, end);
        }
    }

    fn is_tried_once_more(&mut self, detector: usize) -> bool {
        if let Some((_, count)) = self.tries.iter_mut().find(|(of, _)| *of == detector) {
            *count += 1;
            return *count <= TRIES;
        }
        self.tries.push((detector, 1));
        true
    }

    fn anchored(&mut self, at: usize, detector: usize) {
        let Self { detectors, text, hits, read, .. } = self;
        if !text.is_char_boundary(at) {
            return;
        }
        let of = &detectors.all[detector];
        let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        let bytes = text.as_bytes();
        if of.spec().word && at > 0 && is_word(bytes[at - 1]) && is_word(bytes[at]) {
            return;
        }
        let is_known = |hit: &&Hit| hit.detector == detector && hit.range.contains(&at);
        if hits.iter().rev().take(8).find(is_known).is_some() {
            return;
        }
        let end = text.floor_char_boundary(at.saturating_add(of.reach()).saturating_add(1).min(text.len()));
        if let Some(found) = of.find(text, at..end, true, read) {
            hits.push(Hit { detector, range: found.secret });
        }
    }
}
