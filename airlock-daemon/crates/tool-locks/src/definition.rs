//! The definition of a tool, a prompt or a resource template: all of an entry of a list that tells a client
//! or a model what it is.

use std::fmt::{self, Display, Formatter};

use airlock_mcp::object::Object;
use sha2::{Digest as _, Sha256};

use crate::canonical::canonical;

/// The lists whose entries have definitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// `tools/list`.
    Tools,
    /// `prompts/list`.
    Prompts,
    /// `resources/templates/list`.
    ResourceTemplates,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Tools, Self::Prompts, Self::ResourceTemplates];

    /// The list of this method.
    pub fn of_list(method: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.list() == method)
    }

    /// The method of the list.
    pub const fn list(self) -> &'static str {
        match self {
            Self::Tools => "tools/list",
            Self::Prompts => "prompts/list",
            Self::ResourceTemplates => "resources/templates/list",
        }
    }

    /// The member of the result that holds the entries.
    pub const fn entries(self) -> &'static str {
        match self {
            Self::Tools => "tools",
            Self::Prompts => "prompts",
            Self::ResourceTemplates => "resourceTemplates",
        }
    }

    /// The word for one entry.
    pub const fn noun(self) -> &'static str {
        match self {
            Self::Tools => "tool",
            Self::Prompts => "prompt",
            Self::ResourceTemplates => "resource template",
        }
    }

    /// The member that names an entry.
    pub const fn key(self) -> &'static str {
        match self {
            Self::Tools | Self::Prompts => "name",
            Self::ResourceTemplates => "uriTemplate",
        }
    }

    /// The members that are the definition, in the order of the canonical form. `_meta` is not one of them: a
    /// server may say there with each answer something else.
    const fn members(self) -> &'static [&'static str] {
        match self {
            Self::Tools => {
                &["annotations", "description", "icons", "inputSchema", "name", "outputSchema", "title"]
            }
            Self::Prompts => &["arguments", "description", "icons", "name", "title"],
            Self::ResourceTemplates => {
                &["annotations", "description", "icons", "mimeType", "name", "title", "uriTemplate"]
            }
        }
    }
}

/// SHA-256 of a canonical form; shown as `sha256:` and 64 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    /// The digest of a text.
    pub fn of(text: &str) -> Self {
        Self(Sha256::digest(text.as_bytes()).into())
    }
}

impl Display for Digest {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("sha256:")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// A definition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Definition {
    /// The name that it is called by, or its URI template.
    pub name: String,
    /// Its canonical form, a JSON object.
    pub text: String,
    /// The digest of that.
    pub digest: Digest,
}

impl Definition {
    /// Reads an entry of a list. Members that are `null` are as if absent.
    ///
    /// # Errors
    /// As for [`canonical`]; also where the entry is no object, or has no name.
    pub fn read(kind: Kind, entry: &str) -> Result<Self, serde_json::Error> {
        let object = Object::parse(entry)?;
        let unnamed = || serde::de::Error::custom(format_args!("it has no string `{}`", kind.key()));
        let name = object.string(kind.key()).ok_or_else(unnamed)?.into_owned();
        let mut text = String::with_capacity(entry.len());
        for member in kind.members() {
            let Some(value) = object.get(member).filter(|value| value.trim() != "null") else { continue };
            text.push(if text.is_empty() { '{' } else { ',' });
            text.push('"');
            text.push_str(member);
            text.push_str("\":");
            text.push_str(&canonical(value)?);
        }
        text.push('}');
        let digest = Digest::of(&text);
        Ok(Self { name, text, digest })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tool(entry: &str) -> Definition {
        Definition::read(Kind::Tools, entry).unwrap_or_else(|error| panic!("{entry}: {error}"))
    }

    #[test]
    fn every_member_that_tells_what_it_is_counts() {
        let members = [
            r#""title":"T""#,
            r#""description":"D""#,
            r#""inputSchema":{"type":"object"}"#,
            r#""outputSchema":{"type":"object"}"#,
            r#""annotations":{"readOnlyHint":true}"#,
            r#""icons":[{"src":"https://example.com/i.png"}]"#,
        ];
        let bare = tool(r#"{"name":"a"}"#);
        let mut digests = vec![bare.digest];
        for member in members {
            digests.push(tool(&format!(r#"{{"name":"a",{member}}}"#)).digest);
        }
        digests.push(tool(r#"{"name":"b"}"#).digest);
        for (place, digest) in digests.iter().enumerate() {
            assert!(!digests[..place].contains(digest), "number {place} is one of those before");
        }
        let same = r#"{ "_meta":{"time":1}, "x":2, "title":null, "name":"\u0061" }"#;
        assert_eq!(tool(same), bare);
        assert_eq!(bare.text, r#"{"name":"a"}"#);
        // As `sha256sum` has it.
        let wanted = "sha256:d9d719b27480b55cd4918020e7473e716ed3569c8adafe926cf9b10b4f8ef064";
        assert_eq!(bare.digest.to_string(), wanted);
    }

    #[test]
    fn schemas_that_are_none_are_compared_all_the_same() {
        let wrong = ["7", "\"text\"", "[]", "true", r#"{"type":7}"#, r##"{"$ref":"#"}"##];
        let digest = |schema: &str| tool(&format!(r#"{{"name":"a","inputSchema":{schema}}}"#)).digest;
        for (place, schema) in wrong.iter().enumerate() {
            assert_eq!(digest(schema), digest(schema));
            assert!(wrong[..place].iter().all(|other| digest(other) != digest(schema)), "{schema}");
        }
    }

    #[test]
    fn kinds_have_members_of_their_own() {
        for kind in Kind::ALL {
            assert!(kind.members().is_sorted() && kind.members().contains(&kind.key()), "{kind:?}");
            assert_eq!(Kind::of_list(kind.list()), Some(kind));
            for entry in ["{}", "[]", "7", r#"{"name":7,"uriTemplate":[]}"#] {
                assert!(Definition::read(kind, entry).is_err(), "{entry}");
            }
        }
        let template = r#"{"name":"files","uriTemplate":"file:///{path}"}"#;
        let read = Definition::read(Kind::ResourceTemplates, template).expect("a template");
        assert_eq!((read.name.as_str(), read.text.as_str()), ("file:///{path}", template));
        assert_eq!(Kind::of_list("resources/list"), None);
    }
}
