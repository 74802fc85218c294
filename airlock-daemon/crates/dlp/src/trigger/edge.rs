//! Edges: whether something stands by itself, or is a part of a longer word.

use std::ops::Range;

/// Bytes that must not touch a literal, given those that it begins and ends with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Edge {
    /// Any may.
    Free,
    /// No letter, digit or underscore touches one at its start.
    Start,
    /// No letter touches a letter at its start or end.
    Letters,
}

impl Edge {
    /// Answers whether the bytes in a range stand by themselves.
    pub(crate) fn stands(self, text: &[u8], of: &Range<usize>) -> bool {
        !(self.is_cut(text, of.start) || self == Self::Letters && self.is_cut(text, of.end))
    }

    /// Answers the same of JSON, where the letter of an escape may stand in front. In the name of a member,
    /// its words count each by itself.
    pub(crate) fn stands_in_json(self, json: &[u8], of: &Range<usize>) -> bool {
        let is_cut = |at: usize| {
            self.is_cut(json, at)
                && !(at >= 2 && json[at - 2] == b'\\')
                && !(is_edge_of_word(json, at) && is_name(json, at))
        };
        !(is_cut(of.start) || self == Self::Letters && is_cut(of.end))
    }

    /// Answers whether what stands on both sides of a place goes together.
    fn is_cut(self, text: &[u8], at: usize) -> bool {
        let is_of = |byte: &u8| match self {
            Self::Free => false,
            Self::Start => byte.is_ascii_alphanumeric() || *byte == b'_',
            Self::Letters => byte.is_ascii_alphabetic(),
        };
        at > 0 && is_of(&text[at - 1]) && text.get(at).is_some_and(is_of)
    }
}

/// Answers whether a word of a name ends at a place, where another begins.
fn is_edge_of_word(json: &[u8], at: usize) -> bool {
    json[at - 1] == b'_' || (json[at - 1].is_ascii_lowercase() && json[at].is_ascii_uppercase())
}

/// How far behind a place the name ends that has it, at most, in bytes.
const NAME: usize = 4 << 10;

/// Answers whether a place may be in the name of a member: a quote and a colon stand behind it.
fn is_name(json: &[u8], at: usize) -> bool {
    let near = &json[at..(at + NAME).min(json.len())];
    let Some(end) = memchr::memchr(b'"', near) else { return false };
    may_be_name(json, at + end + 1) || near[..end].last() == Some(&b'\\')
}

/// Blanks that are looked at between a name and its colon, at most, in bytes.
const BLANKS: usize = 64;

/// Answers whether a string may be the name of a member, given the place behind the quote that ends it. Many
/// blanks there leave it open, so that no text has them read over and over.
pub(crate) fn may_be_name(json: &[u8], behind: usize) -> bool {
    let mut near = json.iter().skip(behind).take(BLANKS);
    let blanks = near.clone().take_while(|byte| byte.is_ascii_whitespace()).count();
    blanks == BLANKS || near.nth(blanks) == Some(&b':')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_stand_by_themselves_where_nothing_touches_them() {
        let all = [Edge::Free, Edge::Start, Edge::Letters];
        let blank = |blanks: usize, behind: char| format!("\"my_key\"{}{behind}", " ".repeat(blanks));
        for (text, in_text, in_json) in [
            (" key ", [true, true, true], [true, true, true]),
            ("1key2", [true, false, true], [true, false, true]),
            ("_keys", [true, false, false], [true, false, false]),
            (r"\nkey", [true, false, false], [true, true, true]),
            ("myKey", [true, false, false], [true, false, false]),
            (r#""myKey": 1"#, [true, false, false], [true, true, true]),
            (r#""my_keyOne":"#, [true, false, false], [true, true, true]),
            (r#""my_key","#, [true, false, true], [true, false, true]),
            (blank(BLANKS - 1, ':').as_str(), [true, false, true], [true, true, true]),
            (blank(BLANKS - 1, ',').as_str(), [true, false, true], [true, false, true]),
            // Nobody looks for what stands behind so many blanks.
            (blank(BLANKS, ',').as_str(), [true, false, true], [true, true, true]),
        ] {
            let at = text.to_ascii_lowercase().find("key").unwrap();
            let of = at..at + 3;
            assert_eq!(all.map(|edge| edge.stands(text.as_bytes(), &of)), in_text, "{text}");
            assert_eq!(all.map(|edge| edge.stands_in_json(text.as_bytes(), &of)), in_json, "{text}");
        }
    }
}
