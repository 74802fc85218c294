//! The sieve: one pass over a text that tells of all that a finding can be made of, other than words: runs of
//! the characters that tokens have, clusters of digits, each `@`, and spellings that stand for others.

#![allow(clippy::inline_always, reason = "what is done with each block belongs into the loop over vectors")]

use std::ops::Range;

use crate::classes::{BLOCK, Class, Masks, each, is_token};
use crate::scan::vector;
use crate::trigger::runs::RUN;

const _: () = assert!(RUN == 15, "runs are found as eight and seven");

/// Gets all that the sieve tells of, each kind in order of place.
pub(crate) trait Sink {
    /// A run of [`RUN`] or more characters that tokens have, whole.
    fn run(&mut self, run: Range<usize>);
    /// A cluster from its first to its last digit, with the number of digits.
    fn digits(&mut self, kind: Kind, cluster: Range<usize>, count: usize);
    /// An `@`.
    fn at(&mut self, at: usize);
    /// A backslash, a percent sign, or a byte beyond ASCII; of those in one block the first alone may be
    /// told.
    fn odd(&mut self, at: usize, block: &[u8; BLOCK], mask: u64);
    /// Quotes that no backslash stands before, where odd bytes are told of.
    fn quotes(&mut self, at: usize, mask: u64);
}

/// Clusters of digits are of two kinds, each with bytes of its own that may stand between the digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// They are a finding beside a word.
    Worded,
    /// They may be a finding by themselves.
    Alone,
}

impl Kind {
    pub(crate) const ALL: [Self; 2] = [Self::Worded, Self::Alone];
}

/// The digits that make a cluster.
#[derive(Debug, Clone)]
pub(crate) struct Digits {
    /// The fewest digits of a cluster.
    pub(crate) least: usize,
    /// The fewest bytes from its first to its last digit.
    pub(crate) span: usize,
    /// The most bytes between two of them.
    pub(crate) gap: usize,
    /// No cluster goes on behind these.
    pub(crate) breaks: Class,
}

/// The kinds that a caller asks for.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    /// By [`Kind`].
    pub(crate) digits: [Digits; 2],
    pub(crate) at: bool,
    pub(crate) odd: bool,
}

/// Looks through a text.
pub(crate) fn sieve(text: &[u8], wanted: &Wanted, sink: &mut impl Sink) {
    let mut state = State { text, wanted, run: None, clusters: [None, None], is_escaped: 0 };
    vector::masks(text, |at, block, masks| state.block(at, block, masks, sink));
    state.end(sink);
}

struct State<'a> {
    text: &'a [u8],
    wanted: &'a Wanted,
    /// The start of a run that goes on up to the block.
    run: Option<usize>,
    /// By [`Kind`].
    clusters: [Option<Cluster>; 2],
    /// 1 where a backslash at the end of the block before is to be read with the first byte of the next.
    is_escaped: u64,
}

/// A cluster that may go on.
struct Cluster {
    start: usize,
    end: usize,
    count: usize,
}

impl Cluster {
    fn tell(&self, kind: Kind, of: &Digits, sink: &mut impl Sink) {
        if self.count >= of.least && self.end - self.start >= of.span {
            sink.digits(kind, self.start..self.end, self.count);
        }
    }
}

