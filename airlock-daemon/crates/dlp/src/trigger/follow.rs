//! Follow: the bytes that can stand behind a literal within a match, so that most places of a literal are
//! passed over without running the pattern.

use regex_syntax::hir::{Hir, HirKind, Repetition};

use crate::set::Set;
use crate::trigger::bytes;

/// The bytes that a literal can have, and those that can stand behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Follow {
    /// By place in the literal; nothing where they are known folded only.
    own: Option<Box<[Set]>>,
    /// The bytes that can stand next, each with those that can stand behind it; nothing where anything can
    /// stand.
    pairs: Option<Box<[[Set; 2]]>>,
}

/// The forms that the rest of a pattern may have.
const FORMS: usize = 64;

impl Follow {
    pub(crate) const ANYTHING: Self = Self { own: None, pairs: None };

    /// Reads what follows a literal, given folded, with which a match of a pattern begins.
    pub(crate) fn of(hir: &Hir, folded: &[u8]) -> Self {
        let mut rest = vec![hir.clone()];
        let mut own = Vec::new();
        for &byte in folded {
            let Some(next) = steps(&rest, Set::of(|of| of | 0x20 == byte)) else { return Self::ANYTHING };
            if next.is_empty() {
                return Self::ANYTHING;
            }
            own.push(next.iter().fold(Set::NONE, |all, (first, _)| all.and(first)));
            rest = next.into_iter().map(|(_, rest)| rest).collect();
        }
        Self { own: Some(own.into()), pairs: Self::pairs(&rest) }
    }

    fn pairs(rest: &[Hir]) -> Option<Box<[[Set; 2]]>> {
        if rest.iter().any(|form| bytes::edge(form, false).is_none()) {
            return None;
        }
        let mut pairs: Vec<[Set; 2]> = Vec::new();
        for (first, rest) in steps(rest, Set::ALL)? {
            let second = firsts(&rest);
            match pairs.iter_mut().find(|[_, of]| *of == second) {
                Some([of, _]) => *of = of.and(&first),
                None => pairs.push([first, second]),
            }
        }
        Some(pairs.into())
    }

    /// Answers whether a match may go on with what stands at a place of a text.
    pub(crate) fn goes_on(&self, text: &[u8], at: usize) -> bool {
        let Some(pairs) = &self.pairs else { return true };
        let is_of = |place: usize, set: &Set| text.get(place).is_none_or(|&byte| set.has(byte));
        pairs.iter().any(|[first, second]| is_of(at, first) && is_of(at + 1, second))
    }

    /// The bytes that can stand next in a text and in JSON, and the byte 0, which stands for its end.
    pub(crate) fn next(&self) -> Set {
        let Some(pairs) = &self.pairs else { return Set::ALL };
        let others = Set::of(|byte| matches!(byte, 0 | b'\\' | b'%' | b'"' | 0x80..));
        pairs.iter().fold(others, |all, [first, _]| all.and(first))
    }

    /// The bytes that the literal, given folded, can have at a place.
    pub(crate) fn own(&self, place: usize, folded: u8) -> Set {
        let own = self.own.as_ref().and_then(|own| own.get(place).copied());
        own.unwrap_or_else(|| Set::of(|byte| byte | 0x20 == folded))
    }

    /// The same of JSON, where a byte may begin another spelling, or end the name of a member.
    pub(crate) fn goes_on_in_json(&self, json: &[u8], at: usize) -> bool {
        let Some(pairs) = &self.pairs else { return true };
        let may_be = |place: usize, set: &Set| match json.get(place) {
            None | Some(b'\\' | b'%' | b'"' | 0x80..) => true,
            Some(&byte) => set.has(byte),
        };
        let is_plain = |place: usize| {
            json.get(place).is_some_and(|byte| byte.is_ascii() && !matches!(byte, b'\\' | b'%' | b'"'))
        };
        !is_plain(at) || pairs.iter().any(|[first, second]| may_be(at, first) && may_be(at + 1, second))
    }
}

/// The bytes with which a pattern begins; all of them where it may be over.
fn firsts(form: &Hir) -> Set {
    bytes::edge(form, false).map_or(Set::ALL, |bytes| Set::of(|byte| bytes[usize::from(byte)]))
}

