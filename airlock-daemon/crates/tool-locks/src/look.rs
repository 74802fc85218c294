//! Names that look alike: by characters that are taken for each other (UTS 39), by letter case, and by what
//! parts their words.

use unicode_security::confusable_detection::skeleton;

use crate::hidden::is_hidden;

/// The look of a name: two names with one look are taken for each other by people and by models.
pub(crate) fn look(name: &str) -> String {
    let seen: String = name.chars().filter(|c| !is_hidden(*c)).collect();
    // Letters are made small before their skeletons, so that I is no l, and after, for those that have none.
    let small: String = skeleton(&seen.to_lowercase()).collect();
    small.to_lowercase().chars().filter(|c| c.is_alphanumeric()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_taken_for_each_other_have_one_look() {
        for (one, other) in [
            ("read_file", "readFile"),
            ("read_file", "read-file"),
            ("read_file", "Read.File"),
            ("read_file", "rеаd_file"),
            ("read_file", "read_\u{200b}file"),
            ("search", "ѕearch"),
            ("list1", "listl"),
            ("get_modern", "get_rnodern"),
        ] {
            assert_eq!(look(one), look(other), "{one} {other}");
        }
        for (one, other) in [("read_file", "read_files"), ("a", "b"), ("get_user", "set_user")] {
            assert_ne!(look(one), look(other), "{one} {other}");
        }
    }
}
