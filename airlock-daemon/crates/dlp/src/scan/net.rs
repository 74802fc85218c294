//! Nets: literals, each with the detectors that run where it stands.

use std::ops::Range;

use crate::scan::gate::{Gate, Sought};
use crate::set::Set;
use crate::trigger::edge::Edge;
use crate::trigger::follow::Follow;

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
    pub(crate) edge: Edge,
}

/// Something that must stand where a detector is to run, beside the literal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    Nothing,
    /// A cluster of so many digits.
    Digits(usize),
    /// A run of so many characters that tokens have.
    Run(usize),
    /// This byte.
    Byte(u8),
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
        let sought = names.into_iter().zip(&users).map(|(folded, users)| sought(folded, users)).collect();
        Self { gate: Gate::new(sought), users, longest }
    }

    /// The length of the longest literal, in bytes.
    pub(crate) fn longest(&self) -> usize {
        self.longest
    }

    /// Tells of each user of each literal in a part of a text, with the place where the literal begins.
    #[inline]
    pub(crate) fn find(&self, text: &[u8], part: Range<usize>, mut found: impl FnMut(&User, usize)) {
        self.each(text, part, |user, of| {
            if user.follow.goes_on(text, of.end) && user.edge.stands(text, &of) {
                found(user, of.start);
            }
        });
    }

    /// Tells the same of a part of JSON, in any spelling of what stands around the literal.
    #[inline]
    pub(crate) fn find_in_json(&self, json: &[u8], part: Range<usize>, mut found: impl FnMut(&User, usize)) {
        self.each(json, part, |user, of| {
            if user.follow.goes_on_in_json(json, of.end) && user.edge.stands_in_json(json, &of) {
                found(user, of.start);
            }
        });
    }

    #[inline]
    fn each(&self, text: &[u8], part: Range<usize>, mut found: impl FnMut(&User, Range<usize>)) {
        if self.longest > 0 {
            self.gate.literals(&text[part.clone()], |literal, at| {
                let start = part.start + at;
                for user in &self.users[literal as usize] {
                    found(user, start..start + self.gate.length(literal));
                }
            });
        }
    }

    /// Answers whether a short text has a literal.
    pub(crate) fn has(&self, text: &[u8]) -> bool {
        self.gate.has(text)
    }
}

fn sought(folded: Box<[u8]>, users: &[User]) -> Sought {
    let own = |(place, &byte): (usize, &u8)| {
        users.iter().fold(Set::NONE, |all, user| all.and(&user.follow.own(place, byte)))
    };
    let own = folded.iter().enumerate().map(own).collect();
    let next = users.iter().fold(Set::NONE, |all, user| all.and(&user.follow.next()));
    Sought { folded, own, next }
}
