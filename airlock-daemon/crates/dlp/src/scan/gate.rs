//! The gate: one pass over a text that finds where any of many literals stands.
//!
//! Literals are found by their fingers. Vectors say where one may be, a table of bits which of those places
//! are worth a look, and the entries of its bytes which literals they are.

use crate::scan::fingers::{Finger, Fingers, OWN};
use crate::scan::vector;
use crate::set::Set;
#[cfg(test)]
use crate::trigger::literals::fold;

/// The bits of the table of fingers, as a power of two: 32 KiB, which stay in the nearest cache.
const BITS: u32 = 18;

/// Bit 5 of four bytes: letters become lower case.
const FOLD: u32 = 0x2020_2020;

/// The bytes of a finger that are of its literal.
const OWN_BYTES: u32 = 0x00FF_FFFF;

/// The fingers that vectors tell apart well enough.
const FINGERS: usize = 1 << 10;

/// Texts as short as this are passed over byte by byte.
const BLOCK: usize = 32;

/// Literals, and the pass that finds them.
#[derive(Debug)]
pub(crate) struct Gate {
    bits: Box<[u64]>,
    /// Sorted by key.
    entries: Vec<Entry>,
    /// Where the entries of a hash of twelve bits begin.
    buckets: Box<[u32]>,
    literals: Vec<Literal>,
    /// Nothing where there are so many that vectors tell too little of them.
    fingers: Option<Fingers>,
}

#[derive(Debug)]
struct Literal {
    /// Folded.
    bytes: Box<[u8]>,
    /// By byte: the bits that are set in what is compared with it.
    folds: Box<[u8]>,
    /// As `bytes`, folded only where the literal may be of either case.
    exact: Box<[u8]>,
}

impl Literal {
    fn new(bytes: Box<[u8]>, own: &[Set]) -> Self {
        let (folds, exact) = own
            .iter()
            .zip(&bytes)
            .map(|(set, &folded)| {
                let mut own = set.bytes();
                match (own.next(), own.next()) {
                    (Some(only), None) => (0, only),
                    _ => (0x20, folded),
                }
            })
            .unzip::<u8, u8, Vec<u8>, Vec<u8>>();
        Self { bytes, folds: folds.into(), exact: exact.into() }
    }

    fn stands(&self, text: &[u8], at: usize) -> bool {
        let stands = text.get(at..at + self.exact.len());
        let is_of = |((byte, fold), exact): ((&u8, &u8), &u8)| byte | fold == *exact;
        stands.is_some_and(|stands| stands.iter().zip(&self.folds).zip(&self.exact).all(is_of))
    }

    fn stands_folded(&self, text: &[u8], at: usize) -> bool {
        let stands = text.get(at..at + self.bytes.len());
        stands
            .is_some_and(|stands| stands.iter().zip(&self.bytes).all(|(byte, folded)| byte | 0x20 == *folded))
    }
}

/// A literal as it is looked for.
pub(crate) struct Sought {
    /// Its bytes folded, three or more.
    pub(crate) folded: Box<[u8]>,
    /// By place: the bytes that it can have.
    pub(crate) own: Vec<Set>,
    /// The bytes that can stand behind it.
    pub(crate) next: Set,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    bucket: u32,
    /// The bytes of its finger that are of the literal, folded; the last is 0 where it is not.
    key: u32,
    literal: u32,
    /// The place of the finger in the literal.
    offset: u32,
}

/// The bits of the hash that finds the entries of a key.
const BUCKET_BITS: u32 = 12;

impl Gate {
    pub(crate) fn new(all: Vec<Sought>) -> Self {
        let fingers: Vec<Finger> = all.iter().map(|of| Finger::of(&of.own, &of.next)).collect();
        let mut bits = vec![0_u64; (1 << BITS) / 64].into_boxed_slice();
        let mut entries = Vec::new();
        for (literal, (finger, of)) in (0..).zip(fingers.iter().zip(&all)) {
            let own = &of.folded[finger.offset..finger.offset + OWN];
            let trigram = u32::from_le_bytes([own[0], own[1], own[2], 0]);
            for last in finger.bytes[OWN].bytes() {
                let bit = bit_of(trigram | u32::from(last) << 24 | FOLD);
                bits[bit / 64] |= 1 << (bit % 64);
            }
            let offset = u32::try_from(finger.offset).unwrap_or(0);
            let last = of.folded.get(finger.offset + OWN).copied().unwrap_or(0);
            let key = trigram | u32::from(last) << 24;
            entries.push(Entry { bucket: bucket_of(key), key, literal, offset });
        }
        entries.sort_unstable();
        let mut buckets = vec![0_u32; (1 << BUCKET_BITS) + 1].into_boxed_slice();
        for entry in &entries {
            buckets[entry.bucket as usize + 1] += 1;
        }
        for bucket in 1..buckets.len() {
            buckets[bucket] += buckets[bucket - 1];
        }
        let fingers = (fingers.len() <= FINGERS).then(|| Fingers::new(&fingers));
        let literals = all.into_iter().map(|of| Literal::new(of.folded, &of.own)).collect();
        Self { bits, entries, buckets, literals, fingers }
    }