impl State<'_> {
    #[inline(always)]
    fn block(&mut self, at: usize, block: &[u8; BLOCK], masks: Masks, sink: &mut impl Sink) {
        self.runs(at, masks.token, sink);
        if masks.digit != 0 {
            self.digits(at, block, masks.digit, sink);
        }
        if masks.at != 0 && self.wanted.at {
            each(masks.at, |bit| sink.at(at + bit));
        }
        if masks.odd != 0 && self.wanted.odd {
            sink.odd(at, block, masks.odd);
        }
        if self.wanted.odd && masks.quote | masks.slash | self.is_escaped != 0 {
            let escaped = self.escaped(masks.slash);
            sink.quotes(at, masks.quote & !escaped);
        }
    }

    /// The bytes of a block that a backslash stands before which is not itself one of two.
    #[inline(always)]
    fn escaped(&mut self, slash: u64) -> u64 {
        const EVEN: u64 = 0x5555_5555_5555_5555;
        // A row of backslashes from an odd place on, added to itself, carries into the place behind it.
        let slash = slash & !self.is_escaped;
        let behind = slash << 1 | self.is_escaped;
        let (ends, is_escaped) = (slash & !EVEN & !behind).overflowing_add(slash);
        self.is_escaped = u64::from(is_escaped);
        (EVEN ^ ends << 1) & behind
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
    fn digits(&mut self, at: usize, block: &[u8; BLOCK], digit: u64, sink: &mut impl Sink) {
        for (kind, (of, open)) in Kind::ALL.into_iter().zip(self.wanted.digits.iter().zip(&mut self.clusters))
        {
            if of.least == usize::MAX {
                continue;
            }
            let breaks = vector::members(&of.breaks, block);
            let mut rest = digit;
            while rest != 0 {
                let first = rest.trailing_zeros() as usize;
                let length = (rest >> first).trailing_ones() as usize;
                let last = first + length;
                rest = if last >= BLOCK { 0 } else { rest & (u64::MAX << last) };
                let (start, end) = (at + first, at + last);
                if let Some(cluster) = open {
                    let is_near = start - cluster.end <= of.gap;
                    let between = breaks & !(u64::MAX << first);
                    let goes_on = is_near
                        && match cluster.end.checked_sub(at) {
                            Some(end) => between >> end == 0,
                            None => between == 0 && !of.breaks.has_any(&self.text[cluster.end..at]),
                        };
                    if goes_on {
                        cluster.end = end;
                        cluster.count += length;
                        continue;
                    }
                    cluster.tell(kind, of, sink);
                }
                *open = Some(Cluster { start, end, count: length });
            }
        }
    }

    fn end(&mut self, sink: &mut impl Sink) {
        // The last block is padded with bytes of no kind, unless the text fills it.
        if let Some(start) = self.run.take().filter(|start| self.text.len() - start >= RUN) {
            sink.run(start..self.text.len());
        }
        for (kind, (of, open)) in Kind::ALL.into_iter().zip(self.wanted.digits.iter().zip(&mut self.clusters))
        {
            if let Some(cluster) = open.take() {
                cluster.tell(kind, of, sink);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::trigger::clusters::GAP;

    #[derive(Debug, Default, PartialEq, Eq)]
    struct Seen {
        runs: Vec<Range<usize>>,
        clusters: [Vec<(Range<usize>, usize)>; 2],
        ats: Vec<usize>,
        odd: Vec<usize>,
        quotes: Vec<usize>,
    }

    impl Sink for Seen {
        fn run(&mut self, run: Range<usize>) {
            self.runs.push(run);
        }

        fn digits(&mut self, kind: Kind, cluster: Range<usize>, count: usize) {
            self.clusters[kind as usize].push((cluster, count));
        }

        fn at(&mut self, at: usize) {
            self.ats.push(at);
        }

        fn odd(&mut self, at: usize, _: &[u8; BLOCK], mask: u64) {
            each(mask, |bit| self.odd.push(at + bit));
        }

        fn quotes(&mut self, at: usize, mask: u64) {
            each(mask, |bit| self.quotes.push(at + bit));
        }
    }

    fn wanted(digits: usize) -> Wanted {
        let of = |signs: &[u8], span: usize| {
            let mut breaks = Box::new([false; 256]);
            for sign in signs {
                breaks[usize::from(*sign)] = true;
            }
            Digits { least: digits, span, gap: GAP, breaks: Class::new(breaks) }
        };
        let mut letters: Vec<u8> = (b'a'..=b'z').collect();
        letters.extend(0x80..=u8::MAX);
        Wanted { digits: [of(b"\"[]{}", 0), of(&letters, 3)], at: true, odd: true }
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
        let wanted = wanted(digits);
        for (at, byte) in bytes.iter().enumerate() {
            if *byte == b'@' {
                seen.ats.push(at);
            }
            if matches!(byte, b'\\' | b'%' | 0x80..) {
                seen.odd.push(at);
            }
        }
        let slashes = |at: usize| bytes[..at].iter().rev().take_while(|&&byte| byte == b'\\').count();
        seen.quotes = (0..bytes.len()).filter(|&at| bytes[at] == b'"' && slashes(at) % 2 == 0).collect();
        seen.clusters = wanted.digits.each_ref().map(|of| clusters(bytes, of));
        seen
    }

    fn clusters(bytes: &[u8], of: &Digits) -> Vec<(Range<usize>, usize)> {
        let mut all: Vec<(Range<usize>, usize)> = Vec::new();
        for at in (0..bytes.len()).filter(|&at| bytes[at].is_ascii_digit()) {
            match all.last_mut() {
                Some((range, count))
                    if at - range.end <= of.gap
                        && bytes[range.end..at].iter().all(|&b| !of.breaks.has(b)) =>
                {
                    (range.end, *count) = (at + 1, *count + 1);
                }
                _ => all.push((at..at + 1, 1)),
            }
        }
        all.retain(|(range, count)| *count >= of.least && range.len() >= of.span);
        all
    }

    #[test]
    fn digits_in_groups_are_one_cluster() {
        assert_eq!(seen("pay 4111 1111 1111 1111 now", 12).clusters[0], [(4..23, 16)]);
        assert_eq!(seen("1 2 3", 4).clusters[0], []);
        assert_eq!(seen("a 1-23-4 and then, far away, 567", 3).clusters[0], [(2..8, 4), (29..32, 3)]);
        assert_eq!(seen(r#"["12","34"]"#, 3).clusters[0], []);
        let far = format!("{}12345678", ".".repeat(1_000));
        assert_eq!(seen(&far, 8).clusters[0], [(1_000..1_008, 8)]);
    }

    proptest! {
        #[test]
        fn blocks_tell_what_single_bytes_tell(
            parts in prop::collection::vec(prop_oneof![
                "[a-zA-Z0-9+/_-]{0,90}", "[0-9 .\"-]{0,60}", "[\\\\\"]{0,90}", "[@%\\\\é.,;`/:\\[{}~^\\]!]{0,40}", ".{0,20}",
            ], 0..6),
            digits in 1..6_usize,
        ) {
            let text = parts.concat();
            prop_assert_eq!(seen(&text, digits), plainly(&text, digits));
        }
    }
}
