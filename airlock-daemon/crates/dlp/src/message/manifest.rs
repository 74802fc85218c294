//! Manifests: a Secret of Kubernetes as JSON is one as a whole, whatever its data are. As text, a pattern
//! finds it; in members of a message it is written out for the same pattern.

use std::ops::Range;

use crate::message::lexer::{Lexer, Token};
use crate::message::rewrite::{Edit, Rewriter, TooMuch};
use crate::spelling::view;

/// The members of a Secret that hold its data.
const DATA: [&str; 2] = ["data", "stringData"];

/// The text around a value when it is written out.
const AROUND: [&str; 2] = [r#""kind": "Secret", "data": {"it": ""#, r#""}"#];

/// The bytes of a character that is escaped.
const ESCAPE: usize = r"\u0053".len();

/// An object that may be a Secret.
#[derive(Debug, Default)]
pub(crate) struct Manifest {
    is_secret: bool,
    /// The objects that hold data.
    data: Vec<Range<usize>>,
}

impl Manifest {
    /// Takes in a string of the object.
    pub(crate) fn is_of_kind(&mut self, json: &str, key: Option<&Range<usize>>, inner: &Range<usize>) {
        self.is_secret |= is(json, inner, "Secret") && key.is_some_and(|key| is(json, key, "kind"));
    }

    /// Takes in an object or array that is a member of the object.
    pub(crate) fn has_member(&mut self, json: &str, key: Option<&Range<usize>>, member: Range<usize>) {
        let is_data = |key: &Range<usize>| DATA.iter().any(|name| is(json, key, name));
        if json[member.clone()].starts_with('{') && key.is_some_and(is_data) {
            self.data.push(member);
        }
    }

    /// Finds the data, where the object is a Secret.
    pub(crate) fn end(
        self,
        json: &str,
        rewriter: &mut Rewriter<'_>,
        edits: &mut Vec<Edit>,
    ) -> Result<(), TooMuch> {
        if !self.is_secret {
            return Ok(());
        }
        for data in self.data {
            rewriter.spend(data.len())?;
            let mut lexer = Lexer::new(&json[data.clone()]);
            while let Ok(Some(token)) = lexer.next() {
                let Token::String(value) = token else { continue };
                let range = data.start + value.start..data.start + value.end;
                let value = &json[range.clone()];
                if value.is_empty() {
                    continue;
                }
                // Each by itself: it may stand beside others that are no strings.
                rewriter.spend(AROUND[0].len() + value.len() + AROUND[1].len())?;
                if let Some(hit) = rewriter.manifest(value, AROUND) {
                    let with = rewriter.act(hit.detector, value);
                    edits.push(Edit { range, with, found: vec![hit.detector], is_partial: false });
                }
            }
        }
        Ok(())
    }
}

/// Answers whether a string or a name is a word, in whatever escapes.
fn is(json: &str, inner: &Range<usize>, word: &str) -> bool {
    let raw = &json[inner.clone()];
    raw == word || raw.len() <= word.len() * ESCAPE && raw.contains('\\') && view::json(raw).text == word
}