/// The steps that patterns can make with any of some bytes: each with the bytes that it takes, and what is
/// left of the pattern then. Nothing where there are too many.
fn steps(forms: &[Hir], of: Set) -> Option<Vec<(Set, Hir)>> {
    let mut steps = Vec::new();
    for form in forms {
        step(form, of, &Hir::empty(), &mut steps);
        if steps.len() > FORMS {
            return None;
        }
    }
    Some(steps)
}

/// Adds the steps of a pattern, with what follows the pattern; answers whether it may be over before.
fn step(hir: &Hir, of: Set, then: &Hir, steps: &mut Vec<(Set, Hir)>) -> bool {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => true,
        HirKind::Literal(literal) => {
            if let Some(&byte) = literal.0.first().filter(|&&byte| of.has(byte)) {
                let rest = Hir::concat(vec![Hir::literal(&literal.0[1..]), then.clone()]);
                steps.push((Set::of(|other| other == byte), rest));
            }
            false
        }
        HirKind::Class(class) => {
            let bytes = bytes::bytes_of_class(class);
            let is_in = |byte: u8| bytes[usize::from(byte)] && of.has(byte);
            if (0..128).any(is_in) {
                steps.push((Set::of(|byte| byte.is_ascii() && is_in(byte)), then.clone()));
            }
            // The bytes of a longer character are not told apart: more of them may follow, or what is next.
            if (128..=u8::MAX).any(is_in) {
                let long = Set::of(|byte| !byte.is_ascii() && is_in(byte));
                steps.push((long, then.clone()));
                steps.push((long, Hir::concat(vec![hir.clone(), then.clone()])));
            }
            false
        }
        HirKind::Capture(capture) => step(&capture.sub, of, then, steps),
        HirKind::Repetition(repeated) => {
            if repeated.max == Some(0) {
                return true;
            }
            let next = Hir::repetition(Repetition {
                min: repeated.min.saturating_sub(1),
                max: repeated.max.map(|max| max.saturating_sub(1)),
                greedy: repeated.greedy,
                sub: repeated.sub.clone(),
            });
            let is_over = step(&repeated.sub, of, &Hir::concat(vec![next, then.clone()]), steps);
            repeated.min == 0 || is_over
        }
        HirKind::Alternation(branches) => {
            let mut is_over = false;
            for branch in branches {
                is_over |= step(branch, of, then, steps);
            }
            is_over
        }
        HirKind::Concat(parts) => {
            for (place, part) in parts.iter().enumerate() {
                let then = Hir::concat(parts[place + 1..].iter().chain([then]).cloned().collect());
                if !step(part, of, &then, steps) {
                    return false;
                }
            }
            true
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_two_bytes_are_known() {
        for (pattern, literal, follows, others) in [
            ("server ?=x", "server", &[" =", "=x", "=", ""][..], &[" x", "==", "x"][..]),
            ("(?i:pass)[:=][01]{3}", "pass", &[":0", "=1"], &["s0", "::", "00"]),
            ("ghp_[ab]{3}", "ghp_", &["ab"], &["ac", "ca"]),
            ("(?:abc|abd)(?P<secret>x|yz)", "ab", &["cx", "dy"], &["xc", "ex"]),
            ("abc", "abc", &["xx", ""], &[]),
            ("abcd", "abc", &["dx"], &["x"]),
            ("abc(?:d{2,3}e)+", "abc", &["dd"], &["de"]),
            ("abc[é]{2}x", "abc", &["é"], &["x", "éx"][..1]),
        ] {
            let hir = regex_syntax::parse(pattern).expect("a pattern");
            let follow = Follow::of(&hir, &crate::trigger::fold(literal.as_bytes()));
            for text in follows {
                assert!(follow.goes_on(text.as_bytes(), 0), "{pattern} {text}");
            }
            for text in others {
                assert!(!follow.goes_on(text.as_bytes(), 0), "{pattern} {text}");
            }
        }
    }

    #[test]
    fn json_may_go_on_in_another_spelling() {
        let hir = regex_syntax::parse("token=[0-9]").expect("a pattern");
        let follow = Follow::of(&hir, b"token");
        for (json, goes_on) in
            [("token=1", true), ("token s", false), ("token\"", true), ("token\\u", true), ("token=%", true)]
        {
            assert_eq!(follow.goes_on_in_json(json.as_bytes(), 5), goes_on, "{json}");
        }
    }
}
