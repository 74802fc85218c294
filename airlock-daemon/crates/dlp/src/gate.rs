//! The gate: one pass over a text that finds where any of many literals stands.
//!
//! Literals are found by their trigrams: a table of bits says whether a trigram begins or continues any
//! literal. Each literal is entered with two neighbouring trigrams, so that the pass looks at every second
//! position only.

#[cfg(test)]
use crate::trigger;
use crate::vector::{FINGER, Fingers};

/// The bits of the table of trigrams, as a power of two: 32 KiB, which stay in the nearest cache.
const BITS: u32 = 18;

/// Bit 5 of three bytes: letters become lower case.
const FOLD: u32 = 0x0020_2020;

/// The length of the shortest literals, in bytes.
const SHORT: usize = 3;

/// The bits of the table of the trigrams of the shortest, as a power of two.
const SHORT_BITS: u32 = 13;

/// The beginnings of literals that vectors tell apart well enough.
const FINGERS: usize = 256;

/// Texts as short as this are passed over byte by byte.
const BLOCK: usize = 32;

/// Literals, and the pass that finds them.
#[derive(Debug)]
pub(crate) struct Gate {
    bits: Box<[u64]>,
    /// The trigrams of literals that have one only.
    short: Box<[u64]>,
    /// Sorted by trigram.
    entries: Vec<Entry>,
    /// Where the entries of a hash of twelve bits begin.
    buckets: Box<[u32]>,
    literals: Vec<Box<[u8]>>,
    /// The first bytes of literals, unless there are so many that vectors tell too little of them.
    fingers: Option<Fingers>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    bucket: u32,
    trigram: u32,
    literal: u32,
    offset: u8,
}

/// The bits of the hash that finds the entries of a trigram.
const BUCKET_BITS: u32 = 12;

impl Gate {
    /// Takes literals whose bytes are folded, each of three bytes or more.
    pub(crate) fn new(literals: Vec<Box<[u8]>>) -> Self {
        let mut bits = vec![0_u64; (1 << BITS) / 64].into_boxed_slice();
        let mut short = vec![0_u64; (1 << SHORT_BITS) / 64].into_boxed_slice();
        let mut entries = Vec::new();
        for (literal, bytes) in (0..).zip(&literals) {
            for (offset, trigram) in trigrams(bytes) {
                let bit = bit_of(trigram, BITS);
                bits[bit / 64] |= 1 << (bit % 64);
                entries.push(Entry { bucket: bucket_of(trigram), trigram, literal, offset });
                if bytes.len() == SHORT {
                    let bit = bit_of(trigram, SHORT_BITS);
                    short[bit / 64] |= 1 << (bit % 64);
                }
            }
        }
        entries.sort_unstable();
        entries.dedup();
        let mut buckets = vec![0_u32; (1 << BUCKET_BITS) + 1].into_boxed_slice();
        for entry in &entries {
            buckets[entry.bucket as usize + 1] += 1;
        }
        for bucket in 1..buckets.len() {
            buckets[bucket] += buckets[bucket - 1];
        }
        let mut firsts: Vec<_> =
            literals.iter().map(|literal| &literal[..literal.len().min(FINGER)]).collect();
        firsts.sort_unstable();
        firsts.dedup();
        let fingers = (firsts.len() <= FINGERS).then(|| Fingers::new(&literals));
        Self { bits, short, entries, buckets, literals, fingers }
    }

    /// The length of a literal, in bytes.
    pub(crate) fn length(&self, literal: u32) -> usize {
        self.literals[literal as usize].len()
    }

    /// Tells of each literal in a text, with the place where it begins.
    pub(crate) fn literals(&self, text: &[u8], mut found: impl FnMut(u32, usize)) {
        if let Some(fingers) = &self.fingers
            && text.len() >= BLOCK
            && fingers.find(text, |at| self.finger(text, at, &mut found))
        {
            return;
        }
        let mut at = 0;
        while let Some(&[a, b, c, d]) = text.get(at..at + 4) {
            let word = u32::from_le_bytes([a, b, c, d]);
            let (even, odd) = (word & 0x00FF_FFFF | FOLD, word >> 8 | FOLD);
            let bit = bit_of(even, BITS);
            if self.bits[bit / 64] & (1 << (bit % 64)) != 0 {
                self.candidates(text, at, even, &mut found);
            }
            let bit = bit_of(odd, SHORT_BITS);
            if self.short[bit / 64] & (1 << (bit % 64)) != 0 {
                self.short_ones(text, at + 1, odd, &mut found);
            }
            at += 2;
        }
        // Three bytes may be left that no word of four has shown.
        if let &[a, b, c] = text.get(at..).unwrap_or_default() {
            self.candidates(text, at, u32::from_le_bytes([a, b, c, 0]) | FOLD, &mut found);
        }
    }

