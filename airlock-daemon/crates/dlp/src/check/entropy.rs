//! How random a text looks, and values that only stand for a secret.

use super::table::Checks;

pub(super) const CHECKS: Checks = &[
    ("dense", is_dense),
    ("has-digits", has_digits),
    ("mixed", is_mixed),
    ("no-example", is_no_example),
    ("no-hash", is_no_hash),
    ("no-path", is_no_path),
    ("no-placeholder", is_no_placeholder),
    ("no-words", is_no_words),
];

/// Shannon entropy in bits a character, over bytes.
#[expect(clippy::cast_precision_loss, reason = "a match is short")]
pub(super) fn bits(text: &[u8]) -> f32 {
    let all = text.len() as f32;
    counts(text)
        .iter()
        .filter(|&&count| count > 0)
        .map(|&count| count as f32 / all)
        .map(|p| -p * p.log2())
        .sum()
}

fn counts(text: &[u8]) -> [u32; 256] {
    let mut counts = [0; 256];
    for &byte in text {
        counts[usize::from(byte)] += 1;
    }
    counts
}

/// Words that stand where a secret is to be filled in.
const PLACEHOLDERS: &[&str] = &[
    "change",
    "placeholder",
    "dummy",
    "sample",
    "redacted",
    "insert",
    "replace",
    "secret",
    "passw",
    "token",
    "apikey",
    "api_key",
    "api-key",
    "****",
    "....",
    "todo",
    "undefined",
    "default",
    "notreal",
    "not-real",
    "fake",
    "test",
    "foobar",
    "string",
    "getenv",
    "environ",
    "process",
    "config",
    "localhost",
    "hidden",
    "masked",
    "username",
    "lorem",
    "credential",
];

/// The fewest letters without digits that can be told from words.
const WORDLESS: usize = 20;

/// Whole values that are no secret, or one that all know.
const KNOWN: &[&str] = &[
    "pass", "pwd", "pw", "user", "foo", "bar", "baz", "none", "null", "true", "false", "admin", "root",
    "value", "yes", "abc", "xyz", "key", "postgres", "mysql", "guest", "prompt", "port", "hunter2",
];

/// Parts of published examples, which no random token of base64 has but once in a million.
const EXAMPLES: &[&str] =
    &["example", "xxxxx", "your", "placeholder", "00000000", "12345678", "abcdefg", "-here"];

/// Refuses the examples of manuals.
fn is_no_example(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    !text.is_empty() && !EXAMPLES.iter().any(|word| lower.contains(word)) && !repeats(text.as_bytes())
}

/// Refuses what is a reference, a template, code, or a word for a secret.
fn is_no_placeholder(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    let is_reference = text.starts_with(['$', '<', '{', '['])
        || (text.starts_with(['%', '@', '&', '*', '#']) && is_name(&text[1..]))
        || ["${", "{{", "<%", "%(", "$(", "#{", "::", "->", "()", "[\"", "['", "==", "%s"]
            .iter()
            .any(|mark| text.contains(mark));
    is_no_example(text)
        && !is_reference
        && !KNOWN.contains(&lower.as_str())
        && !PLACEHOLDERS.iter().any(|word| lower.contains(word))
}

/// Answers whether a text is a name as code has them, perhaps with signs around and within it.
fn is_name(text: &str) -> bool {
    !text.bytes().any(|byte| byte.is_ascii_digit())
}

/// Answers whether one character makes up more than half of a text.
fn repeats(text: &[u8]) -> bool {
    counts(text).iter().any(|count| *count as usize * 2 > text.len())
}

/// Refuses paths, hosts and identifiers in words: at most one separator, or a digit and both cases.
fn is_no_path(text: &str) -> bool {
    let separators = text.bytes().filter(|byte| matches!(byte, b'/' | b'.' | b'\\' | b':')).count();
    separators < 2 || is_mixed(text)
}

/// Letters and digits, two of each at least; or letters alone that no words have: their case changes at every
/// third place or more often, and few of them are vowels.
fn is_mixed(text: &str) -> bool {
    let digits = text.bytes().filter(u8::is_ascii_digit).count();
    let letters: Vec<u8> = text.bytes().filter(u8::is_ascii_alphabetic).collect();
    let changes = letters
        .windows(2)
        .filter(|pair| pair[0].is_ascii_uppercase() != pair[1].is_ascii_uppercase())
        .count();
    let vowels = letters.iter().filter(|letter| b"aeiouAEIOU".contains(letter)).count();
    (digits >= 2 && letters.len() >= 2)
        || (letters.len() >= WORDLESS && changes * 3 > letters.len() && vowels * 10 < letters.len() * 3)
}

