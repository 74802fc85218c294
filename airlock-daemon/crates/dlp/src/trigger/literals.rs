//! Literals: the texts of which every match of a pattern contains one.

use std::cmp::Reverse;

use regex_syntax::hir::{Class, ClassBytesRange, ClassUnicodeRange, Hir, HirKind};

use crate::trigger::follow::Follow;
use crate::trigger::runs::{RUN, Runs};

/// A literal that a match contains.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Literal {
    /// Its bytes, each with bit 5 set, which makes letters lower case.
    pub(crate) folded: Box<[u8]>,
    /// How far behind the start of the match it may begin, in bytes.
    pub(crate) back: usize,
    /// It begins within [`NEAR`] bytes of a run of [`RUN`] characters that tokens have.
    pub(crate) is_near_run: bool,
    /// The bytes that can stand behind it.
    pub(crate) follow: Follow,
}

/// How far from a run a literal begins that is looked for near runs only, in bytes.
pub(crate) const NEAR: usize = 64;

/// The literals that one pattern may have.
const LITERALS: usize = 512;

/// How far behind the start of a match its literal may begin, in bytes.
pub(crate) const BACK: usize = 2 << 10;

/// The fewest bytes of a literal that says where to look.
const LITERAL: usize = 3;

/// The length from which a literal gains nothing by being longer.
const LENGTH: usize = 6;

/// The length from which more literals are no price for longer ones.
const ENOUGH: usize = 4;

/// The characters of a class that are told one by one.
const CLASS: usize = 64;

/// Sets bit 5 of every byte.
pub(crate) fn fold(bytes: &[u8]) -> Box<[u8]> {
    bytes.iter().map(|byte| byte | 0x20).collect()
}

/// The literals of which every match has one, if the pattern tells them. The match begins at most so many
/// bytes in front of what is left of it.
pub(crate) fn literals(hir: &Hir, back: usize) -> Option<Vec<Literal>> {
    match hir.kind() {
        HirKind::Capture(capture) => literals(&capture.sub, back),
        HirKind::Repetition(repeated) if repeated.min > 0 => literals(&repeated.sub, back),
        HirKind::Alternation(branches) => {
            let mut all = Vec::new();
            for branch in branches {
                all.extend(literals(branch, back)?);
            }
            (all.len() <= LITERALS).then_some(all)
        }
        HirKind::Concat(parts) => best_of(parts, back),
        HirKind::Literal(literal) => plain_part(&literal.0, back),
        _ => prefixes(hir, back),
    }
}

/// Chooses the part of a sequence whose shortest literal is longest.
fn best_of(parts: &[Hir], back: usize) -> Option<Vec<Literal>> {
    let mut before = Some(back);
    let mut best: Option<Vec<Literal>> = None;
    for (place, part) in parts.iter().enumerate() {
        let Some(back) = before.filter(|&back| back <= BACK) else { break };
        let rest = Hir::concat(parts[place..].to_vec());
        for mut found in [prefixes(&rest, back), literals(part, back)].into_iter().flatten() {
            if is_near_run(parts, place) {
                for literal in &mut found {
                    literal.is_near_run = true;
                }
            }
            if best.as_ref().is_none_or(|best| worth(&found) > worth(best)) {
                best = Some(found);
            }
        }
        before = part.properties().maximum_len().map(|longest| back + longest);
    }
    best
}

/// Answers whether a literal that begins with or within a part of a sequence has a run near it.
fn is_near_run(parts: &[Hir], place: usize) -> bool {
    let width = |part: &Hir| part.properties().maximum_len();
    // Behind the literal: the run begins in one of the next parts.
    let mut before = Runs::EMPTY;
    let mut distance = Some(0);
    for part in &parts[place..] {
        let runs = Runs::of(part);
        let within = if before.joint(runs) >= RUN || runs.is_all() { Some(0) } else { width(part) };
        if before.then(runs).longest >= RUN {
            return sum(distance, within).is_some_and(|distance| distance <= NEAR);
        }
        (before, distance) = (before.then(runs), sum(distance, width(part)));
    }
    // In front of it: the run ends in one of the parts before. The literal may begin anywhere in its part.
    let mut after = Runs::EMPTY;
    let mut distance = width(&parts[place]);
    for part in parts[..place].iter().rev() {
        let runs = Runs::of(part);
        let within = if runs.joint(after) >= RUN || runs.is_all() { Some(0) } else { width(part) };
        if runs.then(after).longest >= RUN {
            return sum(distance, within).is_some_and(|distance| distance <= NEAR);
        }
        (after, distance) = (runs.then(after), sum(distance, width(part)));
    }
    false
}

fn sum(a: Option<usize>, b: Option<usize>) -> Option<usize> {
    a?.checked_add(b?)
}

/// Literals are worth the length of the shortest, up to where length gains nothing any more. Those that are
/// looked for near runs only cost less than others.
/// Fewer are better where two sets are worth the same.
fn worth(literals: &[Literal]) -> (usize, Reverse<usize>) {
    let worth =
        |literal: &Literal| literal.folded.len().min(LENGTH) + if literal.is_near_run { LENGTH } else { 0 };
    (literals.iter().map(worth).min().unwrap_or(0), Reverse(literals.len()))
}

