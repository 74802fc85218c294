//! Vectors: the classes of 64 bytes at once, by instructions that not every processor has.
#![allow(clippy::inline_always, reason = "what is done with each block belongs into the loop over vectors")]
#![allow(unsafe_code, reason = "a processor is asked for AVX2 before instructions of AVX2 run")]

use crate::classes::{BLOCK, Masks, VALUES, each, is_token};

/// Calls with each block of a text, its place and its classes. The last block is padded with zeros.
#[inline(always)]
pub(crate) fn masks(text: &[u8], mut found: impl FnMut(usize, &[u8; BLOCK], Masks)) {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has AVX2.
        unsafe { avx2::masks(text, &mut found) };
        return;
    }
    blocks(text, |at, block| found(at, block, plain(block)));
}

/// Calls with each place of a run of base64 at which three groups of four characters may stand for printable
/// ASCII.
///
/// The first byte of a group is below 128 and not a control character if its first character has a value from
/// 8 to 31; the second and third are below 128 if one bit of the second and of the third character is not
/// set.
pub(crate) fn groups(run: &[u8], mut found: impl FnMut(usize)) {
    #[cfg(target_arch = "x86_64")]
    let has_avx2 = std::arch::is_x86_feature_detected!("avx2");
    let mut last = [0; BLOCK];
    // The fourth character of the third group must stand as well.
    let end = (run.len() + 1).saturating_sub(3 * 4);
    for at in (0..end).step_by(STEP) {
        let block = if let Some(block) = run[at..].first_chunk::<BLOCK>() {
            block
        } else {
            last.fill(0);
            last[..run.len() - at].copy_from_slice(&run[at..]);
            &last
        };
        #[cfg(target_arch = "x86_64")]
        let places = if has_avx2 {
            // SAFETY: the processor has AVX2.
            unsafe { avx2::places(block) }
        } else {
            plain_places(block)
        };
        #[cfg(not(target_arch = "x86_64"))]
        let places = plain_places(block);
        let [first, second, third] = places;
        let group = first & second >> 1 & third >> 2;
        each(group & group >> 4 & group >> 8 & (u64::MAX >> (BLOCK - STEP)), |bit| {
            if at + bit < end {
                found(at + bit);
            }
        });
    }
}

/// The places of a block at which three groups are whole, in steps that every block is read in.
const STEP: usize = 48;

/// By character: it can be the first, second, third of a group that stands for printable ASCII, as bits.
static PLACES: [u8; 256] = {
    let mut places = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let value = VALUES[byte];
        if value < 64 {
            places[byte] = (value >= 8 && value < 32) as u8
                | ((value & 8 == 0) as u8) << 1
                | ((value & 2 == 0) as u8) << 2;
        }
        byte += 1;
    }
    places
};

fn plain_places(block: &[u8; BLOCK]) -> [u64; 3] {
    let mut places = [0; 3];
    for (bit, &byte) in block.iter().enumerate() {
        let of = u64::from(PLACES[usize::from(byte)]);
        for (number, place) in places.iter_mut().enumerate() {
            *place |= (of >> number & 1) << bit;
        }
    }
    places
}

/// The buckets that literals are sorted into, one bit each, in two bytes.
const BUCKETS: usize = 16;

/// The first bytes of literals by which they are told.
pub(crate) const FINGER: usize = 4;

/// By place among the first bytes of a literal, and by the lower and the upper four bits of a byte: the
/// buckets that have a literal with such a byte there (the algorithm Teddy).
#[derive(Debug, Default)]
pub(crate) struct Fingers {
    low: Half,
    high: Half,
}

/// Eight of the buckets.
#[derive(Debug, Default)]
struct Half {
    lower: [[i8; 16]; FINGER],
    upper: [[i8; 16]; FINGER],
}

impl Fingers {
    /// Takes literals in order, folded, each of three bytes or more.
    pub(crate) fn new(literals: &[Box<[u8]>]) -> Self {
        let mut fingers = Self::default();
        let (short, mut long): (Vec<_>, Vec<_>) = literals
            .iter()
            .map(|literal| &literal[..literal.len().min(FINGER)])
            .partition(|of| of.len() < FINGER);
        long.dedup();
        // Those that are short say nothing of the last place: they are alone in a bucket.
        let others = BUCKETS - usize::from(!short.is_empty());
        let size = long.len().div_ceil(others).max(1);
        for (bucket, all) in long.chunks(size).enumerate() {
            for literal in all {
                fingers.add(bucket, literal);
            }
        }
        for literal in short {
            fingers.add(BUCKETS - 1, literal);
        }
        fingers
    }