fn has_digits(text: &str) -> bool {
    text.bytes().any(|byte| byte.is_ascii_digit())
}

/// No blank, and besides letters a digit or a sign that names do not have.
fn is_dense(text: &str) -> bool {
    !text.bytes().any(|byte| byte.is_ascii_whitespace())
        && text.bytes().any(|byte| byte.is_ascii_alphabetic())
        && text.bytes().any(|byte| {
            byte.is_ascii_digit()
                || (byte.is_ascii_punctuation() && !matches!(byte, b'_' | b'-' | b'.' | b'/' | b','))
        })
}

/// Refuses digests in hexadecimal, by their usual lengths.
fn is_no_hash(text: &str) -> bool {
    let is_hash = matches!(text.len(), 32 | 40 | 56 | 64 | 96 | 128)
        && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    !text.is_empty() && !is_hash
}

/// Refuses names made of words: random text changes between small letters, capitals and digits at every
/// second or third place, words seldom.
fn is_no_words(text: &str) -> bool {
    let kinds: Vec<u8> = text
        .bytes()
        .filter_map(|byte| match byte {
            b'a'..=b'z' => Some(0),
            b'A'..=b'Z' => Some(1),
            b'0'..=b'9' => Some(2),
            _ => None,
        })
        .collect();
    let changes = kinds.windows(2).filter(|pair| pair[0] != pair[1]).count();
    changes * 5 > kinds.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entropy_of_known_texts() {
        for (text, expected) in [("aaaa", 0.0), ("abab", 1.0), ("abcd", 2.0), ("0123456789abcdef", 4.0)] {
            assert!((bits(text.as_bytes()) - expected).abs() < 1e-6, "{text}");
        }
        assert!(bits(b"") <= 0.0);
    }

    #[test]
    fn placeholders_are_no_secrets() {
        for bad in [
            "${DB_PASSWORD}",
            "<your-key>",
            "xxxxxxxxxx",
            "changeme",
            "my-example-key",
            "aaaaaaaaaab",
            "{{ x }}",
        ] {
            assert!(!is_no_placeholder(bad), "{bad}");
        }
        for good in ["k8Jh2!qPz0", "wJalrXUtnFEMIK7MDENG"] {
            assert!(is_no_placeholder(good), "{good}");
        }
    }

    #[test]
    fn paths_are_no_secrets() {
        assert!(is_no_path("k8Jh2qPz0") && is_no_path("ab/cd") && is_no_path("a1/b2/c3"));
        assert!(!is_no_path("usr/share/doc"));
    }

    #[test]
    fn mixed_texts_have_letters_and_digits() {
        assert!(is_mixed("S3FdBtYbZlBCNiVNHnINIcIA") && is_mixed("fdXBtYbZlBCkNiVNHnINwcIA"));
        assert!(!is_mixed("getTokenFromTheEnvironment") && !is_mixed("ALongNameOfATypeInCode"));
        assert!(is_mixed("a1b2") && !is_mixed("abcd1") && !is_mixed("1234") && !is_mixed(""));
        assert!(has_digits("ab2") && !has_digits("ab"));
    }

    #[test]
    fn passwords_are_dense() {
        assert!(is_dense("zo9Qm2xA") && is_dense("correct!horse"));
        assert!(!is_dense("a name 1") && !is_dense("user_name") && !is_dense("1234"));
    }

    #[test]
    fn digests_are_no_secrets() {
        assert!(is_no_hash("k8Jh2qPz0") && is_no_hash(&"ab1".repeat(11)));
        assert!(!is_no_hash("da39a3ee5e6b4b0d3255bfef95601890afd80709") && !is_no_hash(""));
    }

    #[test]
    fn names_are_made_of_words() {
        for good in ["k8Jh2qPz0", "da39a3ee5e6b4b0d3255bfef95601890", "wJalrXUtnFEMIK7MDENGbPxRfiCY"] {
            assert!(is_no_words(good), "{good}");
        }
        for bad in ["next_token_kind_2", "sha256-of-the-file-10", "ApplicationDefault12", ""] {
            assert!(!is_no_words(bad), "{bad}");
        }
    }

    #[test]
    fn examples_are_no_secrets() {
        assert!(is_no_example("k8Jh2qPz0QQQ"));
        assert!(!is_no_example("AKIAIOSFODNN7EXAMPLE") && !is_no_example("aaaaaaab") && !is_no_example(""));
    }
}
