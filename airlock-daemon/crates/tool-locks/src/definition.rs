//! The definition of a tool, a prompt or a resource template: all of an entry of a list that tells a client
//! or a model what it is.

use std::fmt::{self, Display, Formatter};

use airlock_mcp::envelope::variant;
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

    /// The members that the specification knows. Others are part of the definition as well: a client or a
    /// model may read them.
    const fn members(self) -> &'static [&'static str] {
        match self {
            Self::Tools => &[
                NO_PART,
                "annotations",
                "description",
                "execution",
                "icons",
                "inputSchema",
                "name",
                "outputSchema",
                "title",
            ],
            Self::Prompts => &[NO_PART, "arguments", "description", "icons", "name", "title"],
            Self::ResourceTemplates => {
                &[NO_PART, "annotations", "description", "icons", "mimeType", "name", "title", "uriTemplate"]
            }
        }
    }
}

/// The member that is no part of a definition: a server may say there with each answer something else.
const NO_PART: &str = "_meta";

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
    /// As for [`canonical`]; also where the entry is no object, has no name, or has a member that some
    /// clients take for a known one, since they do not tell letter case.
    pub fn read(kind: Kind, entry: &str) -> Result<Self, serde_json::Error> {
        let mut object = Object::parse(entry)?;
        let unnamed = || serde::de::Error::custom(format_args!("it has no string `{}`", kind.key()));
        let name = object.string(kind.key()).ok_or_else(unnamed)?.into_owned();
        if let Some(member) = variant(&object, kind.members()) {
            let reason = format_args!("its member `{member}` is taken for another by some clients");
            return Err(serde::de::Error::custom(reason));
        }
        let nulls: Vec<String> = object
            .names()
            .filter(|name| object.get(name).is_some_and(|value| value.trim() == "null"))
            .map(str::to_owned)
            .collect();
        object.retain(|member| member != NO_PART && !nulls.iter().any(|null| null == member));
        let text = canonical(&object.write())?;
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
            r#""execution":{"taskSupport":"required"}"#,
            r#""vendor":{"hint":"read it first"}"#,
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
        let same = r#"{ "_meta":{"time":1}, "vendor":null, "title":null, "name":"\u0061" }"#;
        assert_eq!(tool(same), bare);
        assert_eq!(bare.text, r#"{"name":"a"}"#);
        // As `sha256sum` has it.
        let wanted = "sha256:d9d719b27480b55cd4918020e7473e716ed3569c8adafe926cf9b10b4f8ef064";
        assert_eq!(bare.digest.to_string(), wanted);
    }

    #[test]
    fn what_some_clients_take_for_another_member_has_no_definition() {
        for entry in [
            r#"{"name":"a","description":"good","Description":"evil"}"#,
            r#"{"name":"a","InputSchema":{}}"#,
            r#"{"name":"a","_Meta":{}}"#,
        ] {
            let error = Definition::read(Kind::Tools, entry).expect_err(entry).to_string();
            assert!(error.contains("is taken for another by some clients"), "{error}");
        }
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
