//! Signs: punctuation that every match of a pattern has.

use regex_syntax::hir::{Hir, HirKind};

/// A sign that every match has, and that JSON spells as it is.
pub(crate) fn sign(hir: &Hir) -> Option<u8> {
    let is_telling =
        |byte: &u8| byte.is_ascii_punctuation() && !matches!(byte, b'"' | b'\\' | b'/' | b',' | b'.');
    match hir.kind() {
        HirKind::Literal(literal) => literal.0.iter().copied().find(is_telling),
        HirKind::Capture(capture) => sign(&capture.sub),
        HirKind::Repetition(repeated) if repeated.min > 0 => sign(&repeated.sub),
        HirKind::Concat(parts) => parts.iter().find_map(sign),
        HirKind::Alternation(branches) => {
            let mut signs = branches.iter().map(sign);
            let first = signs.next()??;
            signs.all(|sign| sign == Some(first)).then_some(first)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_are_in_every_match() {
        for (pattern, expected) in [
            ("[a-f]{0,4}:(?:[a-f]{0,4}:){1,7}", Some(b':')),
            ("(?P<a>a-b|c-d)", Some(b'-')),
            ("a-b|c:d", None),
            ("(?:a:)*b", None),
            ("a.b", None),
        ] {
            let hir = regex_syntax::parse(pattern).unwrap();
            assert_eq!(sign(&hir), expected, "{pattern}");
        }
    }
}
