//! Definitions that are not the locked ones, and what has become of them: a rename, a swap, a new name that
//! looks like another.

use std::collections::{BTreeSet, HashMap};
use std::fmt::{self, Display, Formatter};

use airlock_mcp::object::Object;

use crate::definition::{Definition, Digest};
use crate::hidden::revealed;
use crate::lock_file::Definitions;
use crate::look::look;

/// Most characters of a name that are shown.
const SHOWN: usize = 200;
/// Most members of a definition that are named.
const NAMED: usize = 8;

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

/// The facts that are known beside the definitions of one list, as tables: a list may have thousands, and
/// each is compared with all.
#[derive(Debug)]
pub struct Surroundings<'a> {
    /// The lock of the kind and the server.
    locked: &'a Definitions,
    /// Locked names that are not listed any more, by all but the name and title of what is locked.
    gone: HashMap<Digest, &'a str>,
    /// Locked names that are another now, by what is locked of each and what it is now.
    turned: HashMap<(Digest, Digest), &'a str>,
    /// Locked names by their looks.
    looks: HashMap<String, &'a str>,
    /// Names of other servers by their looks, each with its server.
    elsewhere: HashMap<String, (&'a str, &'a str)>,
}

impl<'a> Surroundings<'a> {
    /// Makes the tables. `locked` is the lock of the kind and the server; `others` are the definitions of the
    /// same kind that are not the locked ones; `listed` has the names that the server lists now, and is empty
    /// where that is not known; `elsewhere` has names of other servers, each behind its server.
    pub fn new(
        locked: &'a Definitions,
        others: &Definitions,
        listed: &BTreeSet<String>,
        elsewhere: &[(&'a str, &'a str)],
    ) -> Self {
        let is_gone = |name: &&String| !listed.is_empty() && !listed.contains(*name);
        let gone = locked.iter().filter(|(name, _)| is_gone(name));
        let turned = locked.iter().filter_map(|(name, was)| {
            let is = others.get(name)?;
            Some(((body(was), body(is)), name.as_str()))
        });
        Self {
            locked,
            gone: gone.map(|(name, was)| (body(was), name.as_str())).collect(),
            turned: turned.collect(),
            looks: locked.keys().map(|name| (look(name), name.as_str())).collect(),
            elsewhere: elsewhere.iter().map(|(upstream, name)| (look(name), (*upstream, *name))).collect(),
        }
    }
}

impl Change {
    /// The change that a definition is which is not the locked one.
    pub fn of(definition: &Definition, known: &Surroundings<'_>) -> Self {
        let Some(before) = known.locked.get(&definition.name) else { return Self::of_new(definition, known) };
        match known.turned.get(&(body(definition), body(before))) {
            Some(name) if *name != definition.name => Self::Swapped { with: short(name) },
            _ => Self::Changed { members: differing(&before.text, &definition.text) },
        }
    }

    fn of_new(definition: &Definition, known: &Surroundings<'_>) -> Self {
        if let Some(name) = known.gone.get(&body(definition)) {
            return Self::Renamed { from: short(name) };
        }
        let own = look(&definition.name);
        if let Some(name) = known.looks.get(&own) {
            return Self::LooksLike { upstream: None, name: short(name) };
        }
        match known.elsewhere.get(&own) {
            Some((upstream, name)) if *name != definition.name => {
                Self::LooksLike { upstream: Some((*upstream).to_owned()), name: short(name) }
            }
            _ => Self::New,
        }
    }
}

/// As much of a name as is shown: a server may choose one of any length.
fn short(name: &str) -> String {
    name.chars().take(SHOWN).collect()
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
            Self::Changed { members } => {
                write!(f, "has another {} than the locked one", revealed(&members.join(", ")))
            }
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
    names.into_iter().filter(|name| one.get(name) != other.get(name)).take(NAMED).map(short).collect()
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
        let known = Surroundings::new(&locked, &others, &listed, elsewhere);
        others.values().map(|one| Change::of(one, &known)).collect()
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
        let long = "x".repeat(2_000_000);
        let renamed = changes(&[(&long, "reads")], &[("fetch", "reads")], &[]);
        assert!(renamed[0].to_string().len() < 300, "a name of any length is shown in part");
        assert_eq!(far[0].to_string(), "is new, and its name looks like `send_mail` of the server mail");
    }
}
