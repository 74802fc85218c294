//! Definitions that are not the locked ones, and what has become of them: a rename, a swap, a new name that
//! looks like another.

use std::collections::BTreeSet;
use std::fmt::{self, Display, Formatter};

use airlock_mcp::object::Object;

use crate::definition::{Definition, Digest};
use crate::hidden::revealed;
use crate::lock_file::Definitions;
use crate::look::look;

/// The standing of a definition beside the lock of its server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// It is there since the lock.
    New,
    /// It is new, and all but its name and title is what another was that is gone.
    Renamed {
        /// The name that is gone.
        from: String,
    },
    /// It is new, and is taken for another by whoever reads its name.
    LooksLike {
        /// The other's server, where it is another one.
        upstream: Option<String>,
        /// The other.
        name: String,
    },
    /// It is another than the locked one, in these members.
    Changed {
        /// Names of the members of the definition, such as `description`.
        members: Vec<String>,
    },
    /// It is what another was, and the other is what it was.
    Swapped {
        /// The other.
        with: String,
    },
}

/// The facts that are known beside the definition.
#[derive(Debug, Clone, Copy)]
pub struct Surroundings<'a> {
    /// The lock of the kind and the server.
    pub locked: &'a Definitions,
    /// The definitions of the same kind that are not the locked ones.
    pub others: &'a Definitions,
    /// Names that the server lists now; empty where that is not known.
    pub listed: &'a BTreeSet<String>,
    /// Names of other servers, each with its server.
    pub elsewhere: &'a [(&'a str, &'a str)],
}

impl Change {
    /// The change that a definition is which is not the locked one.
    pub fn of(definition: &Definition, known: Surroundings<'_>) -> Self {
        let Surroundings { locked, others, .. } = known;
        let Some(before) = locked.get(&definition.name) else { return Self::of_new(definition, known) };
        let is_other = |name: &str, other: &Definition| {
            name != definition.name
                && locked
                    .get(name)
                    .is_some_and(|locked| body(locked) == body(definition) && body(before) == body(other))
        };
        let swapped = others.iter().find(|(name, other)| is_other(name, other));
        match swapped {
            Some((name, _)) => Self::Swapped { with: name.clone() },
            None => Self::Changed { members: differing(&before.text, &definition.text) },
        }
    }

    fn of_new(definition: &Definition, known: Surroundings<'_>) -> Self {
        let Surroundings { locked, listed, elsewhere, .. } = known;
        let own = body(definition);
        let is_gone = |name: &String| !listed.is_empty() && !listed.contains(name);
        if let Some((name, _)) = locked.iter().find(|(name, other)| is_gone(name) && body(other) == own) {
            return Self::Renamed { from: name.clone() };
        }
        let own = look(&definition.name);
        let here = locked.keys().find(|name| look(name) == own);
        let there = || {
            let is_alike = |(_, name): &&(&str, &str)| *name != definition.name.as_str() && look(name) == own;
            elsewhere.iter().find(is_alike)
        };
        match (here, here.is_none().then(there).flatten()) {
            (Some(name), _) => Self::LooksLike { upstream: None, name: name.clone() },
            (None, Some((upstream, name))) => {
                Self::LooksLike { upstream: Some((*upstream).to_owned()), name: (*name).to_owned() }
            }
            (None, None) => Self::New,
        }
    }
}

/// A predicate without its subject, for a sentence.
impl Display for Change {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::New => f.write_str("is new"),
            Self::Renamed { from } => {
                write!(f, "is new, and is what `{}` was, which is gone: a rename", revealed(from))
            }
            Self::LooksLike { upstream: None, name } => {
                write!(f, "is new, and its name looks like `{}`", revealed(name))
            }
            Self::LooksLike { upstream: Some(upstream), name } => {
                write!(f, "is new, and its name looks like `{}` of the server {upstream}", revealed(name))
            }
            Self::Changed { members } => write!(f, "has another {} than the locked one", members.join(", ")),
            Self::Swapped { with } => {
                write!(f, "is what `{}` was, which is what this was: a swap", revealed(with))
            }
        }
    }
}

/// The digest of all but the name and the title.
fn body(definition: &Definition) -> Digest {
    let mut text = String::new();
    if let Ok(object) = Object::parse(&definition.text) {
        let names = object.names().filter(|name| !matches!(*name, "name" | "title" | "uriTemplate"));
        for name in names {
            text.push_str(name);
            text.push(':');
            text.push_str(object.get(name).unwrap_or_default());
            text.push('\n');
        }
    }
    Digest::of(&text)
}

/// The members of two objects that differ.
fn differing(one: &str, other: &str) -> Vec<String> {
    let (Ok(one), Ok(other)) = (Object::parse(one), Object::parse(other)) else { return Vec::new() };
    let names: BTreeSet<&str> = one.names().chain(other.names()).collect();
    names.into_iter().filter(|name| one.get(name) != other.get(name)).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::definition::Kind;

    fn tool(name: &str, description: &str) -> Definition {
        let text = format!(r#"{{"name":"{name}","description":"{description}"}}"#);
        Definition::read(Kind::Tools, &text).expect("a tool")
    }

    fn all(tools: &[(&str, &str)]) -> Definitions {
        tools.iter().map(|(name, description)| ((*name).to_owned(), tool(name, description))).collect()
    }

    /// The change of each tool that is not the locked one.
    fn changes(locked: &[(&str, &str)], now: &[(&str, &str)], elsewhere: &[(&str, &str)]) -> Vec<Change> {
        let (locked, now) = (all(locked), all(now));
        let listed: BTreeSet<String> = now.keys().cloned().collect();
        let others: Definitions =
            now.into_iter().filter(|(name, one)| locked.get(name) != Some(one)).collect();
        let known = Surroundings { locked: &locked, others: &others, listed: &listed, elsewhere };
        others.values().map(|one| Change::of(one, known)).collect()
    }

    #[test]
    fn each_is_said_as_what_it_is() {
        let locked = [("read", "reads"), ("write", "writes")];
        let is = |now: &[(&str, &str)]| changes(&locked, now, &[("mail", "send_mail"), ("other", "read")]);
        assert_eq!(is(&locked), []);
        let members = vec!["description".to_owned()];
        assert_eq!(is(&[("read", "reads all"), ("write", "writes")]), [Change::Changed { members }]);
        assert_eq!(is(&[("read", "reads"), ("write", "writes"), ("list", "lists")]), [Change::New]);
        assert_eq!(
            is(&[("fetch", "reads"), ("write", "writes")]),
            [Change::Renamed { from: "read".to_owned() }]
        );
        let twin = is(&[("read", "reads"), ("write", "writes"), ("fetch", "reads")]);
        assert_eq!(twin, [Change::New], "the other is still there");
        let with = |name: &str| Change::Swapped { with: name.to_owned() };
        assert_eq!(is(&[("read", "writes"), ("write", "reads")]), [with("write"), with("read")]);
        let alike = |upstream: Option<&str>, name: &str| Change::LooksLike {
            upstream: upstream.map(str::to_owned),
            name: name.to_owned(),
        };
        assert_eq!(is(&[("read", "reads"), ("write", "writes"), ("Reаd", "x")]), [alike(None, "read")]);
        let far = is(&[("read", "reads"), ("write", "writes"), ("sendMail", "x")]);
        assert_eq!(far, [alike(Some("mail"), "send_mail")]);
        assert_eq!(far[0].to_string(), "is new, and its name looks like `send_mail` of the server mail");
    }
}
