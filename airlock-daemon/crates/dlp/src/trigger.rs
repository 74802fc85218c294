//! Triggers: what every match of a pattern contains, derived from the pattern, so that it runs only there.

pub(crate) mod at;
pub(crate) mod bytes;
pub(crate) mod clusters;
pub(crate) mod edge;
pub(crate) mod follow;
pub(crate) mod literals;
pub(crate) mod runs;
pub(crate) mod screen;
mod sign;

use regex_syntax::hir::Hir;

use crate::context::Context;
use crate::trigger::at::{At, at};
use crate::trigger::bytes::Bytes;
use crate::trigger::follow::Follow;
use crate::trigger::literals::{Literal, fold, literals};
use crate::trigger::runs::{RUN, Runs};
use crate::trigger::sign::sign;

/// Something that every match of a pattern contains, or stands near.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Trigger {
    /// One of these literals.
    Literals(Vec<Literal>),
    /// An `@`.
    At(At),
    /// At least so many ASCII digits in one cluster.
    Digits(Digits),
    /// One of these words stands near it.
    Words {
        /// Each folded.
        words: Vec<Box<[u8]>>,
        /// The place where the words are looked for.
        near: Near,
    },
}

/// The digits of a match.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Digits {
    pub(crate) least: usize,
    /// The fewest bytes from the first to the last of them.
    pub(crate) span: usize,
    /// The most bytes that a match has on either side of them.
    pub(crate) around: usize,
    /// The bytes that may stand between them.
    pub(crate) between: Bytes,
}

/// Something that a match has beside a word near it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Near {
    Digits(Digits),
    /// A run of so many characters that tokens have.
    Run(usize),
    /// This byte.
    Byte(u8),
    Anything,
}

/// The fewest digits that say where to look.
const DIGITS: usize = 4;

/// Literals as short as this say less than an `@` or some digits do, unless they stand near a run.
const SHORT: usize = 3;

/// The fewest digits that say more than a short literal.
const MANY_DIGITS: usize = 6;

/// Derives the trigger of a pattern: literals rather than an `@`, that rather than context, that rather than
/// digits.
pub(crate) fn derive(hir: &Hir, context: Option<&Context>) -> Option<Trigger> {
    let digits = digits(hir);
    let at = at(hir);
    if let Some(mut literals) = literals(hir, 0) {
        literals.sort_by(|a, b| (&a.folded, a.back).cmp(&(&b.folded, b.back)));
        literals.dedup();
        for literal in literals.iter_mut().filter(|literal| literal.back == 0) {
            literal.follow = Follow::of(hir, &literal.folded);
        }
        let is_weak = |literal: &Literal| literal.folded.len() <= SHORT && !literal.is_near_run;
        let has_better = at.is_some() || digits.as_ref().is_some_and(|of| of.least >= MANY_DIGITS);
        if !(has_better && context.is_none() && literals.iter().any(is_weak)) {
            return Some(Trigger::Literals(literals));
        }
    }
    if let Some(at) = at {
        return Some(Trigger::At(at));
    }
    if let Some(context) = context {
        let words = context.words.iter().map(|word| fold(word.as_bytes())).collect();
        let runs = Runs::of(hir).longest;
        let near = match digits {
            _ if hir.properties().maximum_len().is_none() => Near::Anything,
            Some(digits) => Near::Digits(digits),
            None if runs >= RUN => Near::Run(runs),
            None => sign(hir).map_or(Near::Anything, Near::Byte),
        };
        return Some(Trigger::Words { words, near });
    }
    digits.map(Trigger::Digits)
}

/// The digits of a pattern whose matches have a bound.
fn digits(hir: &Hir) -> Option<Digits> {
    let least = clusters::digits(hir);
    (least >= DIGITS && hir.properties().maximum_len().is_some()).then(|| {
        let mut between = Bytes::new([false; 256]);
        clusters::add_between(hir, &mut between);
        let around = clusters::around_digits(hir).unwrap_or(usize::MAX);
        Digits { least, span: clusters::span_of_digits(hir), around, between }
    })
}
