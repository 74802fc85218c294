//! Checks: a match of a pattern is a finding only if its check digits, its structure or its entropy agree.

mod bank;
mod bip39;
mod card;
mod crypto;
mod digits;
mod entropy;
mod mail;
mod mrz;
mod national;
mod person;
mod phone;
mod table;
mod token;

use table::Checks;

pub use phone::Regions;

/// A test that a match must pass, as a pack names it.
#[derive(Debug, Clone)]
pub enum Check {
    /// One of the tests without a setting.
    Named(Named),
    /// Shannon entropy of at least this many bits a character.
    Entropy(f32),
    /// A telephone number as one of these regions writes it, or in international form.
    Phone(Regions),
}

/// A test without a setting.
#[derive(Debug, Clone, Copy)]
pub struct Named {
    name: &'static str,
    holds: fn(&str) -> bool,
}

/// All tests without a setting, by the names that packs use.
const NAMED: &[Checks] = &[
    bank::CHECKS,
    bip39::CHECKS,
    card::CHECKS,
    crypto::CHECKS,
    entropy::CHECKS,
    mail::CHECKS,
    mrz::CHECKS,
    national::CHECKS,
    person::CHECKS,
    token::CHECKS,
];

impl Check {
    /// The test of this name that needs no setting.
    pub fn named(name: &str) -> Option<Self> {
        let (name, holds) = *NAMED.iter().copied().flatten().find(|(known, _)| *known == name)?;
        Some(Self::Named(Named { name, holds }))
    }

    /// The names of all tests without a setting.
    pub fn names() -> impl Iterator<Item = &'static str> {
        NAMED.iter().copied().flatten().map(|(name, _)| *name)
    }

    /// Its name in a pack.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Named(named) => named.name,
            Self::Entropy(_) => "entropy",
            Self::Phone(_) => "phone",
        }
    }

    /// Answers for the text of a match, or of its group `secret`.
    pub fn holds(&self, text: &str) -> bool {
        match self {
            Self::Named(named) => (named.holds)(text),
            Self::Entropy(least) => entropy::bits(text.as_bytes()) >= *least,
            Self::Phone(regions) => phone::is_number(text, regions),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn all() -> Vec<Check> {
        Check::names()
            .map(|name| Check::named(name).unwrap())
            .chain([Check::Entropy(3.0), Check::Phone(Regions::parse(["US", "DE"]).unwrap())])
            .collect()
    }

    #[test]
    fn names_are_unique_and_lead_to_their_check() {
        let names: Vec<_> = Check::names().collect();
        assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len());
        for name in names {
            assert_eq!(Check::named(name).unwrap().name(), name);
        }
        assert!(Check::named("lunh").is_none());
    }

    #[test]
    fn no_check_holds_for_the_empty_text() {
        for check in all() {
            let holds = check.holds("");
            let forbids_only = check.name() == "no-path";
            assert_eq!(holds, forbids_only, "{}", check.name());
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_a_check_panic(text in "\\PC{0,80}", digits in "[0-9A-Z<\u{661} .+-]{0,96}") {
            for check in all() {
                check.holds(&text);
                check.holds(&digits);
            }
        }
    }
}
