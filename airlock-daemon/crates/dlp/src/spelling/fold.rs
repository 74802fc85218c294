//! Folding: characters that look like ASCII read as ASCII, and characters that cannot be seen are not there.

use std::sync::LazyLock;

use unicode_normalization::UnicodeNormalization;

use crate::spelling::{Decoded, Spelled};

/// The last code point that may fold: the tags end here.
const LAST: u32 = 0xE_0FFF;

/// Code points of one page of the table.
const PAGE: usize = 256;

/// By page of code points: the ASCII text that each folds to. Pages on which nothing folds are missing.
static TABLE: LazyLock<Box<[Option<Box<Page>>]>> = LazyLock::new(|| {
    let pages = LAST as usize / PAGE + 1;
    (0..pages).map(page).collect()
});

type Page = [Option<Box<str>>; PAGE];

fn page(number: usize) -> Option<Box<Page>> {
    // Between the last emoji and the tags there is nothing that folds: ideographs, and planes without
    // characters.
    if (0x200..0xE00).contains(&number) {
        return None;
    }
    let mut page: Box<Page> = Box::new([const { None }; PAGE]);
    for (place, entry) in page.iter_mut().enumerate() {
        let code = u32::try_from(number * PAGE + place).ok();
        *entry = code.and_then(char::from_u32).filter(|character| !character.is_ascii()).and_then(ascii);
    }
    page.iter().any(Option::is_some).then_some(page)
}

/// Folds the character that begins at a byte of a text, if it reads as ASCII or cannot be seen.
pub(crate) fn at(text: &str, at: usize) -> Option<Spelled> {
    let character = text[at..].chars().next()?;
    let code = character as usize;
    let page = TABLE.get(code / PAGE)?.as_ref()?;
    let folded = page[code % PAGE].as_deref()?;
    Some(Spelled { decoded: Decoded::Text(folded), length: character.len_utf8() })
}

/// Says how a character reads to a person who expects ASCII; nothing where it reads as itself.
fn ascii(character: char) -> Option<Box<str>> {
    if is_invisible(character) {
        return Some(Box::default());
    }
    if let Some(digit) = decimal(character) {
        return Some(String::from(digit).into());
    }
    let compatible: String = std::iter::once(character).nfkc().collect();
    let mut folded = String::new();
    for part in compatible.chars() {
        if part.is_ascii() {
            folded.push(part);
        } else {
            folded.extend(unicode_security::confusable_detection::skeleton(part.encode_utf8(&mut [0; 4])));
        }
    }
    // Two letters that look like one are a ligature; longer skeletons are of signs that nobody reads as
    // letters.
    (folded.is_ascii() && (1..=4).contains(&folded.len())).then(|| folded.into())
}

/// The zeros of other scripts; the other digits follow each (Unicode, general category Nd).
const ZEROS: [u32; 40] = [
    0x0660, 0x06F0, 0x07C0, 0x0966, 0x09E6, 0x0A66, 0x0AE6, 0x0B66, 0x0BE6, 0x0C66, 0x0CE6, 0x0D66, 0x0DE6,
    0x0E50, 0x0ED0, 0x0F20, 0x1040, 0x1090, 0x17E0, 0x1810, 0x1946, 0x19D0, 0x1A80, 0x1A90, 0x1B50, 0x1BB0,
    0x1C40, 0x1C50, 0xA620, 0xA8D0, 0xA900, 0xA9D0, 0xA9F0, 0xAA50, 0xABF0, 0x1_04A0, 0x1_1066, 0x1_10F0,
    0x1_1136, 0x1_E950,
];

/// The digit that a digit of another script stands for.
fn decimal(character: char) -> Option<char> {
    let code = u32::from(character);
    let zero = ZEROS[..ZEROS.partition_point(|&zero| zero <= code)].last()?;
    char::from_digit(code - zero, 10)
}

/// Characters without width, marks of direction, variation selectors, tags and soft hyphens.
fn is_invisible(character: char) -> bool {
    matches!(character,
        '\u{AD}' | '\u{34F}' | '\u{61C}' | '\u{115F}' | '\u{1160}' | '\u{17B4}' | '\u{17B5}' | '\u{180B}'..='\u{180F}'
        | '\u{200B}'..='\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2060}'..='\u{206F}' | '\u{3164}'
        | '\u{FE00}'..='\u{FE0F}' | '\u{FEFF}' | '\u{FFA0}' | '\u{FFF9}'..='\u{FFFB}' | '\u{1D173}'..='\u{1D17A}'
        | '\u{E0000}'..='\u{E0FFF}')
}
