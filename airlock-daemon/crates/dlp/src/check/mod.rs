//! Checks: a match of a pattern is a finding only if its check digits, its structure or its entropy agree.

/// A test that a match must pass, by its name in a pack.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Check {
    /// The check digit of payment cards (ISO/IEC 7812-1 annex B), over the digits of the match.
    Luhn,
    /// Shannon entropy of at least this many bits a character.
    Entropy(f32),
}

impl Check {
    /// Answers for the text of a match, or of its group `secret`.
    pub fn holds(self, text: &str) -> bool {
        match self {
            Self::Luhn => luhn(text.bytes().filter(u8::is_ascii_digit)),
            Self::Entropy(least) => entropy(text.as_bytes()) >= least,
        }
    }
}

fn luhn(digits: impl DoubleEndedIterator<Item = u8>) -> bool {
    let sum: u32 = digits
        .rev()
        .enumerate()
        .map(|(place, digit)| {
            let value = u32::from(digit - b'0');
            if place % 2 == 0 { value } else { value * 2 / 10 + value * 2 % 10 }
        })
        .sum();
    sum.is_multiple_of(10)
}

#[expect(clippy::cast_precision_loss, reason = "a match is short")]
fn entropy(text: &[u8]) -> f32 {
    let mut counts = [0_u32; 256];
    for &byte in text {
        counts[usize::from(byte)] += 1;
    }
    let all = text.len() as f32;
    counts.iter().filter(|&&count| count > 0).map(|&count| count as f32 / all).map(|p| -p * p.log2()).sum()
}
