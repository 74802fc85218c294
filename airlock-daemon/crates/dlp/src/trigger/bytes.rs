//! Bytes: those that a match of a pattern can have, anywhere or at its ends.

use regex_syntax::hir::{Class, Hir, HirKind};

/// By byte: it can be in a match, or in a part of one.
pub(crate) type Bytes = Box<[bool; 256]>;

fn none() -> Bytes {
    Box::new([false; 256])
}

/// The bytes that characters of a class have.
pub(crate) fn bytes_of_class(class: &Class) -> Bytes {
    let mut bytes = none();
    match class {
        Class::Unicode(class) => {
            for range in class.ranges() {
                let (start, end) = (u32::from(range.start()), u32::from(range.end()));
                for code in start..=end.min(127) {
                    bytes[code as usize] = true;
                }
                if end >= 128 {
                    bytes[128..].fill(true);
                }
            }
        }
        Class::Bytes(class) => {
            for range in class.ranges() {
                bytes[usize::from(range.start())..=usize::from(range.end())].fill(true);
            }
        }
    }
    bytes
}

/// Adds all bytes that a match can have.
pub(crate) fn add_all(hir: &Hir, to: &mut Bytes) {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => {}
        HirKind::Literal(literal) => literal.0.iter().for_each(|&byte| to[usize::from(byte)] = true),
        HirKind::Class(class) => {
            to.iter_mut().zip(*bytes_of_class(class)).for_each(|(to, is_in)| *to |= is_in);
        }
        HirKind::Capture(capture) => add_all(&capture.sub, to),
        HirKind::Repetition(repeated) => add_all(&repeated.sub, to),
        HirKind::Concat(parts) | HirKind::Alternation(parts) => {
            for part in parts {
                add_all(part, to);
            }
        }
    }
}

/// The bytes with which a match can end (`is_end`) or begin; nothing where it may be empty.
pub(crate) fn edge(hir: &Hir, is_end: bool) -> Option<Bytes> {
    let mut bytes = none();
    add_edge(hir, is_end, &mut bytes).then_some(bytes)
}

/// Answers whether every match has a byte at all.
fn add_edge(hir: &Hir, is_end: bool, to: &mut Bytes) -> bool {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => false,
        HirKind::Literal(literal) => {
            let edge = if is_end { literal.0.last() } else { literal.0.first() };
            edge.is_some_and(|&byte| {
                to[usize::from(byte)] = true;
                true
            })
        }
        HirKind::Class(_) => {
            add_all(hir, to);
            true
        }
        HirKind::Capture(capture) => add_edge(&capture.sub, is_end, to),
        HirKind::Repetition(repeated) => add_edge(&repeated.sub, is_end, to) && repeated.min > 0,
        HirKind::Concat(parts) if is_end => parts.iter().rev().any(|part| add_edge(part, is_end, to)),
        HirKind::Concat(parts) => parts.iter().any(|part| add_edge(part, is_end, to)),
        HirKind::Alternation(branches) => {
            let mut has = true;
            for branch in branches {
                has &= add_edge(branch, is_end, to);
            }
            has
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hir(pattern: &str) -> Hir {
        regex_syntax::parse(pattern).expect("a pattern")
    }

    #[test]
    fn edges_are_the_first_and_last_bytes() {
        let text = |bytes: Bytes| (0..=127_u8).filter(|&b| bytes[usize::from(b)]).map(char::from).collect();
        let both = |pattern: &str| -> [Option<String>; 2] {
            [false, true].map(|is_end| edge(&hir(pattern), is_end).map(text))
        };
        assert_eq!(both("a?b[cd]*"), [Some("ab".to_owned()), Some("bcd".to_owned())]);
        assert_eq!(both("(?:x|yz)?"), [None, None]);
    }
}