    fn add(&mut self, bucket: usize, literal: &[u8]) {
        let half = if bucket < 8 { &mut self.low } else { &mut self.high };
        let bit = 1 << (bucket % 8);
        for (place, (lower, upper)) in half.lower.iter_mut().zip(&mut half.upper).enumerate() {
            let Some(&byte) = literal.get(place) else {
                lower.iter_mut().chain(upper).for_each(|of| *of |= bit);
                continue;
            };
            for byte in [byte, byte & !0x20] {
                lower[usize::from(byte & 15)] |= bit;
                upper[usize::from(byte >> 4)] |= bit;
            }
        }
    }

    /// Calls with each place at which one of the literals may begin, and answers true; or answers false where
    /// the processor has no vectors for it.
    #[inline(always)]
    pub(crate) fn find(&self, text: &[u8], mut found: impl FnMut(usize)) -> bool {
        #[cfg(target_arch = "x86_64")]
        if std::arch::is_x86_feature_detected!("avx2") {
            // SAFETY: the processor has AVX2.
            unsafe { avx2::fingers(self, text, &mut found) };
            return true;
        }
        let _ = (text, &mut found);
        false
    }
}

/// Cuts a text into blocks.
#[inline(always)]
fn blocks(text: &[u8], mut found: impl FnMut(usize, &[u8; BLOCK])) {
    let (blocks, rest) = text.as_chunks::<BLOCK>();
    for (number, block) in blocks.iter().enumerate() {
        found(number * BLOCK, block);
    }
    if !rest.is_empty() {
        let mut last = [0; BLOCK];
        last[..rest.len()].copy_from_slice(rest);
        found(blocks.len() * BLOCK, &last);
    }
}

/// The classes of single bytes, as bits.
static CLASSES: [u8; 256] = {
    let mut classes = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        #[expect(clippy::cast_possible_truncation, reason = "it is below 256")]
        let of = byte as u8;
        classes[byte] = of.is_ascii_digit() as u8
            | (is_token(of) as u8) << 1
            | ((of == b'@') as u8) << 2
            | (matches!(of, b'\\' | b'%' | 0x80..) as u8) << 3;
        byte += 1;
    }
    classes
};

fn plain(block: &[u8; BLOCK]) -> Masks {
    let mut masks = Masks::default();
    for (bit, &byte) in block.iter().enumerate() {
        let class = u64::from(CLASSES[usize::from(byte)]);
        masks.digit |= (class & 1) << bit;
        masks.token |= (class >> 1 & 1) << bit;
        masks.at |= (class >> 2 & 1) << bit;
        masks.odd |= (class >> 3 & 1) << bit;
    }
    masks
}

#[cfg(target_arch = "x86_64")]
mod avx2 {
    use std::arch::x86_64::{
        __m256i, _mm_loadu_si128, _mm256_and_si256, _mm256_broadcastsi128_si256, _mm256_cmpeq_epi8,
        _mm256_cmpgt_epi8, _mm256_loadu_si256, _mm256_movemask_epi8, _mm256_or_si256, _mm256_set1_epi8,
        _mm256_setzero_si256, _mm256_shuffle_epi8, _mm256_slli_epi16, _mm256_srli_epi16,
    };

    use super::{BLOCK, FINGER, Fingers, Masks, blocks, each};

    #[target_feature(enable = "avx2")]
    pub(super) fn masks(text: &[u8], found: &mut impl FnMut(usize, &[u8; BLOCK], Masks)) {
        blocks(text, |at, block| found(at, block, of_block(block)));
    }

    /// By the lower four bits of a byte: the rows of the table of ASCII, of 16 characters each, in which such
    /// a byte is of the class. Bits 0 to 5 are the rows 2 to 7 of tokens, where row 3 has the digits alone;
    /// bit 6 is the percent sign, bit 7 the backslash.
    const LOWER: [i8; 16] = {
        let mut lower = [0_i8; 16];
        let mut byte = 0_u8;
        while byte < 128 {
            if super::is_token(byte) {
                lower[(byte & 15) as usize] |= 1 << ((byte >> 4) - 2);
            }
            byte += 1;
        }
        lower[(b'%' & 15) as usize] |= 1 << 6;
        lower[(b'\\' & 15) as usize] |= i8::MIN;
        lower
    };

