//! The sieve: one pass over a text that tells of all that a finding can be made of, other than words: runs of
//! the characters that tokens have, clusters of digits, each `@`, and spellings that stand for others.

#![allow(clippy::inline_always, reason = "what is done with each block belongs into the loop over vectors")]

use std::ops::Range;

use crate::classes::{BLOCK, Masks, each, is_token};
use crate::vector;

/// The fewest characters of a run of those that tokens have.
pub(crate) const RUN: usize = 15;

const _: () = assert!(RUN == 15, "runs are found as eight and seven");

/// The most bytes between two digits of one cluster of a text.
pub(crate) const GAP: usize = 8;

/// Gets all that the sieve tells of, each kind in order of place.
pub(crate) trait Sink {
    /// A run of [`RUN`] or more characters that tokens have, whole.
    fn run(&mut self, run: Range<usize>);
    /// A cluster from its first to its last digit, with the number of digits.
    fn digits(&mut self, cluster: Range<usize>, count: usize);
    /// An `@`.
    fn at(&mut self, at: usize);
    /// A backslash, a percent sign, or a byte beyond ASCII; of those in one block the first alone may be
    /// told.
    fn odd(&mut self, at: usize, block: &[u8; BLOCK], mask: u64);
}

/// The kinds that a caller asks for, and the digits that make a cluster.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    /// The fewest digits of a cluster.
    pub(crate) digits: usize,
    /// The most bytes between two digits of a cluster.
    pub(crate) gap: usize,
    /// By byte: no cluster goes on behind it.
    pub(crate) breaks: Box<[bool; 256]>,
    pub(crate) at: bool,
    pub(crate) odd: bool,
}

/// Looks through a text.
pub(crate) fn sieve(text: &[u8], wanted: &Wanted, sink: &mut impl Sink) {
    let mut state = State { text, wanted, run: None, cluster: None };
    vector::masks(text, |at, block, masks| state.block(at, block, masks, sink));
    state.end(sink);
}

struct State<'a> {
    text: &'a [u8],
    wanted: &'a Wanted,
    /// The start of a run that goes on up to the block.
    run: Option<usize>,
    cluster: Option<Cluster>,
}

/// A cluster that may go on.
struct Cluster {
    start: usize,
    end: usize,
    count: usize,
}

