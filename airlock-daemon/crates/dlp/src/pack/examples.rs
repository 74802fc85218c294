//! The examples of a pack: each positive one is found whole or between its marks, by the pattern and by the
//! scanner, in each negative one nothing is.

use serde_saphyr::Spanned;

use super::fault::Faults;
use crate::detector::Detector;
use crate::detectors::Detectors;

/// Stands within examples of secrets, so that no scanner of repositories takes them for real ones.
const BREAK: char = '\u{a6}';

/// Runs the examples of a detector, and notes those that fail.
pub(super) fn run(
    detector: &Detector,
    positive: &[Spanned<String>],
    negative: &[Spanned<String>],
    faults: &mut Faults,
) {
    let scanner = Detectors::new(vec![detector.clone()]);
    for example in positive {
        let line = example.referenced.line();
        let Some((text, expected)) = unmark(&example.value) else {
            let reason = format!(
                "a positive example of `{}` has marks that do not pair: {:?}",
                detector.name(),
                example.value
            );
            faults.add(line, reason, "write \u{bb} in front of what is to be found and \u{ab} behind it");
            continue;
        };
        let found = detector.find_all(&text);
        if !found.contains(&expected) {
            let instead = match found.first() {
                Some(range) => format!("finds {:?} instead", &text[range.clone()]),
                None => "finds nothing in it".to_owned(),
            };
            let reason = format!(
                "detector `{}` fails its positive example {:?}: it {instead}",
                detector.name(),
                example.value
            );
            faults.add(line, reason, "correct the pattern, its checks and words, or the example");
        } else if !scanner.scan(&text, |_| true).iter().any(|hit| hit.range == expected) {
            let reason = format!(
                "detector `{}` is not looked for where its positive example {:?} has it",
                detector.name(),
                example.value
            );
            faults.add(line, reason, "write a pattern whose literal or digits stand closer together");
        }
    }
    for example in negative {
        let text: String = example.value.chars().filter(|letter| *letter != BREAK).collect();
        if let Some(range) = detector.find_all(&text).first() {
            let reason = format!(
                "detector `{}` fails its negative example {:?}: it finds {:?}",
                detector.name(),
                example.value,
                &text[range.clone()]
            );
            faults.add(example.referenced.line(), reason, "make the pattern or its checks stricter");
        }
    }
}

/// Takes the marks out of a positive example: its text, and the range that is to be found.
fn unmark(example: &str) -> Option<(String, std::ops::Range<usize>)> {
    let mut text = String::with_capacity(example.len());
    let (mut start, mut end) = (None, None);
    for letter in example.chars() {
        match letter {
            BREAK => {}
            '\u{bb}' if start.is_none() => start = Some(text.len()),
            '\u{ab}' if start.is_some() && end.is_none() => end = Some(text.len()),
            '\u{bb}' | '\u{ab}' => return None,
            letter => text.push(letter),
        }
    }
    match (start, end) {
        (None, None) => {
            let whole = 0..text.len();
            Some((text, whole))
        }
        (Some(start), Some(end)) => Some((text, start..end)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_and_breaks_come_out() {
        assert_eq!(unmark("g\u{a6}hp"), Some(("ghp".to_owned(), 0..3)));
        assert_eq!(unmark("a \u{bb}b\u{a6}c\u{ab} d"), Some(("a bc d".to_owned(), 2..4)));
        for bad in ["\u{bb}a", "a\u{ab}", "\u{ab}a\u{bb}", "\u{bb}a\u{ab}\u{bb}b\u{ab}"] {
            assert_eq!(unmark(bad), None, "{bad}");
        }
    }
}