/// The literals with which every match begins, as far as the pattern tells them.
fn prefixes(hir: &Hir, back: usize) -> Option<Vec<Literal>> {
    let Beginnings { mut all, .. } = Beginnings::of(hir);
    all.sort_unstable();
    all.dedup();
    let is_telling = all.iter().all(|bytes| is_telling(bytes));
    (!all.is_empty() && is_telling).then(|| {
        all.into_iter()
            .map(|bytes| Literal { folded: bytes.into(), back, is_near_run: false, follow: Follow::ANYTHING })
            .collect()
    })
}

/// The folded texts with which a match can begin.
struct Beginnings {
    all: Vec<Vec<u8>>,
    /// They are all of the match, so that more may follow.
    is_whole: bool,
}

impl Beginnings {
    fn one(bytes: Vec<u8>, is_whole: bool) -> Self {
        Self { all: vec![bytes], is_whole }
    }

    fn of(hir: &Hir) -> Self {
        match hir.kind() {
            HirKind::Empty | HirKind::Look(_) => Self::one(Vec::new(), true),
            HirKind::Literal(literal) => {
                let plain = unescaped(&literal.0);
                Self::one(fold(plain).into(), plain.len() == literal.0.len())
            }
            HirKind::Class(class) => Self::of_class(class),
            HirKind::Capture(capture) => Self::of(&capture.sub),
            HirKind::Repetition(repeated) => {
                let times = usize::try_from(repeated.min).unwrap_or(LENGTH).min(LENGTH);
                let mut sequence = Self::of_sequence(std::iter::repeat_n(&*repeated.sub, times));
                sequence.is_whole &= repeated.max == Some(repeated.min);
                sequence
            }
            HirKind::Concat(parts) => Self::of_sequence(parts.iter()),
            HirKind::Alternation(branches) => {
                let mut union = Self { all: Vec::new(), is_whole: true };
                for branch in branches {
                    let branch = Self::of(branch);
                    union.all.extend(branch.all);
                    union.is_whole &= branch.is_whole;
                }
                union.all.sort_unstable();
                union.all.dedup();
                if union.all.len() > LITERALS { Self::one(Vec::new(), false) } else { union }
            }
        }
    }

    fn of_sequence<'a>(parts: impl Iterator<Item = &'a Hir>) -> Self {
        let mut sequence = Self::one(Vec::new(), true);
        for part in parts {
            let next = Self::of(part);
            let least = sequence.all.iter().map(Vec::len).min().unwrap_or(0);
            let is_long = least >= if next.all.len() == 1 { LENGTH } else { ENOUGH };
            if is_long || sequence.all.len() * next.all.len() > LITERALS {
                sequence.is_whole = false;
                break;
            }
            let longer =
                |bytes: &Vec<u8>| next.all.iter().map(|more| [&bytes[..], more].concat()).collect::<Vec<_>>();
            sequence.all = sequence.all.iter().flat_map(longer).collect();
            sequence.is_whole = next.is_whole;
            if !sequence.is_whole {
                break;
            }
        }
        sequence
    }

    /// Small classes are told by their characters, of which upper and lower case are one.
    fn of_class(class: &Class) -> Self {
        let mut all: Vec<Vec<u8>> = Vec::new();
        let characters = match class {
            Class::Unicode(class) => class.ranges().iter().map(ClassUnicodeRange::len).sum::<usize>(),
            Class::Bytes(class) => class.ranges().iter().map(ClassBytesRange::len).sum(),
        };
        if characters > CLASS {
            return Self::one(Vec::new(), false);
        }
        match class {
            Class::Unicode(class) => {
                let each = class.ranges().iter().flat_map(|range| range.start()..=range.end());
                all.extend(each.map(|character| character.encode_utf8(&mut [0; 4]).as_bytes().to_vec()));
            }
            Class::Bytes(class) => {
                all.extend(
                    class
                        .ranges()
                        .iter()
                        .flat_map(|range| range.start()..=range.end())
                        .map(|byte| vec![byte]),
                );
            }
        }
        if all.iter().any(|bytes| unescaped(bytes).len() < bytes.len()) {
            return Self::one(Vec::new(), false);
        }
        let mut all: Vec<Vec<u8>> = all.into_iter().map(|bytes| fold(&bytes).into()).collect();
        all.sort_unstable();
        all.dedup();
        Self { all, is_whole: true }
    }
}

/// A literal of digits and what separates them says less than the number of digits does.
fn is_telling(literal: &[u8]) -> bool {
    let telling = literal
        .iter()
        .filter(|&&byte| !byte.is_ascii_digit() && !matches!(byte, b' ' | b'-' | b'.' | b',' | b':'))
        .count();
    literal.len() >= LITERAL && telling >= if literal.len() == LITERAL { 2 } else { 1 }
}

/// The longest part of a literal without bytes that JSON spells in another way.
fn plain_part(literal: &[u8], back: usize) -> Option<Vec<Literal>> {
    let mut start = 0;
    let mut best: Option<Literal> = None;
    while start < literal.len() {
        let part = unescaped(&literal[start..]);
        if is_telling(part) && best.as_ref().is_none_or(|best| best.folded.len() < part.len()) {
            best = Some(Literal {
                folded: fold(part),
                back: back + start,
                is_near_run: false,
                follow: Follow::ANYTHING,
            });
        }
        start += part.len() + 1;
    }
    best.map(|best| vec![best])
}

/// Cuts a literal in front of the first byte that JSON spells in another way.
fn unescaped(literal: &[u8]) -> &[u8] {
    let is_escaped = |byte: &u8| matches!(byte, b'"' | b'\\' | 0..0x20);
    &literal[..literal.iter().position(is_escaped).unwrap_or(literal.len())]
}
