//! Manifests: a Secret of Kubernetes as JSON is one as a whole, whatever its data are. As text, a pattern
//! finds it; in members of a message it is written out for the same pattern.

use std::ops::Range;

use crate::lexer::{Lexer, Token};
use crate::rewrite::{Edit, Rewriter, TooMuch};

/// The members of a Secret that hold its data.
const DATA: [&str; 2] = ["data", "stringData"];

/// The text that stands before the data when they are written out.
const BEFORE: &str = r#""kind": "Secret", "data": "#;

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
        self.is_secret |=
            &json[inner.clone()] == "Secret" && key.is_some_and(|key| &json[key.clone()] == "kind");
    }

    /// Takes in an object or array that is a member of the object.
    pub(crate) fn has_member(&mut self, json: &str, key: Option<&Range<usize>>, member: Range<usize>) {
        if key.is_some_and(|key| DATA.contains(&&json[key.clone()])) && json[member.clone()].starts_with('{')
        {
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
            let text = [BEFORE, &json[data.clone()]].concat();
            rewriter.spend(text.len())?;
            for hit in rewriter.manifests(&text) {
                let mut lexer = Lexer::new(&text[BEFORE.len()..]);
                while let Ok(Some(token)) = lexer.next() {
                    let Token::String(value) = token else { continue };
                    let (start, end) = (BEFORE.len() + value.start, BEFORE.len() + value.end);
                    if start < end && start < hit.range.end && hit.range.start < end {
                        let with = rewriter.act(hit.detector, &text[start..end]);
                        let range = data.start + value.start..data.start + value.end;
                        edits.push(Edit { range, with, found: vec![hit.detector], is_partial: false });
                    }
                }
            }
        }
        Ok(())
    }
}
