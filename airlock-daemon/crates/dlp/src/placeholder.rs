//! Placeholders: the text that takes the place of a finding, and the same text found in a message. Its words
//! are Airlock's own, so that no look takes them for a finding, nor for a word near one.

use std::borrow::Cow;
use std::ops::Range;

use crate::hit::Hit;

/// Takes the place of a finding for which no detector speaks.
pub(crate) const NAMELESS: &str = "[redacted]";

/// Begins a placeholder, behind its bracket.
const REDACTED: &str = "redacted";

/// Begins a mask.
const MASK: &str = "****";

/// Letters and digits that a mask leaves.
const SHOWN: usize = 4;

/// The shortest text of which a mask leaves anything.
const MASKABLE: usize = 12;

/// The hex digits of a keyed digest.
const DIGEST: usize = 16;

/// The longest text between brackets that is read: a detector's name has 48 characters at most.
const LONGEST: usize = 80;

/// Names the detector of a finding.
pub(crate) fn naming(detector: &str) -> String {
    format!("[{REDACTED}:{detector}]")
}

/// Gives a finding's keyed digest.
pub(crate) fn digesting(detector: &str, digest: u64) -> String {
    format!("[{detector}:{digest:0DIGEST$x}]")
}

/// Keeps the last four letters or digits of a text that has enough of them.
pub(crate) fn masking(found: &str) -> String {
    let mut last: Vec<char> = found.chars().rev().filter(char::is_ascii_alphanumeric).take(SHOWN).collect();
    last.reverse();
    let is_long = found.chars().filter(char::is_ascii_alphanumeric).count() >= MASKABLE;
    format!("{MASK}{}", if is_long { last.into_iter().collect() } else { String::new() })
}

fn is_mask(text: &str) -> bool {
    let shown = text.strip_prefix(MASK);
    shown.is_some_and(|shown| shown.len() <= SHOWN && shown.bytes().all(|byte| byte.is_ascii_alphanumeric()))
}

/// A text of which the placeholders say nothing.
#[derive(Debug)]
pub(crate) struct Blanked<'a> {
    /// The text, as long as it was, with `^` for each letter of a placeholder: no check, no context and no
    /// token knows it.
    pub(crate) text: Cow<'a, str>,
    /// The placeholders, in order.
    places: Vec<Place>,
    has_masks: bool,
}

/// The place of a placeholder.
#[derive(Debug)]
struct Place {
    /// All of it, with its brackets.
    whole: Range<usize>,
    /// The letters that are blank. A digest's digits are none: a message may have a number there.
    blank: Range<usize>,
}

/// The placeholders that may stand in a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Written {
    /// None.
    Nothing,
    /// The name of a detector.
    Name,
    /// The same, or a digest of what it found.
    Digest,
}

/// Takes the words of placeholders out of a text, by what may have been written for the detector of a name,
/// and where masks are written.
pub(crate) fn blanked(text: &str, has_masks: bool, written: impl Fn(&str) -> Written) -> Blanked<'_> {
    let mut places: Vec<Place> = Vec::new();
    for start in memchr::memchr_iter(b'[', text.as_bytes()) {
        let inner = start + 1;
        let is_inner = |byte: &&u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b':');
        let length = text.as_bytes()[inner..].iter().take(LONGEST).take_while(is_inner).count();
        let end = inner + length;
        if text.as_bytes().get(end) != Some(&b']') {
            continue;
        }
        let blank = match text[inner..end].split_once(':') {
            None if &text[inner..end] == REDACTED => inner..end,
            Some((REDACTED, name)) if written(name) != Written::Nothing => inner..end,
            Some((name, digest)) if is_digest(digest) && written(name) == Written::Digest => {
                inner..inner + name.len()
            }
            _ => continue,
        };
        places.push(Place { whole: start..end + 1, blank });
    }
    if places.is_empty() {
        return Blanked { text: Cow::Borrowed(text), places, has_masks };
    }
    let mut blanked = String::with_capacity(text.len());
    for Place { blank, .. } in &places {
        blanked.push_str(&text[blanked.len()..blank.start]);
        blanked.extend(std::iter::repeat_n('^', blank.len()));
    }
    blanked.push_str(&text[blanked.len()..]);
    Blanked { text: Cow::Owned(blanked), places, has_masks }
}

