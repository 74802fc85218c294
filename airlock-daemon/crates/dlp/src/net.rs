//! Nets: literals, each with the detectors that run where it stands.

use std::ops::Range;

use crate::follow::Follow;
use crate::gate::Gate;

/// A gate, and the detectors behind it.
#[derive(Debug)]
pub(crate) struct Net {
    gate: Gate,
    /// By literal.
    users: Vec<Vec<User>>,
    /// The length of the longest literal, in bytes.
    longest: usize,
}

/// A detector that runs where a literal stands.
#[derive(Debug)]
pub(crate) struct User {
    pub(crate) detector: usize,
    /// How far in front of the literal a match may begin, in bytes.
    pub(crate) back: usize,
    /// How far behind the literal's start a match may begin, in bytes.
    pub(crate) ahead: usize,
    pub(crate) need: Need,
    /// The bytes that can stand behind the literal.
    pub(crate) follow: Follow,
}

/// Something that must stand where a detector is to run, beside the literal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    Nothing,
    /// A cluster of so many digits.
    Digits(usize),
    /// A run of so many characters that tokens have.
    Run(usize),
}

impl Net {
    pub(crate) fn new(mut literals: Vec<(Box<[u8]>, User)>) -> Self {
        literals.sort_by(|a, b| a.0.cmp(&b.0));
        let (mut names, mut users): (Vec<Box<[u8]>>, Vec<Vec<User>>) = (Vec::new(), Vec::new());
        for (literal, user) in literals {
            if names.last() != Some(&literal) {
                names.push(literal);
                users.push(Vec::new());
            }
            if let Some(of) = users.last_mut() {
                of.push(user);
            }
        }
        let longest = names.iter().map(|name| name.len()).max().unwrap_or(0);
        Self { gate: Gate::new(names), users, longest }
    }

    /// The length of the longest literal, in bytes.
    pub(crate) fn longest(&self) -> usize {
        self.longest
    }

    /// Tells of each user of each literal in a part of a text, with the place where the literal begins.
    #[inline]
    pub(crate) fn find(&self, text: &[u8], part: Range<usize>, mut found: impl FnMut(&User, usize)) {
        if self.longest > 0 {
            self.gate.literals(&text[part.clone()], |literal, at| {
                let end = part.start + at + self.gate.length(literal);
                for user in self.users[literal as usize].iter().filter(|user| user.follow.goes_on(text, end))
                {
                    found(user, part.start + at);
                }
            });
        }
    }

    /// Tells of the place of each literal of JSON behind which a match may go on, in any spelling.
    pub(crate) fn find_in_json(&self, json: &[u8], mut found: impl FnMut(usize)) {
        if self.longest > 0 {
            self.gate.literals(json, |literal, at| {
                let end = at + self.gate.length(literal);
                if self.users[literal as usize].iter().any(|user| user.follow.goes_on_in_json(json, end)) {
                    found(at);
                }
            });
        }
    }

    /// Answers whether a text has a literal.
    pub(crate) fn has(&self, text: &[u8]) -> bool {
        let mut has = false;
        if self.longest > 0 {
            self.gate.literals(text, |_, _| has = true);
        }
        has
    }
}
