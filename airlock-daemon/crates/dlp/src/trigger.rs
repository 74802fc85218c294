//! Triggers: what every match of a pattern contains, derived from the pattern, so that it runs only there.

use regex_syntax::hir::literal::{Extractor, Seq};
use regex_syntax::hir::{Class, Hir, HirKind};

use crate::detector::Context;

/// Something that every match of a pattern contains, or stands near.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Trigger {
    /// One of these literals.
    Literals(Vec<Literal>),
    /// An `@`, at most so many bytes behind the start of the match.
    At {
        /// Bytes.
        back: usize,
    },
    /// At least so many ASCII digits.
    Digits {
        /// Digits.
        least: usize,
    },
    /// One of these words stands near it.
    Words(Vec<Box<[u8]>>),
}

/// A literal that a match contains.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Literal {
    /// Its bytes, each with bit 5 set, which makes letters lower case.
    pub(crate) folded: Box<[u8]>,
    /// How far behind the start of the match it may begin, in bytes.
    pub(crate) back: usize,
}

/// The literals that one pattern may have.
const LITERALS: usize = 512;

/// How far behind the start of a match its literal may begin, in bytes.
const BACK: usize = 256;

/// The fewest bytes of a literal that says where to look.
const LITERAL: usize = 3;

/// The fewest digits that say where to look.
const DIGITS: usize = 4;

/// Derives the trigger of a pattern: literals rather than an `@`, that rather than context, that rather than
/// digits.
pub(crate) fn derive(hir: &Hir, context: Option<&Context>) -> Option<Trigger> {
    if let Some(mut literals) = literals(hir, 0) {
        literals.sort();
        literals.dedup();
        return Some(Trigger::Literals(literals));
    }
    if let Some(back) = at(hir) {
        return Some(Trigger::At { back });
    }
    if let Some(context) = context {
        return Some(Trigger::Words(context.words.iter().map(|word| fold(word.as_bytes())).collect()));
    }
    let least = digits(hir);
    (least >= DIGITS && hir.properties().maximum_len().is_some()).then_some(Trigger::Digits { least })
}

/// Sets bit 5 of every byte.
pub(crate) fn fold(bytes: &[u8]) -> Box<[u8]> {
    bytes.iter().map(|byte| byte | 0x20).collect()
}

fn literals(hir: &Hir, back: usize) -> Option<Vec<Literal>> {
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
        for found in [prefixes(&rest, back), literals(part, back)].into_iter().flatten() {
            if best.as_ref().is_none_or(|best| worth(&found) > worth(best)) {
                best = Some(found);
            }
        }
        before = part.properties().maximum_len().map(|longest| back + longest);
    }
    best
}

/// Literals are worth the length of the shortest, up to where length gains nothing any more.
fn worth(literals: &[Literal]) -> usize {
    literals.iter().map(|literal| literal.folded.len()).min().unwrap_or(0).min(6)
}

fn prefixes(hir: &Hir, back: usize) -> Option<Vec<Literal>> {
    let mut extractor = Extractor::new();
    extractor.limit_class(64).limit_repeat(8).limit_literal_len(12).limit_total(4096);
    let mut found: Seq = extractor.extract(hir);
    found.dedup();
    let mut all: Vec<_> = found
        .literals()?
        .iter()
        .map(|literal| Literal { folded: fold(unescaped(literal.as_bytes())), back })
        .collect();
    all.sort();
    all.dedup();
    let is_short = all.iter().any(|literal| literal.folded.len() < LITERAL);
    (!all.is_empty() && !is_short && all.len() <= LITERALS).then_some(all)
}

/// Cuts a literal in front of the first byte that JSON spells in another way.
fn unescaped(literal: &[u8]) -> &[u8] {
    let is_escaped = |byte: &u8| matches!(byte, b'"' | b'\\' | 0..0x20);
    &literal[..literal.iter().position(is_escaped).unwrap_or(literal.len())]
}

/// Says how far behind the start of a match its `@` may stand.
fn at(hir: &Hir) -> Option<usize> {
    match hir.kind() {
        HirKind::Literal(literal) => literal.0.iter().position(|&byte| byte == b'@'),
        HirKind::Capture(capture) => at(&capture.sub),
        HirKind::Alternation(branches) => {
            branches.iter().map(at).try_fold(0, |most, back| Some(most.max(back?)))
        }
        HirKind::Concat(parts) => {
            let mut before = 0;
            for part in parts {
                if let Some(back) = at(part) {
                    return Some(before + back).filter(|&back| back <= BACK);
                }
                before += part.properties().maximum_len()?;
            }
            None
        }
        _ => None,
    }
}

/// Counts the ASCII digits that every match has at least.
fn digits(hir: &Hir) -> usize {
    match hir.kind() {
        HirKind::Literal(literal) => literal.0.iter().filter(|byte| byte.is_ascii_digit()).count(),
        HirKind::Class(class) => usize::from(is_of_digits(class)),
        HirKind::Capture(capture) => digits(&capture.sub),
        HirKind::Repetition(repeated) => digits(&repeated.sub) * usize::try_from(repeated.min).unwrap_or(0),
        HirKind::Concat(parts) => parts.iter().map(digits).sum(),
        HirKind::Alternation(branches) => branches.iter().map(digits).min().unwrap_or(0),
        HirKind::Empty | HirKind::Look(_) => 0,
    }
}

fn is_of_digits(class: &Class) -> bool {
    match class {
        Class::Unicode(class) => {
            class.ranges().iter().all(|range| range.start() >= '0' && range.end() <= '9')
        }
        Class::Bytes(class) => {
            class.ranges().iter().all(|range| range.start() >= b'0' && range.end() <= b'9')
        }
    }
}
