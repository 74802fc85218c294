//! Runs: the characters that tokens have, as far as every match of a pattern has them next to each other.

use regex_syntax::hir::{Hir, HirKind};

use crate::classes::is_token;
use crate::trigger::bytes::bytes_of_class;

/// The fewest characters of a run of those that tokens have.
pub(crate) const RUN: usize = 15;

/// The characters that tokens have, as far as every match has them next to each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Runs {
    /// The match has no other characters.
    is_all: bool,
    /// The fewest at the start.
    first: usize,
    /// The fewest of the longest run.
    pub(crate) longest: usize,
    /// The fewest at the end.
    last: usize,
}

impl Runs {
    pub(crate) const EMPTY: Self = Self::all(0);
    const NONE: Self = Self { is_all: false, first: 0, longest: 0, last: 0 };

    const fn all(length: usize) -> Self {
        Self { is_all: true, first: length, longest: length, last: length }
    }

    pub(crate) fn of(hir: &Hir) -> Self {
        match hir.kind() {
            HirKind::Empty | HirKind::Look(_) => Self::EMPTY,
            HirKind::Literal(literal) => {
                let of = |&byte: &u8| if is_token(byte) { Self::all(1) } else { Self::NONE };
                literal.0.iter().map(of).fold(Self::EMPTY, Self::then)
            }
            HirKind::Class(class) => {
                if (0..=u8::MAX).zip(*bytes_of_class(class)).all(|(byte, is_in)| !is_in || is_token(byte)) {
                    Self::all(1)
                } else {
                    Self::NONE
                }
            }
            HirKind::Capture(capture) => Self::of(&capture.sub),
            HirKind::Repetition(repeated) => {
                let sub = Self::of(&repeated.sub);
                match usize::try_from(repeated.min).unwrap_or(usize::MAX) {
                    min if sub.is_all => Self::all(sub.first.saturating_mul(min)),
                    0 => Self::NONE,
                    1 => sub,
                    _ => Self { longest: sub.longest.max(sub.last + sub.first), ..sub },
                }
            }
            HirKind::Concat(parts) => parts.iter().map(Self::of).fold(Self::EMPTY, Self::then),
            HirKind::Alternation(branches) => {
                branches.iter().map(Self::of).reduce(Self::or).unwrap_or(Self::NONE)
            }
        }
    }

    pub(crate) fn then(self, next: Self) -> Self {
        Self {
            is_all: self.is_all && next.is_all,
            first: if self.is_all { self.first + next.first } else { self.first },
            longest: self.longest.max(next.longest).max(self.joint(next)),
            last: if next.is_all { self.last + next.last } else { next.last },
        }
    }

    /// The run that two parts have together where they meet.
    pub(crate) fn joint(self, next: Self) -> usize {
        self.last + next.first
    }

    fn or(self, other: Self) -> Self {
        Self {
            is_all: self.is_all && other.is_all,
            first: self.first.min(other.first),
            longest: self.longest.min(other.longest),
            last: self.last.min(other.last),
        }
    }

    pub(crate) fn is_all(self) -> bool {
        self.is_all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hir(pattern: &str) -> Hir {
        regex_syntax::parse(pattern).expect("a pattern")
    }

    #[test]
    fn runs_are_counted_as_far_as_every_match_has_them() {
        for (pattern, longest) in [
            ("ghp_[A-Za-z0-9]{36}", 40),
            ("a.b", 1),
            ("key: ?(?P<secret>[0-9a-f]{32})", 32),
            ("[a-z.]{40}", 0),
            ("ab(?:c|d-e)f", 4),
            ("(?:ab:c){3}", 3),
            ("[a-z]{3,}x?", 3),
            ("(?i:key)", 2),
        ] {
            assert_eq!(Runs::of(&hir(pattern)).longest, longest, "{pattern}");
        }
    }
}
