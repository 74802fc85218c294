//! All that the sieve tells of a text, and of JSON.

use std::ops::Range;

use crate::classes::{BLOCK, each};
use crate::scan::ats::Ats;
use crate::scan::marks::Marks;
use crate::scan::sieve::{Kind, Sink};

/// Clusters of digits, each with the number of its digits.
pub(crate) type Clusters = Vec<(Range<usize>, usize)>;

/// The sieve's account of a text.
pub(crate) struct Seen<'a> {
    pub(crate) ats: &'a Ats,
    pub(crate) text: &'a [u8],
    pub(crate) runs: Vec<Range<usize>>,
    /// By kind, each with its digits.
    pub(crate) clusters: [Clusters; 2],
    pub(crate) found: Vec<usize>,
}

impl Sink for Seen<'_> {
    fn run(&mut self, run: Range<usize>) {
        self.runs.push(run);
    }

    fn digits(&mut self, kind: Kind, cluster: Range<usize>, count: usize) {
        self.clusters[kind as usize].push((cluster, count));
    }

    fn at(&mut self, at: usize) {
        if self.ats.may_be(self.text, at) {
            self.found.push(at);
        }
    }

    fn odd(&mut self, _: usize, _: &[u8; BLOCK], _: u64) {}

    fn quotes(&mut self, _: usize, _: u64) {}
}

/// The sieve's account of JSON.
pub(crate) struct Told<'a> {
    pub(crate) ats: &'a Ats,
    pub(crate) json: &'a [u8],
    pub(crate) marks: Marks,
    pub(crate) runs: Vec<Range<usize>>,
    /// By kind, each with its digits.
    pub(crate) clusters: [Clusters; 2],
    /// The places of quotes that begin and end strings, of texts that are shorter than 4 GiB.
    pub(crate) quotes: Vec<u32>,
}

impl Sink for Told<'_> {
    fn run(&mut self, run: Range<usize>) {
        self.runs.push(run);
    }

    fn digits(&mut self, kind: Kind, cluster: Range<usize>, count: usize) {
        self.clusters[kind as usize].push((cluster, count));
    }

    fn at(&mut self, at: usize) {
        if self.ats.may_be_in_json(self.json, at) {
            self.marks.set(at);
        }
    }

    fn quotes(&mut self, at: usize, mask: u64) {
        each(mask, |bit| self.quotes.extend(u32::try_from(at + bit)));
    }

    /// Line breaks, tabs and quotes are in no literal, and need no other reading.
    fn odd(&mut self, at: usize, block: &[u8; BLOCK], mask: u64) {
        each(mask, |bit| {
            let next = self.json.get(at + bit + 1);
            let is_plain = match block[bit] {
                b'%' => !next.is_some_and(u8::is_ascii_hexdigit),
                b'\\' => matches!(next, Some(b'n' | b't' | b'r' | b'"')),
                _ => false,
            };
            if !is_plain {
                self.marks.set(at + bit);
            }
        });
    }
}
