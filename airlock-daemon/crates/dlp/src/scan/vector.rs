//! Vectors: the classes of 64 bytes at once, by instructions that not every processor has.
#![allow(clippy::inline_always, reason = "what is done with each block belongs into the loop over vectors")]
#![allow(unsafe_code, reason = "a processor is asked for AVX2 before instructions of AVX2 run")]

use crate::classes::{BLOCK, Class, Masks, PLACES, blocks, each, is_token};
use crate::scan::fingers::Fingers;

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

/// The bytes of a block that are of a class.
#[inline]
pub(crate) fn members(of: &Class, block: &[u8; BLOCK]) -> u64 {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has AVX2.
        return unsafe { avx2::members(of, block) };
    }
    plain_members(of, block)
}

fn plain_members(of: &Class, block: &[u8; BLOCK]) -> u64 {
    block.iter().enumerate().fold(0, |mask, (bit, &byte)| mask | u64::from(of.has(byte)) << bit)
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

/// Calls with each place at which a finger may be, and answers true; or answers false where the processor has
/// no vectors for it.
#[inline(always)]
pub(crate) fn fingers(of: &Fingers, text: &[u8], mut found: impl FnMut(usize)) -> bool {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has AVX2.
        unsafe { avx2::fingers(of, text, &mut found) };
        return true;
    }
    let _ = (of, text, &mut found);
    false
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
            | (matches!(of, b'\\' | b'%' | 0x80..) as u8) << 3
            | ((of == b'"') as u8) << 4
            | ((of == b'\\') as u8) << 5;
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
        masks.quote |= (class >> 4 & 1) << bit;
        masks.slash |= (class >> 5 & 1) << bit;
    }
    masks
}

#[cfg(target_arch = "x86_64")]
mod avx2;

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
    fn members_of_a_class_are_told_by_vectors_as_by_single_bytes() {
        let all: Vec<u8> = (0..=u8::MAX).chain((0..=u8::MAX).rev()).collect();
        for is_in in [|byte: u8| byte.is_ascii_lowercase() || byte >= 0x80, |byte: u8| byte % 7 == 3] {
            let has: Vec<bool> = (0..=u8::MAX).map(is_in).collect();
            let class = Class::new(has.try_into().unwrap());
            for block in all.as_chunks::<BLOCK>().0 {
                assert_eq!(members(&class, block), plain_members(&class, block));
            }
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
