//! Marks: the blocks of a message in which anything can begin or end that is to be looked at.

use std::ops::Range;

/// Bytes of a block.
const BLOCK: usize = 16;

/// One bit a block.
#[derive(Debug)]
pub(crate) struct Marks {
    bits: Vec<u64>,
}

impl Marks {
    pub(crate) fn new(bytes: usize) -> Self {
        Self { bits: vec![0; bytes / (BLOCK * 64) + 1] }
    }

    pub(crate) fn set(&mut self, at: usize) {
        let block = at / BLOCK;
        self.bits[block / 64] |= 1 << (block % 64);
    }

    pub(crate) fn set_all(&mut self, range: &Range<usize>) {
        for block in range.start / BLOCK..=range.end.saturating_sub(1) / BLOCK {
            self.set(block * BLOCK);
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bits.iter().all(|&bits| bits == 0)
    }

    /// Answers whether a block that a range touches is marked.
    pub(crate) fn touch(&self, range: &Range<usize>) -> bool {
        let (first, last) = (range.start / BLOCK, range.end / BLOCK);
        (first / 64..=last / 64).any(|word| {
            let from = if word == first / 64 { first % 64 } else { 0 };
            let to = if word == last / 64 { last % 64 } else { 63 };
            let mask = (u64::MAX << from) & (u64::MAX >> (63 - to));
            self.bits.get(word).is_some_and(|bits| bits & mask != 0)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_touches_the_marks_in_it_and_no_other() {
        let mut marks = Marks::new(100_000);
        marks.set(5_000);
        marks.set_all(&(8_000..8_200));
        for (range, is_touched) in [
            (0..4_900, false),
            (4_000..6_000, true),
            (5_001..5_005, true),
            (5_010..5_020, false),
            (5_060..7_000, false),
            (0..99_999, true),
            (8_100..8_110, true),
            (8_300..99_999, false),
        ] {
            assert_eq!(marks.touch(&range), is_touched, "{range:?}");
        }
    }
}
