//! The shape of the input document, said once: what a policy may look at, of which type, and when it is null.
//!
//! [`super::input`] builds such documents, [`crate::policy::lint::closed`] refuses a policy that reads what
//! is not in them, and `airlock policy input` and the table in docs/policy.md show it. Tests hold all of them
//! to this.

/// The kind of thing that stands at one place of the document.
#[derive(Debug)]
pub(in crate::policy) enum PartKind {
    /// These members, all of them, and no others.
    Object(&'static [Field]),
    /// An object with whatever members somebody outside gave it.
    Free,
    Text,
    /// A list of texts.
    Texts,
    Number,
}

/// A member of the document.
#[derive(Debug)]
pub(in crate::policy) struct Field {
    pub(in crate::policy) name: &'static str,
    pub(in crate::policy) kind: PartKind,
    /// When it is null; empty where it never is.
    pub(in crate::policy) null: &'static str,
    pub(in crate::policy) about: &'static str,
    /// A value as JSON; empty for an object with members of its own.
    pub(in crate::policy) example: &'static str,
}

const fn leaf(
    name: &'static str,
    kind: PartKind,
    null: &'static str,
    about: &'static str,
    example: &'static str,
) -> Field {
    Field { name, kind, null, about, example }
}

const fn part(name: &'static str, members: &'static [Field], about: &'static str) -> Field {
    Field { name, kind: PartKind::Object(members), null: "", about, example: "" }
}

/// The whole document.
pub(super) static INPUT: Field = part(
    "input",
    &[
        part(
            "subject",
            &[
                leaf("id", PartKind::Text, "", "who calls: `sub` of the token", r#""alice""#),
                leaf(
                    "tenant",
                    PartKind::Text,
                    "the token has no tenant, or the issuer no tenant claim",
                    "the tenant",
                    r#""acme""#,
                ),
                leaf(
                    "groups",
                    PartKind::Texts,
                    "",
                    "the groups, empty where there are none",
                    r#"["mcp.users"]"#,
                ),
                leaf(
                    "scopes",
                    PartKind::Texts,
                    "",
                    "the scopes of the token, empty where there are none",
                    r#"["docs"]"#,
                ),
                leaf("issuer", PartKind::Text, "", "who issued the token", r#""https://idp.example.com""#),
                leaf("claims", PartKind::Free, "", "all claims of the token", r#"{"acr": "mfa"}"#),
            ],
            "who calls",
        ),
        part(
            "call",
            &[
                leaf("method", PartKind::Text, "", "the MCP method", r#""tools/call""#),
                leaf("upstream", PartKind::Text, "", "the configured name of the server", r#""docs""#),
                leaf(
                    "tool",
                    PartKind::Text,
                    "the call names no tool",
                    "the tool, by the server's own name",
                    r#""read_file""#,
                ),
                leaf(
                    "prompt",
                    PartKind::Text,
                    "the call names no prompt",
                    "the prompt, by the server's own name",
                    "null",
                ),
                leaf(
                    "resource",
                    PartKind::Text,
                    "the call names no resource",
                    "the URI of the resource, or the URI template whose variables are completed",
                    "null",
                ),
                leaf(
                    "root",
                    PartKind::Text,
                    "no root is named, as always for now",
                    "the virtual root that the call touches",
                    "null",
                ),
                leaf(
                    "arguments",
                    PartKind::Free,
                    "an entry of a list is judged, or the call has none",
                    "the arguments, as the client wrote them",
                    r#"{"path": "/public/guide.md"}"#,
                ),
                leaf(
                    "revision",
                    PartKind::Text,
                    "",
                    "the revision of the protocol that the client speaks",
                    r#""2026-07-28""#,
                ),
            ],
            "what is to be done",
        ),
        part(
            "client",
            &[
                leaf(
                    "address",
                    PartKind::Text,
                    "it came over the unix socket",
                    "the IP address, without a port",
                    r#""203.0.113.7""#,
                ),
                leaf(
                    "certificate",
                    PartKind::Text,
                    "the client showed none",
                    "the subject of the verified client certificate",
                    "null",
                ),
                leaf(
                    "uid",
                    PartKind::Number,
                    "it did not come over the unix socket",
                    "the user id of the process at the other end",
                    "null",
                ),
            ],
            "where it came from",
        ),
        leaf("time", PartKind::Number, "", "now, in seconds since the Unix epoch", "1795347000"),
    ],
    "all that a policy may look at",
);

impl PartKind {
    /// The members that it has; `None` where it is no closed object.
    pub(in crate::policy) fn members(&self) -> Option<&'static [Field]> {
        match self {
            Self::Object(members) => Some(members),
            _ => None,
        }
    }

    /// Its type, for people.
    pub(in crate::policy) fn name(&self) -> &'static str {
        match self {
            Self::Object(_) => "object",
            Self::Free => "object, free",
            Self::Text => "text",
            Self::Texts => "list of texts",
            Self::Number => "number",
        }
    }
}

impl Field {
    /// The member of this name.
    pub(in crate::policy) fn member(&self, name: &str) -> Option<&'static Self> {
        self.kind.members()?.iter().find(|member| member.name == name)
    }
}

/// True where the document always has something at this path, `null` included.
pub(in crate::policy) fn is_promised<'a>(path: impl IntoIterator<Item = &'a str>) -> bool {
    path.into_iter().try_fold(&INPUT, Field::member).is_some()
}

/// A text in one of the document's lists.
pub(super) static ELEMENT: Field = leaf("element", PartKind::Text, "", "an element of a list", "");

/// A place in the document, told from others by where it is.
#[derive(Debug, Clone, Copy)]
pub(in crate::policy) struct Part(pub(in crate::policy) &'static Field);

impl Part {
    pub(in crate::policy) const ROOT: Self = Self(&INPUT);

    /// The part below it under a constant name: none where there is no such thing, itself where it is free.
    pub(in crate::policy) fn step(self, name: &str) -> Option<Self> {
        match &self.0.kind {
            PartKind::Object(_) => self.0.member(name).map(Self),
            PartKind::Free => Some(self),
            PartKind::Text | PartKind::Texts | PartKind::Number => None,
        }
    }

    /// All that stands in it.
    pub(in crate::policy) fn inside(self) -> Vec<Self> {
        match &self.0.kind {
            PartKind::Object(members) => members.iter().map(Self).collect(),
            PartKind::Free => vec![self],
            PartKind::Texts => vec![Self(&ELEMENT)],
            PartKind::Text | PartKind::Number => Vec::new(),
        }
    }

    /// The dotted path that leads to it.
    pub(in crate::policy) fn path(self) -> String {
        fn find(field: &'static Field, wanted: &'static Field, path: &str) -> Option<String> {
            if std::ptr::eq(field, wanted) {
                return Some(path.to_owned());
            }
            let mut members = field.kind.members().unwrap_or_default().iter();
            members.find_map(|member| find(member, wanted, &format!("{path}.{}", member.name)))
        }
        find(&INPUT, self.0, INPUT.name).unwrap_or_else(|| self.0.about.to_owned())
    }
}

impl PartialEq for Part {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self.0, other.0)
    }
}

impl Eq for Part {}

impl PartialOrd for Part {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Part {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        std::ptr::from_ref(self.0).cmp(&std::ptr::from_ref(other.0))
    }
}
