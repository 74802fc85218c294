//! Sets of bytes.

/// One bit for each byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Set([u64; 4]);

impl Set {
    pub(crate) const ALL: Self = Self([u64::MAX; 4]);
    pub(crate) const NONE: Self = Self([0; 4]);

    pub(crate) fn of(is_in: impl Fn(u8) -> bool) -> Self {
        let mut set = Self([0; 4]);
        for byte in 0..=u8::MAX {
            set.0[usize::from(byte >> 6)] |= u64::from(is_in(byte)) << (byte & 63);
        }
        set
    }

    pub(crate) fn has(&self, byte: u8) -> bool {
        self.0[usize::from(byte >> 6)] >> (byte & 63) & 1 == 1
    }

    /// The set with the bytes of another.
    pub(crate) fn and(mut self, other: &Self) -> Self {
        self.0.iter_mut().zip(other.0).for_each(|(of, other)| *of |= other);
        self
    }

    pub(crate) fn bytes(&self) -> impl Iterator<Item = u8> {
        (0..=u8::MAX).filter(|&byte| self.has(byte))
    }
}
