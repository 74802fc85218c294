//! Foreign text made printable.

use std::borrow::Cow;
use std::fmt::{self, Write};

/// Whether a character steers what shows it instead of being shown: control characters, line and paragraph separators, those
/// that turn the direction of writing (Unicode TR 9), and those that nobody sees.
pub fn steers(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{61c}' | '\u{180e}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// `text` with every character that [`steers`] as an escape (`\n`, `\u{202e}`): what comes from outside must not steer a
/// terminal, forge a line, or hide a part of itself. All else is as it was, so a text that is printable stays the same.
pub fn printable(text: &str) -> Cow<'_, str> {
    if !text.contains(steers) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    // Writing to a string cannot fail.
    let _ = Printable(&mut shown).write_str(text);
    Cow::Owned(shown)
}

/// A writer that makes printable what passes through it.
pub struct Printable<W>(pub W);

impl<W: Write> Write for Printable<W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut rest = text;
        while let Some(at) = rest.find(steers) {
            let (plain, from) = rest.split_at(at);
            self.0.write_str(plain)?;
            let mut chars = from.chars();
            if let Some(c) = chars.next() {
                match c {
                    '\n' => self.0.write_str("\\n")?,
                    '\r' => self.0.write_str("\\r")?,
                    '\t' => self.0.write_str("\\t")?,
                    c => write!(self.0, "{}", c.escape_unicode())?,
                }
            }
            rest = chars.as_str();
        }
        self.0.write_str(rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_steers_is_escaped_and_all_else_is_left() {
        for plain in ["", "plain", "\u{fc}\u{2713} \u{65e5}\u{672c}", "a\\nb", "\u{1f468}\u{200d}\u{1f469}"] {
            assert!(matches!(printable(plain), Cow::Borrowed(same) if same == plain), "{plain}");
        }
        assert_eq!(printable("a\r\n\tb\0"), "a\\r\\n\\tb\\u{0}");
        let bad = "\u{1b}\u{7f}\u{85}\u{9b}\u{61c}\u{200e}\u{200f}\u{2028}\u{2029}\u{202a}\u{202b}\u{202c}\u{202d}\u{202e}\
                   \u{2066}\u{2067}\u{2068}\u{2069}\u{feff}\u{e0041}";
        let shown = printable(bad);
        assert!(
            !shown.contains(steers) && shown.starts_with("\\u{1b}\\u{7f}\\u{85}\\u{9b}\\u{61c}"),
            "{shown}"
        );
    }
}
