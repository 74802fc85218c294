//! The file as a tree in which every key and value knows where it was written.
//!
//! Serde alone stops at the first mistake and forgets places; this tree is kept beside it.

use crate::diagnostics::Position;

/// Names one node of one tree.
pub(crate) type NodeId = usize;

/// A value and where it stands.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) id: NodeId,
    pub(crate) at: Position,
    pub(crate) kind: Kind,
    /// The value may be secret and is never shown.
    pub(crate) secret: bool,
}

impl Node {
    /// A stand-in at `at` for a value that is missing or was reported.
    pub(crate) fn blank(id: NodeId, at: Position) -> Self {
        Self { id, at, kind: Kind::Blank(Blank::default()), secret: false }
    }
}

/// The value that stands there.
#[derive(Debug)]
pub(crate) enum Kind {
    /// Text without quotes, from which numbers, booleans and null may be read.
    Plain(String),
    /// Text in quotes or in a block: never anything but text.
    Quoted(String),
    /// Nothing was written where a value belongs.
    Empty,
    Seq(Vec<Node>),
    Map(Vec<Entry>),
    /// Takes the place of a value that was reported, so that the rest can still be read. See [`Blank`].
    Blank(Blank),
}

/// A key and its value.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) key_at: Position,
    pub(crate) value: Node,
}

/// A value that reads as whatever is asked for. No check may say anything about it.
#[derive(Debug, Default)]
pub(crate) struct Blank {
    /// Which of [`Blank::TEXTS`] it shows where text is asked for.
    choice: usize,
    /// The keys it pretends to have where a mapping is asked for.
    pub(crate) fields: Vec<String>,
}

impl Blank {
    /// One text that every type of the schema that is read from text accepts.
    const TEXTS: [&'static str; 5] = ["", "1s", "1/s", "127.0.0.1:1", "auto"];

    pub(crate) fn text(&self) -> &'static str {
        Self::TEXTS.get(self.choice).copied().unwrap_or_default()
    }

    /// Turns to the next text; false when there is none left.
    pub(crate) fn try_next(&mut self) -> bool {
        self.choice += 1;
        self.choice < Self::TEXTS.len()
    }
}

/// One step of the way from the root to a value.
#[derive(Debug, Clone, Copy)]
pub(crate) enum PathStep<'a> {
    Key(&'a str),
    Index(usize),
}

impl<'a> From<&'a str> for PathStep<'a> {
    fn from(key: &'a str) -> Self {
        Self::Key(key)
    }
}

impl From<usize> for PathStep<'_> {
    fn from(index: usize) -> Self {
        Self::Index(index)
    }
}

/// Where a way through the tree ends.
pub(crate) enum Located {
    /// In a value that was reported already.
    Blank,
    /// At a key (if it has one) and its value; or, where the way ends early, at the last ones that exist.
    At { key: Option<Position>, value: Position, whole: bool },
}

impl Node {
    /// Follows `path` as far as it exists.
    pub(crate) fn locate(&self, path: &[PathStep<'_>]) -> Located {
        let (mut node, mut key) = (self, None);
        for step in path {
            let next = match (&node.kind, step) {
                (Kind::Blank(_), _) => return Located::Blank,
                (Kind::Map(entries), PathStep::Key(name)) => {
                    entries.iter().find(|e| e.key == *name).map(|e| (&e.value, Some(e.key_at)))
                }
                (Kind::Seq(items), PathStep::Index(index)) => items.get(*index).map(|item| (item, None)),
                _ => None,
            };
            match next {
                Some((value, place)) => (node, key) = (value, place),
                None => return Located::At { key, value: node.at, whole: false },
            }
        }
        match node.kind {
            Kind::Blank(_) => Located::Blank,
            _ => Located::At { key, value: node.at, whole: true },
        }
    }

    /// The node named `id`, at or below this one.
    pub(crate) fn find_mut(&mut self, id: NodeId) -> Option<&mut Self> {
        if self.id == id {
            return Some(self);
        }
        match &mut self.kind {
            Kind::Seq(items) => items.iter_mut().find_map(|item| item.find_mut(id)),
            Kind::Map(entries) => entries.iter_mut().find_map(|entry| entry.value.find_mut(id)),
            _ => None,
        }
    }

    /// The list or mapping that directly holds the node named `id`.
    pub(crate) fn parent_mut(&mut self, id: NodeId) -> Option<&mut Self> {
        let holds = match &self.kind {
            Kind::Seq(items) => items.iter().any(|item| item.id == id),
            Kind::Map(entries) => entries.iter().any(|entry| entry.value.id == id),
            _ => false,
        };
        if holds {
            return Some(self);
        }
        match &mut self.kind {
            Kind::Seq(items) => items.iter_mut().find_map(|item| item.parent_mut(id)),
            Kind::Map(entries) => entries.iter_mut().find_map(|entry| entry.value.parent_mut(id)),
            _ => None,
        }
    }

    /// The highest identifier at or below this node.
    pub(crate) fn highest_id(&self) -> NodeId {
        let below = match &self.kind {
            Kind::Seq(items) => items.iter().map(Self::highest_id).max(),
            Kind::Map(entries) => entries.iter().map(|entry| entry.value.highest_id()).max(),
            _ => None,
        };
        below.unwrap_or_default().max(self.id)
    }

    /// In words, what this is; long text is cut.
    pub(crate) fn describe(&self) -> String {
        match &self.kind {
            Kind::Plain(_) | Kind::Quoted(_) if self.secret => "text".to_owned(),
            Kind::Plain(text) if is_null(text) => "null".to_owned(),
            Kind::Plain(text) => format!("`{}`", brief(text)),
            Kind::Quoted(text) => format!("the text \"{}\"", brief(text)),
            Kind::Empty => "nothing".to_owned(),
            Kind::Seq(_) => "a list".to_owned(),
            Kind::Map(_) => "a mapping".to_owned(),
            Kind::Blank(_) => "a value that was reported".to_owned(),
        }
    }
}

/// True where plain text stands for null.
pub(crate) fn is_null(text: &str) -> bool {
    matches!(text, "~" | "null" | "Null" | "NULL")
}

/// Text short enough for a message, without control characters.
pub(crate) fn brief(text: &str) -> String {
    let mut short: String =
        text.chars().take(60).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    if text.chars().nth(60).is_some() {
        short.push('…');
    }
    short
}
