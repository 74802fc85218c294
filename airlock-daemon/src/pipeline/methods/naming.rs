//! Names at the merged endpoint, where the upstreams' own could be confused.
//!
//! A tool or a prompt is `{upstream}__{name}`. A resource is `airlock+{upstream}+{uri}`: a prefix and nothing
//! else, so that it is undone without loss whatever the URI is, makes a valid scheme
//! (`airlock+docs+file:///notes`), and leaves the expressions of a URI template where they are: expanding the
//! prefixed template gives the prefixed URI (RFC 6570).
//!
//! A task is `{upstream}.{handle}`, where the handle is the sealed form of its id.
//!
//! No upstream's name holds `_`, `+` or `.`, so the first separator parts the two without doubt: two
//! upstreams never share a name, and no URI that an upstream makes up reads as one of another's.

use super::kind::Noun;

/// Between an upstream's name and a tool's or a prompt's.
const SEPARATOR: &str = "__";
/// Before an upstream's name in a URI.
const SCHEME: &str = "airlock+";
/// Between an upstream's name and a task's handle.
const POINT: char = '.';

/// The name under which the merged endpoint knows something of an upstream's.
pub fn merged(noun: Noun, upstream: &str, name: &str) -> String {
    match noun {
        Noun::Tool | Noun::Prompt => [upstream, SEPARATOR, name].concat(),
        Noun::Resource => [SCHEME, upstream, "+", name].concat(),
        Noun::Task => format!("{upstream}{POINT}{name}"),
    }
}

/// The upstream and its own name for what the merged endpoint knows by `name`; `None` when the name has no
/// upstream.
pub fn own(noun: Noun, name: &str) -> Option<(&str, &str)> {
    match noun {
        Noun::Tool | Noun::Prompt => name.split_once(SEPARATOR),
        Noun::Resource => name.strip_prefix(SCHEME)?.split_once('+'),
        Noun::Task => name.split_once(POINT),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn uris_stay_uris_and_templates_stay_templates() {
        let uri = merged(Noun::Resource, "docs", "file:///notes?v=1#top");
        assert_eq!(uri, "airlock+docs+file:///notes?v=1#top");
        let scheme = uri.split(':').next().expect("a scheme");
        assert!(scheme.starts_with(|c: char| c.is_ascii_alphabetic()));
        assert!(scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c)));
        assert_eq!(
            merged(Noun::Resource, "docs", "test://t/{id}{?q}").replace("{id}", "7").replace("{?q}", "?q=1"),
            merged(Noun::Resource, "docs", "test://t/7?q=1")
        );
    }

    #[test]
    fn what_has_no_upstream_is_nobodys() {
        for uri in
            ["file:///x", "docs+file:///x", "airlock+file:///x", "AIRLOCK+docs+file:///x", "airlock+", ""]
        {
            assert_eq!(own(Noun::Resource, uri), None, "{uri}");
        }
        assert_eq!(own(Noun::Prompt, "plain_name"), None);
    }

    /// The names that the configuration lets an upstream have.
    const NAME: &str = "[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?";

    proptest! {
        #[test]
        fn every_name_comes_back(upstream in NAME, name in "\\PC{0,40}") {
            for noun in [Noun::Tool, Noun::Prompt, Noun::Resource, Noun::Task] {
                let given = merged(noun, &upstream, &name);
                prop_assert_eq!(own(noun, &given), Some((upstream.as_str(), name.as_str())));
            }
        }

        #[test]
        fn two_upstreams_never_share_one(
            one in NAME, other in NAME, name in "[a-z0-9+_:/-]{0,20}", hostile in "[a-z0-9+_:/-]{0,20}"
        ) {
            prop_assume!(one != other);
            for noun in [Noun::Tool, Noun::Prompt, Noun::Resource, Noun::Task] {
                prop_assert_ne!(merged(noun, &one, &name), merged(noun, &other, &hostile));
                // One that gives out what reads like another's is asked for it itself.
                let forged = merged(noun, &one, &merged(noun, &other, &name));
                prop_assert_eq!(own(noun, &forged).map(|(upstream, _)| upstream), Some(one.as_str()));
            }
        }
    }
}