    /// Looks for literals that begin at a place.
    #[inline]
    fn finger(&self, text: &[u8], at: usize, found: &mut impl FnMut(u32, usize)) {
        let Some(&[a, b, c]) = text.get(at..at + SHORT) else { return };
        let trigram = u32::from_le_bytes([a, b, c, 0]) | FOLD;
        let bit = bit_of(trigram, BITS);
        if self.bits[bit / 64] & (1 << (bit % 64)) != 0 {
            self.candidates(text, at, trigram, &mut |literal, start| {
                if start == at {
                    found(literal, start);
                }
            });
        }
    }

    /// Literals of three bytes have one trigram, and are looked for at odd places by a table of their own.
    fn short_ones(&self, text: &[u8], at: usize, trigram: u32, found: &mut impl FnMut(u32, usize)) {
        self.candidates(text, at, trigram, &mut |literal, start| {
            if self.literals[literal as usize].len() == SHORT && start == at {
                found(literal, start);
            }
        });
    }

    #[inline(never)]
    fn candidates(&self, text: &[u8], at: usize, trigram: u32, found: &mut impl FnMut(u32, usize)) {
        let bucket = bucket_of(trigram) as usize;
        let entries = &self.entries[self.buckets[bucket] as usize..self.buckets[bucket + 1] as usize];
        for entry in entries.iter().filter(|entry| entry.trigram == trigram) {
            let Some(start) = at.checked_sub(usize::from(entry.offset)) else { continue };
            let literal = &self.literals[entry.literal as usize];
            let stands = text.get(start..start + literal.len());
            if stands
                .is_some_and(|stands| stands.iter().zip(literal).all(|(byte, folded)| byte | 0x20 == *folded))
            {
                found(entry.literal, start);
            }
        }
    }
}

/// The trigrams by which a literal is found at even and at odd places, with their offsets in it.
fn trigrams(literal: &[u8]) -> Vec<(u8, u32)> {
    let trigram = |a: u8, b: u8, c: u8| u32::from_le_bytes([a, b, c, 0]) | FOLD;
    let mut all = vec![(0, trigram(literal[0], literal[1], literal[2]))];
    all.extend(literal.get(3).map(|&fourth| (1, trigram(literal[1], literal[2], fourth))));
    all
}

fn bit_of(trigram: u32, bits: u32) -> usize {
    (trigram.wrapping_mul(0x9E37_79B1) >> (32 - bits)) as usize
}

fn bucket_of(trigram: u32) -> u32 {
    trigram.wrapping_mul(0x85EB_CA6B) >> (32 - BUCKET_BITS)
}

/// The folded form in which literals are given.
#[cfg(test)]
pub(crate) fn folded(word: &str) -> Box<[u8]> {
    trigger::fold(word.as_bytes())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn places(gate: &Gate, text: &str) -> Vec<(u32, usize)> {
        let mut all = Vec::new();
        gate.literals(text.as_bytes(), |literal, at| all.push((literal, at)));
        all.sort_unstable();
        all
    }

    #[test]
    fn literals_are_found_at_every_place_and_in_any_case() {
        let gate = Gate::new(vec![folded("ghp_"), folded("sk-"), folded("password")]);
        for before in 0..9 {
            for after in 0..5 {
                let wrap = |word: &str| format!("{}{word}{}", ".".repeat(before), ".".repeat(after));
                assert_eq!(places(&gate, &wrap("ghp_")), [(0, before)], "{before} {after}");
                assert_eq!(places(&gate, &wrap("sk-")), [(1, before)], "{before} {after}");
                assert_eq!(places(&gate, &wrap("PassWord")), [(2, before)], "{before} {after}");
            }
        }
    }

    proptest! {
        #[test]
        fn the_gate_finds_what_a_plain_search_finds(
            words in proptest::collection::vec("[a-c]{3,5}", 1..4),
            text in "[a-cA-C]{0,200}",
        ) {
            let gate = Gate::new(words.iter().map(|word| folded(word)).collect());
            let lower = text.to_ascii_lowercase();
            let mut plain = Vec::new();
            for (literal, word) in (0..).zip(&words) {
                for at in 0..text.len() {
                    if lower[at..].starts_with(word.as_str()) {
                        plain.push((literal, at));
                    }
                }
            }
            plain.sort_unstable();
            let mut found = places(&gate, &text);
            found.dedup();
            prop_assert_eq!(found, plain);
        }
    }
}
