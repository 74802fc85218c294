//! The `@` that every match of a pattern has.

use regex_syntax::hir::{Hir, HirKind};

use crate::trigger::bytes::{self, Bytes};
use crate::trigger::literals::BACK;

/// The `@` of a match.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct At {
    /// How far behind the start of the match it stands at most, in bytes.
    pub(crate) back: usize,
    /// The bytes that may stand in front of it; all of them where it may begin a match.
    pub(crate) before: Option<Bytes>,
    /// The bytes that may stand behind it; all of them where it may end a match.
    pub(crate) after: Option<Bytes>,
}

/// Finds the `@` that every match has.
pub(crate) fn at(hir: &Hir) -> Option<At> {
    let joined = |parts: &[Hir], is_end| bytes::edge(&Hir::concat(parts.to_vec()), is_end);
    match hir.kind() {
        HirKind::Literal(literal) => {
            let back = literal.0.iter().position(|&byte| byte == b'@')?;
            let before = back.checked_sub(1).map(|at| one(literal.0[at]));
            Some(At { back, before, after: literal.0.get(back + 1).map(|&byte| one(byte)) })
        }
        HirKind::Capture(capture) => at(&capture.sub),
        HirKind::Alternation(branches) => {
            let mut all: Option<At> = None;
            for branch in branches {
                let next = at(branch)?;
                all = Some(match all {
                    None => next,
                    Some(all) => At {
                        back: all.back.max(next.back),
                        before: union(all.before, next.before),
                        after: union(all.after, next.after),
                    },
                });
            }
            all
        }
        HirKind::Concat(parts) => {
            let mut width = 0;
            for (place, part) in parts.iter().enumerate() {
                if let Some(inner) = at(part) {
                    // The neighbours count where the `@` is at the edge of its own part.
                    let is_plain = matches!(part.kind(), HirKind::Literal(_));
                    let before = inner.before.or_else(|| joined(&parts[..place], true).filter(|_| is_plain));
                    let after =
                        inner.after.or_else(|| joined(&parts[place + 1..], false).filter(|_| is_plain));
                    let back = width + inner.back;
                    return Some(At { back, before, after }).filter(|at| at.back <= BACK);
                }
                width += part.properties().maximum_len()?;
            }
            None
        }
        _ => None,
    }
}

fn one(byte: u8) -> Bytes {
    let mut bytes = Bytes::new([false; 256]);
    bytes[usize::from(byte)] = true;
    bytes
}

fn union(a: Option<Bytes>, b: Option<Bytes>) -> Option<Bytes> {
    let (mut a, b) = (a?, b?);
    a.iter_mut().zip(*b).for_each(|(a, b)| *a |= b);
    Some(a)
}
