//! Instructions of AVX2: whoever calls these has asked the processor for it.
#![allow(unsafe_code, reason = "loads of vectors take pointers")]

use std::arch::x86_64::{
    __m256i, _mm_loadu_si128, _mm256_and_si256, _mm256_broadcastsi128_si256, _mm256_cmpeq_epi8,
    _mm256_cmpgt_epi8, _mm256_loadu_si256, _mm256_movemask_epi8, _mm256_or_si256, _mm256_set1_epi8,
    _mm256_setzero_si256, _mm256_shuffle_epi8, _mm256_slli_epi16, _mm256_srli_epi16,
};

use crate::classes::{BLOCK, Class, Masks, PLACES as OF_CHARACTERS, blocks, each, is_token};
use crate::scan::fingers::{FINGER, Fingers};

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
        if is_token(byte) {
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
fn load(of: &[u8; 32]) -> __m256i {
    // SAFETY: the load reads the 32 bytes of the array, at any alignment.
    unsafe { _mm256_loadu_si256(of.as_ptr().cast()) }
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
        quote: join(low[4], high[4]),
        slash: join(low[5], high[5]),
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
        let bytes = load(bytes);
        let lower = _mm256_and_si256(bytes, nibble);
        let upper = _mm256_and_si256(_mm256_srli_epi16(bytes, 4), nibble);
        for (half, buckets) in [(&of.low, &mut low), (&of.high, &mut high)] {
            let lower = _mm256_shuffle_epi8(load(&half.lower[place]), lower);
            let upper = _mm256_shuffle_epi8(load(&half.upper[place]), upper);
            *buckets = _mm256_and_si256(*buckets, _mm256_and_si256(lower, upper));
        }
    }
    let none = _mm256_cmpeq_epi8(_mm256_or_si256(low, high), _mm256_setzero_si256());
    !_mm256_movemask_epi8(none).cast_unsigned()
}

/// By the upper four bits of a byte of ASCII: its row.
const BITS: [i8; 16] = [1, 1 << 1, 1 << 2, 1 << 3, 1 << 4, 1 << 5, 1 << 6, i8::MIN, 0, 0, 0, 0, 0, 0, 0, 0];

#[target_feature(enable = "avx2")]
pub(super) fn members(of: &Class, block: &[u8; BLOCK]) -> u64 {
    let nibble = _mm256_set1_epi8(15);
    let rows = table(&of.rows.map(u8::cast_signed));
    let others = _mm256_set1_epi8(if of.has_others { i8::MIN } else { 0 });
    let half = |half: &[u8; 32]| {
        let bytes = load(half);
        let lower = _mm256_shuffle_epi8(rows, _mm256_and_si256(bytes, nibble));
        let row = _mm256_and_si256(_mm256_srli_epi16(bytes, 4), nibble);
        let rows = _mm256_and_si256(lower, _mm256_shuffle_epi8(table(&BITS), row));
        let rows = _mm256_or_si256(rows, _mm256_and_si256(bytes, others));
        let none = _mm256_cmpeq_epi8(rows, _mm256_setzero_si256());
        u64::from(!_mm256_movemask_epi8(none).cast_unsigned())
    };
    let (halves, _) = block.as_chunks::<32>();
    half(&halves[0]) | half(&halves[1]) << 32
}

/// By place in a group, and by the lower four bits of a character: the rows in which such a character can
/// stand at the place.
const PLACES: [[i8; 16]; 3] = {
    let mut places = [[0_i8; 16]; 3];
    let mut byte = 0_u8;
    while byte < 128 {
        let mut place = 0;
        while place < 3 {
            if OF_CHARACTERS[byte as usize] >> place & 1 == 1 {
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
        let bytes = load(half);
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
fn of_half(half: &[u8; 32]) -> [u32; 6] {
    let bytes = load(half);
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
        bits(_mm256_cmpeq_epi8(bytes, _mm256_set1_epi8(b'"'.cast_signed()))),
        bits(rows),
    ]
}
