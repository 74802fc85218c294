//! Words for records and logs, which hold nothing that may not pass either.

use std::borrow::Cow;

use super::sieve::{Paths, Sieve, Sifted};
use crate::config::schema::DlpDirection as Direction;
use crate::mcp::object::quote;

/// Takes out of words what may not pass. Nothing is counted.
pub struct Speaker {
    sieve: Option<Sieve>,
    direction: Direction,
}

impl Speaker {
    /// For words that go one way; without a sieve all words are as they come.
    pub(super) fn new(sieve: Option<Sieve>, direction: Direction) -> Self {
        Self { sieve, direction }
    }

    /// The words as they may be written.
    pub fn spoken<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let Some(sieve) = &self.sieve else { return Cow::Borrowed(text) };
        match sieve.sift(self.direction, &quote(text), Paths::default()) {
            Ok(Sifted { text: None, .. }) => Cow::Borrowed(text),
            Ok(Sifted { text: Some(json), .. }) => {
                Cow::Owned(serde_json::from_str(&json).unwrap_or_else(|_| "[redacted]".to_owned()))
            }
            Err(barred) => {
                let name = barred.detector().map_or_else(String::new, |name| format!(":{name}"));
                Cow::Owned(format!("[redacted{name}]"))
            }
        }
    }
}