    /// By the upper four bits of a byte: its row, by the bits above.
    const UPPER: [i8; 16] =
        [0, 0, 1 | 1 << 6, 1 << 1, 1 << 2, 1 << 3 | i8::MIN, 1 << 4, 1 << 5, 0, 0, 0, 0, 0, 0, 0, 0];

    #[target_feature(enable = "avx2")]
    #[inline]
    fn table(of: &[i8; 16]) -> __m256i {
        // SAFETY: the load reads the 16 bytes of the array, at any alignment.
        _mm256_broadcastsi128_si256(unsafe { _mm_loadu_si128(of.as_ptr().cast()) })
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    fn of_block(block: &[u8; BLOCK]) -> Masks {
        let (halves, _) = block.as_chunks::<32>();
        let (low, high) = (of_half(&halves[0]), of_half(&halves[1]));
        let join = |low: u32, high: u32| u64::from(low) | u64::from(high) << 32;
        Masks {
            digit: join(low[0], high[0]),
            token: join(low[1], high[1]),
            at: join(low[2], high[2]),
            odd: join(low[3], high[3]),
        }
    }

    #[target_feature(enable = "avx2")]
    pub(super) fn fingers(of: &Fingers, text: &[u8], found: &mut impl FnMut(usize)) {
        let mut at = 0;
        while let Some(window) = text[at..].first_chunk::<WINDOW>() {
            each(of_window(of, window), |bit| found(at + bit));
            at += BLOCK;
        }
        // The rest is padded with zeros, which begin no literal and end none.
        let mut last = [0; 2 * WINDOW];
        let rest = &text[at..];
        last[..rest.len()].copy_from_slice(rest);
        for start in (0..rest.len()).step_by(BLOCK) {
            if let Some(window) = last[start..].first_chunk::<WINDOW>() {
                each(of_window(of, window), |bit| {
                    if start + bit < rest.len() {
                        found(at + start + bit);
                    }
                });
            }
        }
    }

    /// The bytes that the places of a block are told by.
    const WINDOW: usize = BLOCK + FINGER;

    #[target_feature(enable = "avx2")]
    #[inline]
    fn of_window(of: &Fingers, window: &[u8; WINDOW]) -> u64 {
        let low = of_half_window(of, &window[..32 + FINGER]);
        let high = of_half_window(of, &window[32..]);
        u64::from(low) | u64::from(high) << 32
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    fn of_half_window(of: &Fingers, window: &[u8]) -> u32 {
        let nibble = _mm256_set1_epi8(15);
        let (mut low, mut high) = (_mm256_set1_epi8(-1), _mm256_set1_epi8(-1));
        for place in 0..FINGER {
            let Some(bytes) = window[place..].first_chunk::<32>() else { return u32::MAX };
            // SAFETY: the load reads the 32 bytes of the array, at any alignment.
            let bytes = unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) };
            let lower = _mm256_and_si256(bytes, nibble);
            let upper = _mm256_and_si256(_mm256_srli_epi16(bytes, 4), nibble);
            for (half, buckets) in [(&of.low, &mut low), (&of.high, &mut high)] {
                let lower = _mm256_shuffle_epi8(table(&half.lower[place]), lower);
                let upper = _mm256_shuffle_epi8(table(&half.upper[place]), upper);
                *buckets = _mm256_and_si256(*buckets, _mm256_and_si256(lower, upper));
            }
        }
        let none = _mm256_cmpeq_epi8(_mm256_or_si256(low, high), _mm256_setzero_si256());
        !_mm256_movemask_epi8(none).cast_unsigned()
    }

    /// By place in a group, and by the lower four bits of a character: the rows in which such a character can
    /// stand at the place.
    const PLACES: [[i8; 16]; 3] = {
        let mut places = [[0_i8; 16]; 3];
        let mut byte = 0_u8;
        while byte < 128 {
            let mut place = 0;
            while place < 3 {
                if super::PLACES[byte as usize] >> place & 1 == 1 {
                    places[place][(byte & 15) as usize] |= 1 << ((byte >> 4) - 2);
                }
                place += 1;
            }
            byte += 1;
        }
        places
    };

