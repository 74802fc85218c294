//! Fingers: four neighbouring bytes of each literal, or three and the one behind it, by which vectors tell it
//! from other text. They are those that common text has least.

use crate::set::Set;

/// The bytes of a finger.
pub(crate) const FINGER: usize = 4;

/// The fewest of them that are of the literal itself.
pub(crate) const OWN: usize = 3;

/// The buckets that fingers are sorted into, one bit each, in two bytes.
const BUCKETS: usize = 16;

/// The bytes of one literal by which it is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Finger {
    /// The first of them within the literal.
    pub(crate) offset: usize,
    pub(crate) bytes: [Set; FINGER],
}

impl Finger {
    /// Chooses those of a literal that common text has least, given the bytes that it can have at each place,
    /// three or more, and those that can stand behind it.
    pub(crate) fn of(literal: &[Set], next: &Set) -> Self {
        let at = |place: usize| *literal.get(place).unwrap_or(next);
        let offsets = (0..=literal.len() - OWN)
            .map(|offset| Self { offset, bytes: std::array::from_fn(|place| at(offset + place)) });
        let chance =
            |finger: &Self| finger.bytes.iter().map(|set| Nibbles::of(set).chance()).product::<f32>();
        offsets
            .min_by(|a, b| chance(a).total_cmp(&chance(b)))
            .unwrap_or(Self { offset: 0, bytes: [Set::ALL; 4] })
    }
}

/// The lower and the upper four bits that bytes have, as bits of two words.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Nibbles {
    lower: u16,
    upper: u16,
}

impl Nibbles {
    fn of(set: &Set) -> Self {
        set.bytes().fold(Self::default(), |all, byte| {
            all.or(Self { lower: 1 << (byte & 15), upper: 1 << (byte >> 4) })
        })
    }

    fn or(self, other: Self) -> Self {
        Self { lower: self.lower | other.lower, upper: self.upper | other.upper }
    }

    /// The part of common text that has such bytes.
    fn chance(self) -> f32 {
        let bits = |of: u16| (0..16_usize).filter(move |bit| of >> bit & 1 == 1);
        let of: u32 = bits(self.upper)
            .flat_map(|upper| bits(self.lower).map(move |lower| u32::from(COMMON[upper << 4 | lower])))
            .sum();
        #[expect(clippy::cast_precision_loss, reason = "they are few")]
        let (of, all) = (of as f32, ALL as f32);
        of / all
    }
}

/// By byte: how often it stands in JSON with prose and code, among [`ALL`] bytes or so.
static COMMON: [u16; 256] = {
    let mut common = [1_u16; 256];
    let mut byte = b' ';
    while byte < 0x7F {
        common[byte as usize] = 12;
        byte += 1;
    }
    let letters = b"etaoinsrlhdcumpfgywbvkxjqz";
    let often = [
        780, 600, 560, 520, 500, 500, 470, 460, 330, 300, 300, 300, 220, 210, 200, 160, 150, 120, 110, 110,
        80, 60, 25, 20, 15, 10,
    ];
    let mut place = 0;
    while place < letters.len() {
        common[letters[place] as usize] = often[place];
        common[(letters[place] - 0x20) as usize] = 20 + often[place] / 12;
        place += 1;
    }
    let mut digit = b'0';
    while digit <= b'9' {
        common[digit as usize] = 70;
        digit += 1;
    }
    let signs = b" \",:._-/\\{}[]()=;";
    let often = [1_300, 260, 120, 110, 110, 80, 80, 70, 60, 50, 50, 50, 50, 60, 60, 60, 40];
    let mut place = 0;
    while place < signs.len() {
        common[signs[place] as usize] = often[place];
        place += 1;
    }
    common
};

/// The sum of [`COMMON`].
const ALL: u32 = {
    let (mut all, mut byte) = (0, 0);
    while byte < 256 {
        all += COMMON[byte] as u32;
        byte += 1;
    }
    all
};

/// By place of a finger, and by the lower and the upper four bits of a byte: the buckets that have a finger
/// with such a byte there (the algorithm Teddy). Each table stands twice, once for each half of a vector.
#[derive(Debug, Default)]
pub(crate) struct Fingers {
    pub(crate) low: Half,
    pub(crate) high: Half,
}

/// Eight of the buckets.
#[derive(Debug, Default)]
pub(crate) struct Half {
    pub(crate) lower: [[u8; 32]; FINGER],
    pub(crate) upper: [[u8; 32]; FINGER],
}

impl Fingers {
    pub(crate) fn new(all: &[Finger]) -> Self {
        let mut all: Vec<[Nibbles; FINGER]> =
            all.iter().map(|of| of.bytes.map(|set| Nibbles::of(&set))).collect();
        let chance = |of: &[Nibbles; FINGER]| of.iter().map(|of| of.chance()).product::<f32>();
        all.sort_by(|a, b| chance(b).total_cmp(&chance(a)));
        all.dedup();
        // Each goes where it adds the least to what common text has of its bucket.
        let mut buckets: [([Nibbles; FINGER], f32); BUCKETS] = Default::default();
        for finger in all {
            let with = buckets.iter().enumerate().map(|(number, (bucket, before))| {
                let both: [Nibbles; FINGER] = std::array::from_fn(|place| bucket[place].or(finger[place]));
                let after = chance(&both);
                (number, both, after, after - before)
            });
            if let Some((number, both, after, _)) = with.min_by(|a, b| a.3.total_cmp(&b.3)) {
                buckets[number] = (both, after);
            }
        }
        let mut fingers = Self::default();
        for (number, (bucket, _)) in buckets.iter().enumerate() {
            let half = if number < 8 { &mut fingers.low } else { &mut fingers.high };
            half.add(number % 8, bucket);
        }
        fingers
    }
}

impl Half {
    fn add(&mut self, bucket: usize, of: &[Nibbles; FINGER]) {
        for (place, nibbles) in of.iter().enumerate() {
            for bit in 0..32 {
                let has = |of: u16| u8::from(of >> (bit % 16) & 1 == 1) << bucket;
                self.lower[place][bit] |= has(nibbles.lower);
                self.upper[place][bit] |= has(nibbles.upper);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finger_is_where_a_literal_is_rare() {
        let offset = |literal: &[u8], next: &Set| {
            let own = |&folded: &u8| Set::of(|byte| byte | 0x20 == folded);
            Finger::of(&literal.iter().map(own).collect::<Vec<_>>(), next).offset
        };
        assert_eq!(offset(b"the quiz box", &Set::ALL), 4);
        assert_eq!(offset(b"server", &Set::of(|byte| byte == b'=')), 3);
        assert_eq!(offset(b"abc", &Set::ALL), 0);
    }
}
