//! The loader as a whole: broken files and what is said about them.

mod broken;
mod files;
mod whole;

use super::{Diagnostics, from_text, schema::Config};

/// The first line of most files below, so that only what a test is about is missing.
const AUTH: &str = "auth: {issuers: [{issuer: \"https://idp.example\", audience: [airlock]}]}\n";

/// Marks, in the texts below, the place that a diagnostic must name.
const MARK: char = '«';

/// The text without its marks, and their lines and columns.
fn unmark(text: &str) -> (String, Vec<(usize, usize)>) {
    let (mut plain, mut marks) = (String::new(), Vec::new());
    for c in text.chars() {
        if c == MARK {
            let line = plain.matches('\n').count() + 1;
            let column = plain.rsplit('\n').next().map_or(0, |last| last.chars().count()) + 1;
            marks.push((line, column));
        } else {
            plain.push(c);
        }
    }
    (plain, marks)
}

fn mistakes(text: &str) -> Diagnostics {
    match from_text("airlock.yaml", text) {
        Ok(_) => panic!("accepted:\n{text}"),
        Err(diagnostics) => diagnostics,
    }
}

fn good(text: &str) -> Config {
    from_text("airlock.yaml", text).unwrap_or_else(|diagnostics| panic!("{diagnostics}"))
}

/// Checks that exactly the marked places are reported, in order, with these words.
fn assert_mistakes(marked: &str, words: &[&str]) {
    if let Err(difference) = compare(marked, words) {
        panic!("{difference}");
    }
}

/// The difference from the marked places and the words.
fn compare(marked: &str, words: &[&str]) -> Result<(), String> {
    let (text, marks) = unmark(marked);
    let Err(diagnostics) = from_text("airlock.yaml", &text) else { return Err(format!("accepted:\n{text}")) };
    let entries = diagnostics.entries();
    let place = |d: &super::Diagnostic| (d.line.unwrap_or_default(), d.column.unwrap_or_default());
    let places: Vec<_> = entries.iter().map(place).collect();
    if places != marks || entries.len() != words.len() {
        return Err(format!(
            "places {places:?} instead of {marks:?} ({} words) in\n{text}\n{diagnostics}",
            words.len()
        ));
    }
    for (diagnostic, word) in entries.iter().zip(words) {
        let told = format!("{} | {} | {}", diagnostic.message, diagnostic.expected, diagnostic.help);
        if !told.contains(word) || diagnostic.expected.is_empty() || diagnostic.help.is_empty() {
            return Err(format!("{word:?}, an expectation or a remedy is missing in\n{diagnostic}"));
        }
    }
    Ok(())
}
