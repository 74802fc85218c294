//! Resources that are parts of others: a change of a part is heard by those who subscribed to the whole
//! (2025-11-25, `ResourceUpdatedNotification`).

/// True where `uri` is the resource `whole`, one below it, or a fragment of it.
pub fn is_part_of(uri: &str, whole: &str) -> bool {
    uri.strip_prefix(whole).is_some_and(|rest| {
        rest.is_empty() || whole.ends_with('/') || rest.starts_with('/') || rest.starts_with('#')
    })
}

/// Everything that `uri` is a part of, itself included.
pub fn wholes(uri: &str) -> impl Iterator<Item = &str> {
    let parts = uri.match_indices(['/', '#']).flat_map(move |(at, mark)| {
        let outer = (mark == "/").then(|| uri.get(..=at)).flatten();
        [uri.get(..at), outer]
    });
    std::iter::once(uri).chain(parts.flatten())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_part_belongs_to_its_whole() {
        for (uri, whole, expected) in [
            ("docs://guide", "docs://guide", true),
            ("docs://guide#x", "docs://guide", true),
            ("docs://guide/a", "docs://guide", true),
            ("docs://guide/a#x", "docs://guide/", true),
            ("docs://guides", "docs://guide", false),
            ("docs://guide?x", "docs://guide", false),
            ("docs://guide", "docs://guide#x", false),
        ] {
            assert_eq!(is_part_of(uri, whole), expected, "{uri} of {whole}");
        }
    }

    proptest! {
        #[test]
        fn both_ways_to_ask_say_the_same(uri in "[ab/#:]{0,8}", whole in "[ab/#:]{0,8}") {
            prop_assert_eq!(is_part_of(&uri, &whole), wholes(&uri).any(|one| one == whole));
        }
    }
}
