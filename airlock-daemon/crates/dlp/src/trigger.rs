//! Triggers: what every match of a pattern contains, derived from the pattern, so that it runs only there.

use regex_syntax::hir::{Class, ClassBytesRange, ClassUnicodeRange, Hir, HirKind};

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

/// The length from which a literal gains nothing by being longer.
const LENGTH: usize = 6;

/// The characters of a class that are told one by one.
const CLASS: usize = 64;

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
    literals.iter().map(|literal| literal.folded.len()).min().unwrap_or(0).min(LENGTH)
}

/// The literals with which every match begins, as far as the pattern tells them.
fn prefixes(hir: &Hir, back: usize) -> Option<Vec<Literal>> {
    let Beginnings { mut all, .. } = Beginnings::of(hir);
    all.sort_unstable();
    all.dedup();
    let is_telling = all.iter().all(|bytes| is_telling(bytes));
    (!all.is_empty() && is_telling)
        .then(|| all.into_iter().map(|bytes| Literal { folded: bytes.into(), back }).collect())
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
            let is_long = sequence.all.iter().all(|bytes| bytes.len() >= LENGTH);
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
            best = Some(Literal { folded: fold(part), back: back + start });
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