fn is_digest(text: &str) -> bool {
    text.len() == DIGEST && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

impl Blanked<'_> {
    /// Leaves a hit out that has nothing but what took the place of a finding, and widens one that has a part
    /// of a placeholder to all of it.
    pub(crate) fn keeps(&self, hit: &mut Hit) -> bool {
        let Range { start, end } = hit.range;
        if self.has_masks && is_mask(&self.text[start..end]) {
            return false;
        }
        let first = self.places.partition_point(|place| place.whole.end <= start);
        let touched = self.places[first..].iter().take_while(|place| place.whole.start < end);
        for Place { whole, blank } in touched {
            let is_within = whole.start <= start && end <= whole.end;
            if is_within && (start < blank.end || (start, end) == (whole.start, whole.end)) {
                return false;
            }
            if !is_within {
                hit.range = hit.range.start.min(whole.start)..hit.range.end.max(whole.end);
            }
        }
        true
    }

    /// Answers whether all of the text took the place of a finding.
    pub(crate) fn is_nothing_else(&self) -> bool {
        is_mask(&self.text) || matches!(&self.places[..], [place] if place.whole == (0..self.text.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blank(text: &str) -> Blanked<'_> {
        blanked(text, true, |name| match name {
            "card" => Written::Digest,
            "auth-token" => Written::Name,
            _ => Written::Nothing,
        })
    }

    #[test]
    fn the_words_of_placeholders_are_blank_and_no_others() {
        for (text, expected) in [
            ("a [redacted:auth-token] b", "a [^^^^^^^^^^^^^^^^^^^] b"),
            ("[redacted:card][redacted]", "[^^^^^^^^^^^^^][^^^^^^^^]"),
            ("[[redacted:card]]", "[[^^^^^^^^^^^^^]]"),
            ("[redacted:[redacted:card]", "[redacted:[^^^^^^^^^^^^^]"),
            ("[card:00000000000000ff]", "[^^^^:00000000000000ff]"),
        ] {
            assert_eq!(blank(text).text, expected);
        }
        for text in [
            "[redacted:other]",
            "[Redacted:card]",
            "[redacted:card",
            "redacted:card]",
            "[card:00000000000000FF]",
            "[card:4111]",
            "[auth-token]",
            "[auth-token:00000000000000ff]",
            "[é]",
            "[",
        ] {
            let blanked = blank(text);
            assert_eq!(blanked.text, text);
            assert!(!blanked.is_nothing_else(), "{text}");
        }
        for own in ["[redacted:card]", "[redacted]", "[card:00000000000000ff]", "****", "****1aB4"] {
            assert!(blank(own).is_nothing_else(), "{own}");
        }
    }

    #[test]
    fn a_hit_is_of_the_message_and_has_placeholders_whole() {
        let kept = |text: &str, range: Range<usize>| {
            let mut hit = Hit { detector: 0, range };
            blank(text).keeps(&mut hit).then_some(hit.range)
        };
        let text = "so [redacted:card], [card:4111111111111111]";
        assert_eq!(kept(text, 3..18), None);
        assert_eq!(kept(text, 4..17), None);
        assert_eq!(kept(text, 0..5), Some(0..18));
        assert_eq!(kept(text, 17..22), Some(3..43));
        assert_eq!(kept(text, 20..43), None);
        assert_eq!(kept(text, 26..42), Some(26..42), "a number may stand in the place of a digest");
        assert_eq!(kept("is ****4242", 3..11), None);
        assert_eq!(kept("is *****4242", 3..12), Some(3..12));
    }
}