impl State<'_> {
    #[inline(always)]
    fn block(&mut self, at: usize, block: &[u8; BLOCK], masks: Masks, sink: &mut impl Sink) {
        self.runs(at, masks.token, sink);
        if masks.digit != 0 {
            self.digits(at, masks.digit, sink);
        }
        if masks.at != 0 && self.wanted.at {
            each(masks.at, |bit| sink.at(at + bit));
        }
        if masks.odd != 0 && self.wanted.odd {
            sink.odd(at, block, masks.odd);
        }
    }

    #[inline(always)]
    fn runs(&mut self, at: usize, token: u64, sink: &mut impl Sink) {
        if token == u64::MAX {
            self.run.get_or_insert(at);
            return;
        }
        if let Some(start) = self.run.take() {
            let end = at + token.trailing_ones() as usize;
            if end - start >= RUN {
                sink.run(start..end);
            }
        }
        // Each bit that is left is the start of so many ones.
        let pairs = token & token >> 1;
        let fours = pairs & pairs >> 2;
        let eights = fours & fours >> 4;
        let mut long = eights & eights >> 7;
        if long != 0 {
            self.inner(at, token, &mut long, sink);
        }
        let trailing = token.leading_ones() as usize;
        if trailing > 0 {
            self.run = Some(at + BLOCK - trailing);
        }
    }

    /// Tells of the runs that lie within one block. One at its start was told of with the block before, or
    /// begins here; one at its end may go on.
    #[inline(never)]
    fn inner(&self, at: usize, token: u64, long: &mut u64, sink: &mut impl Sink) {
        while *long != 0 {
            let start = long.trailing_zeros() as usize;
            let length = (token >> start).trailing_ones() as usize;
            let end = start + length;
            let is_told = start == 0 && self.text.get(at.wrapping_sub(1)).is_some_and(|&byte| is_token(byte));
            if !is_told && end < BLOCK {
                sink.run(at + start..at + end);
            }
            if end >= BLOCK {
                break;
            }
            *long &= u64::MAX << end;
        }
    }

    #[inline(never)]
    fn digits(&mut self, at: usize, digit: u64, sink: &mut impl Sink) {
        let mut rest = digit;
        while rest != 0 {
            let start = rest.trailing_zeros() as usize;
            let length = (rest >> start).trailing_ones() as usize;
            let end = start + length;
            rest = if end >= BLOCK { 0 } else { rest & (u64::MAX << end) };
            let (start, end) = (at + start, at + end);
            if let Some(cluster) = &mut self.cluster {
                let goes_on = start - cluster.end <= self.wanted.gap
                    && self.text[cluster.end..start]
                        .iter()
                        .all(|&byte| !self.wanted.breaks[usize::from(byte)]);
                if goes_on {
                    cluster.end = end;
                    cluster.count += length;
                    continue;
                }
                if cluster.count >= self.wanted.digits {
                    sink.digits(cluster.start..cluster.end, cluster.count);
                }
            }
            self.cluster = Some(Cluster { start, end, count: length });
        }
    }

    fn end(&mut self, sink: &mut impl Sink) {
        // The last block is padded with bytes of no kind, unless the text fills it.
        if let Some(start) = self.run.take().filter(|start| self.text.len() - start >= RUN) {
            sink.run(start..self.text.len());
        }
        if let Some(cluster) = self.cluster.take().filter(|cluster| cluster.count >= self.wanted.digits) {
            sink.digits(cluster.start..cluster.end, cluster.count);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Default, PartialEq, Eq)]
    struct Seen {
        runs: Vec<Range<usize>>,
        clusters: Vec<(Range<usize>, usize)>,
        ats: Vec<usize>,
        odd: Vec<usize>,
    }

    impl Sink for Seen {
        fn run(&mut self, run: Range<usize>) {
            self.runs.push(run);
        }

        fn digits(&mut self, cluster: Range<usize>, count: usize) {
            self.clusters.push((cluster, count));
        }

        fn at(&mut self, at: usize) {
            self.ats.push(at);
        }

        fn odd(&mut self, at: usize, _: &[u8; BLOCK], mask: u64) {
            each(mask, |bit| self.odd.push(at + bit));
        }
    }

    fn wanted(digits: usize) -> Wanted {
        let mut breaks = Box::new([false; 256]);
        for byte in b"\"[]{}" {
            breaks[usize::from(*byte)] = true;
        }
        Wanted { digits, gap: GAP, breaks, at: true, odd: true }
    }

    fn seen(text: &str, digits: usize) -> Seen {
        let mut seen = Seen::default();
        sieve(text.as_bytes(), &wanted(digits), &mut seen);
        seen
    }

    /// The same, one byte after the other.
    fn plainly(text: &str, digits: usize) -> Seen {
        let bytes = text.as_bytes();
        let mut seen = Seen::default();
        let mut start = 0;
        for end in 0..=bytes.len() {
            if bytes.get(end).is_some_and(|&byte| is_token(byte)) {
                continue;
            }
            if end - start >= RUN {
                seen.runs.push(start..end);
            }
            start = end + 1;
        }
        let mut cluster: Option<(Range<usize>, usize)> = None;
        let wanted = wanted(digits);
        for (at, byte) in bytes.iter().enumerate() {
            if *byte == b'@' {
                seen.ats.push(at);
            }
            if matches!(byte, b'\\' | b'%' | 0x80..) {
                seen.odd.push(at);
            }
            if byte.is_ascii_digit() {
                cluster = Some(match cluster {
                    Some((range, count))
                        if at - range.end <= GAP
                            && bytes[range.end..at].iter().all(|&b| !wanted.breaks[usize::from(b)]) =>
                    {
                        (range.start..at + 1, count + 1)
                    }
                    before => {
                        seen.clusters.extend(before);
                        (at..at + 1, 1)
                    }
                });
            }
        }
        seen.clusters.extend(cluster);
        seen.clusters.retain(|(_, count)| *count >= digits);
        seen
    }

    #[test]
    fn digits_in_groups_are_one_cluster() {
        assert_eq!(seen("pay 4111 1111 1111 1111 now", 12).clusters, [(4..23, 16)]);
        assert_eq!(seen("1 2 3", 4).clusters, []);
        assert_eq!(seen("a 1-23-4 and then, far away, 567", 3).clusters, [(2..8, 4), (29..32, 3)]);
        assert_eq!(seen(r#"["12","34"]"#, 3).clusters, []);
        let far = format!("{}12345678", ".".repeat(1_000));
        assert_eq!(seen(&far, 8).clusters, [(1_000..1_008, 8)]);
    }

    proptest! {
        #[test]
        fn blocks_tell_what_single_bytes_tell(
            parts in prop::collection::vec(prop_oneof![
                "[a-zA-Z0-9+/_-]{0,90}", "[0-9 .\"-]{0,60}", "[@%\\\\é.,;`/:\\[{}~^\\]!]{0,40}", ".{0,20}",
            ], 0..6),
            digits in 1..6_usize,
        ) {
            let text = parts.concat();
            prop_assert_eq!(seen(&text, digits), plainly(&text, digits));
        }
    }
}
