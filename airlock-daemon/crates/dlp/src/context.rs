//! Context: words that must stand near a match.

use std::ops::Range;

/// The words of which one must stand near a match.
#[derive(Debug, Clone)]
pub struct Context {
    /// Compared without regard to ASCII case, three bytes or longer.
    pub words: Vec<String>,
    /// How far in front of a match a word may end, in bytes.
    pub before: usize,
    /// How far behind a match a word may begin, in bytes.
    pub after: usize,
}

impl Context {
    pub(crate) fn stands_near(&self, text: &str, matched: &Range<usize>) -> bool {
        let text = text.as_bytes();
        let before = matched.start.saturating_sub(self.before)..matched.start;
        let after = matched.end..(matched.end + self.after).min(text.len());
        let is_near =
            |word: &String| [&before, &after].into_iter().any(|part| holds(text, part, matched, word));
        self.words.iter().any(is_near)
    }
}

/// Answers whether a word stands in a part of a text beside a match, without regard to ASCII case, and not as
/// a part of a longer word, to which the match does not belong.
fn holds(text: &[u8], part: &Range<usize>, matched: &Range<usize>, word: &str) -> bool {
    let word = word.as_bytes();
    let is_letter = |at: usize| text.get(at).is_some_and(u8::is_ascii_alphabetic);
    let is_cut =
        |at: usize| at > 0 && at != matched.start && at != matched.end && is_letter(at - 1) && is_letter(at);
    text[part.clone()].windows(word.len()).enumerate().any(|(at, stands)| {
        let (start, end) = (part.start + at, part.start + at + word.len());
        stands.eq_ignore_ascii_case(word) && !is_cut(start) && !is_cut(end)
    })
}
