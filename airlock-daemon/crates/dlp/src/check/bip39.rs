//! Phrases of wallets (BIP 39): words of the English list whose last bits are a checksum.

use bip39::{Language, Mnemonic};

use super::table::Checks;

pub(super) const CHECKS: Checks = &[("bip39", is_phrase)];

fn is_phrase(text: &str) -> bool {
    let words: Vec<_> = text
        .split(|letter: char| !letter.is_ascii_alphabetic())
        .filter(|word| !word.is_empty())
        .map(str::to_ascii_lowercase)
        .collect();
    matches!(words.len(), 12 | 15 | 18 | 21 | 24)
        && Mnemonic::parse_in_normalized(Language::English, &words.join(" ")).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phrases_of_the_published_vectors() {
        let about = "abandon ".repeat(11) + "about";
        for good in [
            about.as_str(),
            "legal winner thank year wave sausage worth useful legal winner thank yellow",
            "1. letter 2. advice 3. cage 4. absurd 5. amount 6. doctor 7. acoustic 8. avoid 9. letter 10. advice 11. cage 12. above",
            "scheme spot photo card baby mountain device kick cradle pact join borrow",
        ] {
            assert!(is_phrase(good), "{good}");
        }
        for bad in [
            "abandon ".repeat(12).as_str(),
            "legal winner thank year wave sausage worth useful legal winner thank",
            "the quick brown fox jumps over the lazy dog and runs away",
            "",
        ] {
            assert!(!is_phrase(bad), "{bad}");
        }
    }
}
