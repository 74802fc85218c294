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
        let before = &text[matched.start.saturating_sub(self.before)..matched.start];
        let after = &text[matched.end..(matched.end + self.after).min(text.len())];
        self.words.iter().any(|word| holds(before, word.as_bytes()) || holds(after, word.as_bytes()))
    }
}

/// Answers whether a word stands in a text, without regard to ASCII case, and not as a part of a longer word.
fn holds(text: &[u8], word: &[u8]) -> bool {
    let is_letter = |at: Option<&u8>| at.is_some_and(u8::is_ascii_alphabetic);
    text.windows(word.len()).enumerate().any(|(at, part)| {
        part.eq_ignore_ascii_case(word)
            && !(is_letter(at.checked_sub(1).and_then(|at| text.get(at))) && is_letter(word.first()))
            && !(is_letter(text.get(at + word.len())) && is_letter(word.last()))
    })
}