    /// By the upper four bits of a byte: its row.
    const ROWS: [i8; 16] = [0, 0, 1, 1 << 1, 1 << 2, 1 << 3, 1 << 4, 1 << 5, 0, 0, 0, 0, 0, 0, 0, 0];

    #[target_feature(enable = "avx2")]
    pub(super) fn places(block: &[u8; BLOCK]) -> [u64; 3] {
        let (halves, _) = block.as_chunks::<32>();
        let [low, high] = [&halves[0], &halves[1]].map(|half| {
            // SAFETY: the load reads the 32 bytes of the array, at any alignment.
            let bytes = unsafe { _mm256_loadu_si256(half.as_ptr().cast()) };
            let nibble = _mm256_set1_epi8(15);
            let lower = _mm256_and_si256(bytes, nibble);
            let row = _mm256_and_si256(_mm256_srli_epi16(bytes, 4), nibble);
            let row = _mm256_shuffle_epi8(table(&ROWS), row);
            PLACES.map(|place| {
                let rows = _mm256_and_si256(_mm256_shuffle_epi8(table(&place), lower), row);
                _mm256_movemask_epi8(_mm256_cmpgt_epi8(rows, _mm256_setzero_si256())).cast_unsigned()
            })
        });
        [0, 1, 2].map(|place| u64::from(low[place]) | u64::from(high[place]) << 32)
    }

    /// The classes of 32 bytes, in the order of [`Masks`].
    #[target_feature(enable = "avx2")]
    #[inline]
    fn of_half(half: &[u8; 32]) -> [u32; 4] {
        // SAFETY: the load reads the 32 bytes of the array, at any alignment.
        let bytes = unsafe { _mm256_loadu_si256(half.as_ptr().cast()) };
        let nibble = _mm256_set1_epi8(15);
        let lower = _mm256_shuffle_epi8(table(&LOWER), _mm256_and_si256(bytes, nibble));
        let row = _mm256_and_si256(_mm256_srli_epi16(bytes, 4), nibble);
        let rows = _mm256_and_si256(lower, _mm256_shuffle_epi8(table(&UPPER), row));
        let bits = |of: __m256i| _mm256_movemask_epi8(of).cast_unsigned();
        let token = _mm256_cmpgt_epi8(_mm256_and_si256(rows, _mm256_set1_epi8(0x3F)), _mm256_setzero_si256());
        let odd = _mm256_or_si256(_mm256_or_si256(rows, _mm256_slli_epi16(rows, 1)), bytes);
        [
            bits(_mm256_slli_epi16(rows, 6)),
            bits(token),
            bits(_mm256_cmpeq_epi8(bytes, _mm256_set1_epi8(b'@'.cast_signed()))),
            bits(odd),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_of_base64_are_told_by_vectors_as_by_single_characters() {
        let text: Vec<u8> =
            (0..=255_u8).chain(b"QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNk".repeat(3)).collect();
        let mut all = Vec::new();
        groups(&text, |at| all.push(at));
        let is_group = |at: usize| {
            text.get(at..at + 4)
                .is_some_and(|of| (0..3).all(|place| PLACES[usize::from(of[place])] >> place & 1 == 1))
        };
        let is_three = |at: &usize| (0..3).all(|group| is_group(at + 4 * group));
        assert_eq!(all, (0..text.len()).filter(is_three).collect::<Vec<_>>());
        for length in 0..14 {
            let mut all = Vec::new();
            groups(&b"QUJDREVGR0hJSk"[..length], |at| all.push(at));
            assert_eq!(all, if length < 12 { vec![] } else { vec![0] }, "{length}");
        }
    }

    #[test]
    fn vectors_and_single_bytes_agree() {
        let text: Vec<u8> = (0..=255_u8).chain((0..=255).rev()).chain(0..77).collect();
        let mut all = Vec::new();
        masks(&text, |at, block, masks| all.push((at, *block, masks)));
        let mut plainly = Vec::new();
        blocks(&text, |at, block| plainly.push((at, *block, plain(block))));
        assert_eq!(all.len(), text.len().div_ceil(BLOCK));
        assert_eq!(all, plainly);
    }
}
