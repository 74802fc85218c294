//! Names at the merged endpoint as APIs of models take them (`merged.names: safe`).
//!
//! A name that they take stays as it is. Any other one has its odd characters replaced by `_`, is cut, and
//! ends with `_` and the first digits of SHA-256 of the server's name and its own: the same after a restart
//! and for every principal. The server's name stands before it as ever, so no name is ever one of another
//! server's.
//!
//! The way back is a table, made of the server's list. A name that stays as it is goes before one that was
//! made, and of two made ones that are the same neither is anybody's: a call reaches the tool that was listed
//! under its name, or none.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};
use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

/// Digits of the hash: 48 bits.
const DIGITS: usize = 12;

/// Maker of the names that one server's tools and prompts have at the merged endpoint.
#[derive(Debug)]
pub struct Namer {
    upstream: Box<str>,
    /// `{upstream}__`.
    prefix: String,
}

impl Namer {
    /// A maker for the server of this name, which has at most 32 characters.
    pub fn new(upstream: &str) -> Self {
        Self { upstream: upstream.into(), prefix: format!("{upstream}__") }
    }

    /// A safe name for one of the server's own, without the prefix.
    pub fn shown<'n>(&self, own: &'n str) -> Cow<'n, str> {
        if is_taken(&self.prefix, own) {
            return Cow::Borrowed(own);
        }
        let room = MAX_NAME.saturating_sub(self.prefix.len() + 1 + DIGITS);
        let plain = |c: char| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' };
        let mut name: String = own.chars().map(plain).take(room).collect();
        name.push('_');
        let hash = Sha256::new().chain_update(&*self.upstream).chain_update([0]).chain_update(own).finalize();
        for byte in hash.iter().take(DIGITS / 2) {
            // Writing to a string cannot fail.
            let _ = write!(name, "{byte:02x}");
        }
        Cow::Owned(name)
    }

    /// True where a name may be one that was made here: all others are the server's own.
    pub fn may_have_made(name: &str) -> bool {
        let is_digit = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        name.len().checked_sub(DIGITS + 1).and_then(|at| name.as_bytes().get(at..)).is_some_and(|end| {
            end.split_first().is_some_and(|(first, digits)| *first == b'_' && digits.iter().all(is_digit))
        })
    }
}

/// Own names by the safe ones, as far as the two could be confused.
#[derive(Debug, Default)]
pub struct Names {
    /// None where two made names are the same.
    own: HashMap<Box<str>, Option<Box<str>>>,
    /// Own names that have no safe one, since it is another's.
    pub(in crate::upstream) clashes: BTreeSet<Box<str>>,
}

impl Names {
    /// Reads the names of one list; their order does not matter.
    pub(in crate::upstream) fn of<'n>(maker: &Namer, names: impl Iterator<Item = &'n str>) -> Self {
        let mut all = Self::default();
        let mut made = Vec::new();
        for own in names {
            match maker.shown(own) {
                Cow::Owned(shown) => made.push((shown, own)),
                Cow::Borrowed(_) if Namer::may_have_made(own) => {
                    all.own.insert(own.into(), Some(own.into()));
                }
                Cow::Borrowed(_) => {}
            }
        }
        for (shown, own) in made {
            all.put(shown, own);
        }
        all
    }

    /// Adds a made name.
    fn put(&mut self, shown: String, own: &str) {
        let Some(there) = self.own.get_mut(shown.as_str()) else {
            self.own.insert(shown.into(), Some(own.into()));
            return;
        };
        self.clashes.insert(own.into());
        if there.as_deref().is_some_and(|other| other != shown)
            && let Some(other) = there.take()
        {
            self.clashes.insert(other);
        }
    }

    /// The own name of what is shown by a name that may have been made.
    pub fn own(&self, shown: &str) -> Option<&str> {
        self.own.get(shown)?.as_deref()
    }
}

/// Longest name of a tool that APIs of models take, in characters.
pub(in crate::upstream) const MAX_NAME: usize = 64;

/// True where APIs of models take the name that a tool has at the merged endpoint.
pub(in crate::upstream) fn is_taken(prefix: &str, tool: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    prefix.len() + tool.len() <= MAX_NAME && tool.chars().all(is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_are_the_same_on_every_machine() {
        let maker = Namer::new("docs");
        assert_eq!(maker.shown("read_file"), "read_file");
        assert_eq!(maker.shown("a.b"), "a_b_e04bd6ad0536");
        assert_ne!(maker.shown("a.b"), Namer::new("code").shown("a.b"));
        for (name, made) in [
            ("a_b_0123456789ab", true),
            ("_0123456789ab", true),
            ("a_b_0123456789aB", false),
            ("0123456789ab", false),
            ("a-0123456789ab", false),
            ("ä0123456789ab", false),
            ("", false),
        ] {
            assert_eq!(Namer::may_have_made(name), made, "{name}");
        }
    }

    #[test]
    fn one_name_is_never_two_tools() {
        let maker = Namer::new("docs");
        let shown = maker.shown("a.b").into_owned();
        for list in [["a.b", &*shown], [&*shown, "a.b"]] {
            let names = Names::of(&maker, list.into_iter());
            assert_eq!(names.own(&shown), Some(&*shown), "its own name stays");
            assert_eq!(names.clashes.iter().map(AsRef::as_ref).collect::<Vec<&str>>(), ["a.b"]);
        }
        let mut names = Names::default();
        for own in ["a.b", "a:b", "a/b"] {
            names.put(shown.clone(), own);
        }
        assert_eq!((names.own(&shown), names.clashes.len()), (None, 3), "of made ones nobody has it");
    }

    proptest! {
        #[test]
        fn every_name_is_safe_and_comes_back(upstream in "[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?", own in "\\PC{0,80}") {
            let maker = Namer::new(&upstream);
            let shown = maker.shown(&own);
            let merged = format!("{upstream}__{shown}");
            prop_assert!(merged.len() <= MAX_NAME && is_taken("", &merged), "{}", merged);
            if *shown == *own {
                prop_assert!(is_taken(&maker.prefix, &own));
            } else {
                prop_assert!(Namer::may_have_made(&shown));
                let names = Names::of(&maker, std::iter::once(&*own));
                prop_assert_eq!(names.own(&shown), Some(&*own));
            }
        }
    }
}
