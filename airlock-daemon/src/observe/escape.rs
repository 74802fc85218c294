//! Foreign text made printable.

use std::borrow::Cow;
use std::fmt::{self, Write};

/// True where a character steers what shows it instead of being shown: control characters, line and paragraph
/// separators, those that turn the direction of writing (Unicode TR 9), and those that nobody sees.
pub fn steers(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{61c}' | '\u{180e}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// `text` with every character that [`steers`] as an escape (`\n`, `\u{202e}`): what comes from outside must
/// not steer a terminal, forge a line, or hide a part of itself. All else is as it was, so a text that is
/// printable stays the same.
pub fn printable(text: &str) -> Cow<'_, str> {
    if !text.contains(steers) {
        return Cow::Borrowed(text);
    }
    let mut printable = Printable::default();
    // Writing to a string cannot fail.
    let _ = printable.write_str(text);
    Cow::Owned(printable.text)
}

/// JSON in which every character that [`steers`] is written as an escape: the same values to whoever reads
/// them. Line ends between its tokens stay.
pub fn printable_json(json: &str) -> Cow<'_, str> {
    let inside = |c: char| steers(c) && c != '\n';
    if !json.contains(inside) {
        return Cow::Borrowed(json);
    }
    let mut shown = String::with_capacity(json.len() + 16);
    for c in json.chars() {
        if inside(c) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                // Writing to a string cannot fail.
                let _ = write!(shown, "\\u{unit:04x}");
            }
        } else {
            shown.push(c);
        }
    }
    Cow::Owned(shown)
}

/// The text that was written to it, printable.
#[derive(Debug, Default)]
pub struct Printable {
    /// The text so far.
    pub text: String,
    /// True where something in it had to be escaped.
    pub is_changed: bool,
}

impl Write for Printable {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut rest = text;
        while let Some(at) = rest.find(steers) {
            let (plain, from) = rest.split_at(at);
            self.text.push_str(plain);
            self.is_changed = true;
            let mut chars = from.chars();
            match chars.next() {
                Some('\n') => self.text.push_str("\\n"),
                Some('\r') => self.text.push_str("\\r"),
                Some('\t') => self.text.push_str("\\t"),
                Some(c) => self.text.extend(c.escape_unicode()),
                None => {}
            }
            rest = chars.as_str();
        }
        self.text.push_str(rest);
        Ok(())
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
        let json = printable_json("{\n \"a\": \"\u{202e}\u{e0041}\"}");
        assert_eq!(json, "{\n \"a\": \"\\u202e\\udb40\\udc41\"}");
        assert!(
            !shown.contains(steers) && shown.starts_with("\\u{1b}\\u{7f}\\u{85}\\u{9b}\\u{61c}"),
            "{shown}"
        );
    }
}