    /// The length of a literal, in bytes.
    pub(crate) fn length(&self, literal: u32) -> usize {
        self.literals[literal as usize].bytes.len()
    }

    /// Tells of each literal in a text, with the place where it begins.
    pub(crate) fn literals(&self, text: &[u8], mut found: impl FnMut(u32, usize)) {
        if let Some(fingers) = &self.fingers
            && text.len() >= BLOCK
            && vector::fingers(fingers, text, |at| self.finger(text, at, &mut found))
        {
            return;
        }
        for at in 0..(text.len() + 1).saturating_sub(OWN) {
            self.finger(text, at, &mut found);
        }
    }

    /// Looks for literals whose finger is at a place.
    #[inline]
    fn finger(&self, text: &[u8], at: usize, found: &mut impl FnMut(u32, usize)) {
        let Some(word) = word_at(text, at) else { return };
        let bit = bit_of(word);
        if self.bits[bit / 64] & (1 << (bit % 64)) != 0 {
            self.candidates(text, at, word, found);
        }
    }

    #[inline(never)]
    fn candidates(&self, text: &[u8], at: usize, word: u32, found: &mut impl FnMut(u32, usize)) {
        for entry in self.entries_of(word) {
            let start = at.checked_sub(entry.offset as usize);
            if let Some(start) = start
                && self.literals[entry.literal as usize].stands(text, start)
            {
                found(entry.literal, start);
            }
        }
    }

    /// The entries of four folded bytes, and those of the first three.
    fn entries_of(&self, word: u32) -> impl Iterator<Item = &Entry> {
        [word, word & OWN_BYTES].into_iter().flat_map(move |key| {
            let bucket = bucket_of(key) as usize;
            let entries = &self.entries[self.buckets[bucket] as usize..self.buckets[bucket + 1] as usize];
            entries.iter().filter(move |entry| entry.key == key)
        })
    }

    /// Answers whether a short text has a literal, in any case and whatever stands behind it.
    pub(crate) fn has(&self, text: &[u8]) -> bool {
        (0..text.len()).any(|at| {
            let Some(word) = word_at(text, at) else { return false };
            let stands = |entry: &Entry| {
                let start = at.checked_sub(entry.offset as usize);
                start.is_some_and(|start| self.literals[entry.literal as usize].stands_folded(text, start))
            };
            self.entries_of(word).any(stands)
        })
    }
}

/// Reads four bytes of a text, folded, of which the last may be missing.
#[inline]
fn word_at(text: &[u8], at: usize) -> Option<u32> {
    let bytes = match *text.get(at..)? {
        [a, b, c, d, ..] => [a, b, c, d],
        [a, b, c] => [a, b, c, 0],
        _ => return None,
    };
    Some(u32::from_le_bytes(bytes) | FOLD)
}

fn bit_of(finger: u32) -> usize {
    (finger.wrapping_mul(0x9E37_79B1) >> (32 - BITS)) as usize
}

fn bucket_of(key: u32) -> u32 {
    key.wrapping_mul(0x85EB_CA6B) >> (32 - BUCKET_BITS)
}

/// The folded form in which literals are given.
#[cfg(test)]
pub(crate) fn folded(word: &str) -> Box<[u8]> {
    fold(word.as_bytes())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sought(word: &str) -> Sought {
        let folded = folded(word);
        let own = folded.iter().map(|&folded| Set::of(|byte| byte | 0x20 == folded)).collect();
        Sought { folded, own, next: Set::ALL }
    }

    fn places(gate: &Gate, text: &str) -> Vec<(u32, usize)> {
        let mut all = Vec::new();
        gate.literals(text.as_bytes(), |literal, at| all.push((literal, at)));
        all.sort_unstable();
        all
    }

    #[test]
    fn literals_are_found_at_every_place_and_in_any_case() {
        let words = ["ghp_", "sk-", "password"];
        let gate = Gate::new(words.map(sought).into());
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
            let gate = Gate::new(words.iter().map(|word| sought(word)).collect());
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
