//! Names: the words of a member's name, and what a name becomes of which a part is taken out.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use crate::message::lexer::{Lexer, NotJson, Token};
use crate::message::rewrite::Edit;
use crate::spelling::view;

/// Renames members of the object that begins at a place, each to a name that no other has.
pub(crate) fn renamed(
    json: &str,
    start: usize,
    members: &[(Range<usize>, Vec<Edit>)],
) -> Result<Vec<Edit>, NotJson> {
    let mut all = Vec::new();
    let is_another = |(_, edits): &&(Range<usize>, Vec<Edit>)| edits.iter().any(|edit| edit.with.is_some());
    let changed: HashSet<usize> = members.iter().filter(is_another).map(|(key, _)| key.start).collect();
    // As their reader sees them, whatever their escapes are.
    let mut taken: HashSet<String> = HashSet::new();
    let mut lexer = Lexer::new(&json[start..]);
    let mut depth = 0;
    while let Some(token) = lexer.next()? {
        match token {
            Token::Object | Token::Array => depth += 1,
            Token::End => depth -= 1,
            Token::Key(inner) if depth == 1 => {
                let key = start + inner.start..start + inner.end;
                if !changed.contains(&key.start) {
                    taken.insert(view::json(&json[key]).text);
                }
            }
            _ => {}
        }
        if depth == 0 {
            break;
        }
    }
    // A name that stands twice stands twice afterwards.
    let mut renamed: HashMap<String, String> = HashMap::new();
    let mut numbers: HashMap<String, usize> = HashMap::new();
    for (key, edits) in members {
        let key = key.clone();
        let found = edits.iter().flat_map(|edit| edit.found.clone()).collect();
        if edits.iter().all(|edit| edit.with.is_none()) {
            all.push(Edit { range: key, with: None, found, is_partial: false });
            continue;
        }
        let before = view::json(&json[key.clone()]).text;
        let base = applied(json, &key, edits);
        if let Some(name) = renamed.get(&before) {
            all.push(Edit { range: key, with: Some(String::clone(name)), found, is_partial: false });
            continue;
        }
        let mut name = base.clone();
        let read = view::json(&base).text;
        if !taken.insert(read.clone()) {
            // Each number is tried once, so that all names together cost no more than their number.
            let tried = numbers.entry(read.clone()).or_insert(1_usize);
            loop {
                *tried += 1;
                if taken.insert(format!("{read}-{tried}")) {
                    break;
                }
            }
            name = format!("{base}-{tried}");
        }
        renamed.insert(before, name.clone());
        all.push(Edit { range: key, with: Some(name), found, is_partial: false });
    }
    Ok(all)
}

/// Writes a part of a text with edits done.
pub(crate) fn applied(text: &str, part: &Range<usize>, edits: &[Edit]) -> String {
    let mut result = String::with_capacity(part.len());
    let mut done = part.start;
    for edit in edits {
        let Some(with) = &edit.with else { continue };
        result.push_str(&text[done..edit.range.start]);
        result.push_str(with);
        done = edit.range.end;
    }
    result.push_str(&text[done..part.end]);
    result
}

/// The words of a name: `clientSecret` and `client_secret` are `client secret`.
pub(crate) fn words_of(name: &str) -> String {
    let mut words = String::with_capacity(name.len() + 4);
    let mut before = ' ';
    for character in name.chars() {
        if character.is_ascii_uppercase() && before.is_ascii_lowercase() {
            words.push(' ');
        }
        words.push(if matches!(character, '_' | '-' | '.') { ' ' } else { character });
        before = character;
    }
    words
}
