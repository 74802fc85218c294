//! The file as a tree in which every key and value knows where it was written.
//!
//! Serde alone stops at the first mistake and forgets places; this tree is kept beside it. Anchors, aliases, tags,
//! directives and further documents have no use in a configuration and are refused, which also bounds the tree by the
//! size of the file.

use std::collections::HashMap;

use granit_parser::{Event, Marker, Parser, ScalarStyle, Span, options};

use super::diagnostics::{Issue, Place};

/// Deepest nesting of lists and mappings; the schema needs seven.
const MAX_DEPTH: usize = 32;
/// Most keys and values in one file.
const MAX_NODES: usize = 20_000;

/// Names one node of one tree.
pub(super) type NodeId = usize;

/// A value and where it stands.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) id: NodeId,
    pub(super) at: Place,
    pub(super) kind: Kind,
}

/// What stands there.
#[derive(Debug)]
pub(super) enum Kind {
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
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) key_at: Place,
    pub(super) value: Node,
}

/// A value that reads as whatever is asked for. No check may say anything about it.
#[derive(Debug, Default)]
pub(super) struct Blank {
    /// Which of [`Blank::TEXTS`] it shows where text is asked for.
    choice: usize,
    /// The keys it pretends to have where a mapping is asked for.
    pub(super) fields: Vec<String>,
}

impl Blank {
    /// One text that every type of the schema that is read from text accepts.
    const TEXTS: [&'static str; 5] = ["", "1s", "1/s", "127.0.0.1:1", "auto"];

    pub(super) fn text(&self) -> &'static str {
        Self::TEXTS.get(self.choice).copied().unwrap_or_default()
    }

    /// Turns to the next text; false when there is none left.
    pub(super) fn try_next(&mut self) -> bool {
        self.choice += 1;
        self.choice < Self::TEXTS.len()
    }
}

/// One step of the way from the root to a value.
#[derive(Debug, Clone, Copy)]
pub(super) enum Step<'a> {
    Key(&'a str),
    Index(usize),
}

impl<'a> From<&'a str> for Step<'a> {
    fn from(key: &'a str) -> Self {
        Self::Key(key)
    }
}

impl From<usize> for Step<'_> {
    fn from(index: usize) -> Self {
        Self::Index(index)
    }
}

/// Where a way through the tree ends.
pub(super) enum Located {
    /// In a value that was reported already.
    Blank,
    /// At a key (if it has one) and its value; or, where the way ends early, at the last ones that exist.
    At { key: Option<Place>, value: Place, whole: bool },
}

impl Node {
    /// Follows `path` as far as it exists.
    pub(super) fn locate(&self, path: &[Step<'_>]) -> Located {
        let (mut node, mut key) = (self, None);
        for step in path {
            let next = match (&node.kind, step) {
                (Kind::Blank(_), _) => return Located::Blank,
                (Kind::Map(entries), Step::Key(name)) => {
                    entries.iter().find(|e| e.key == *name).map(|e| (&e.value, Some(e.key_at)))
                }
                (Kind::Seq(items), Step::Index(index)) => items.get(*index).map(|item| (item, None)),
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
    pub(super) fn find_mut(&mut self, id: NodeId) -> Option<&mut Self> {
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
    pub(super) fn parent_mut(&mut self, id: NodeId) -> Option<&mut Self> {
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
    pub(super) fn highest_id(&self) -> NodeId {
        let below = match &self.kind {
            Kind::Seq(items) => items.iter().map(Self::highest_id).max(),
            Kind::Map(entries) => entries.iter().map(|entry| entry.value.highest_id()).max(),
            _ => None,
        };
        below.unwrap_or_default().max(self.id)
    }

    /// In words, what this is; long text is cut.
    pub(super) fn describe(&self) -> String {
        match &self.kind {
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

/// Whether plain text stands for null.
pub(super) fn is_null(text: &str) -> bool {
    matches!(text, "~" | "null" | "Null" | "NULL")
}

/// Text short enough for a message, without control characters.
pub(super) fn brief(text: &str) -> String {
    let mut short: String =
        text.chars().take(60).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    if text.chars().nth(60).is_some() {
        short.push('…');
    }
    short
}

/// What came of reading the text.
pub(super) struct Parsed {
    /// The tree; none when the text is not YAML or not one document.
    pub(super) root: Option<Node>,
    /// Byte ranges of the values below keys named `env`, which may be secret and are never shown.
    pub(super) hidden: Vec<std::ops::Range<usize>>,
    pub(super) issues: Vec<Issue>,
}

/// Reads the text into a tree.
pub(super) fn parse(text: &str) -> Parsed {
    let mut options = options! {
        disallow_directives: true,
        emit_unresolved_aliases: true,
        emit_anchor_events: true,
        flow_nesting_limit: MAX_DEPTH,
        block_nesting_limit: MAX_DEPTH,
    };
    options.set_emit_comments(false);
    let mut builder = Builder { text, ..Builder::default() };
    for event in Parser::new_from_str_with_options(text, options) {
        let going_on = match event {
            Ok((event, span)) => builder.take(event, span),
            Err(error) => {
                builder.syntax_error(*error.marker(), &error.info());
                false
            }
        };
        if !going_on {
            return Parsed { root: None, hidden: builder.hidden, issues: builder.issues };
        }
    }
    let root = builder.root.take().unwrap_or_else(|| builder.node(Place::START, Kind::Map(Vec::new())));
    Parsed { root: Some(root), hidden: builder.hidden, issues: builder.issues }
}

/// A list or mapping whose end has not come yet.
enum Open {
    Seq(NodeId, Place, Vec<Node>),
    Map { id: NodeId, at: Place, entries: Vec<Entry>, seen: HashMap<String, usize>, key: Key },
}

/// What a mapping waits for.
enum Key {
    Awaited,
    Read(String, Place),
    /// The key was reported; its value is read and dropped.
    Refused,
}

#[derive(Default)]
struct Builder<'t> {
    text: &'t str,
    stack: Vec<Open>,
    root: Option<Node>,
    documents: usize,
    nodes: usize,
    hidden: Vec<std::ops::Range<usize>>,
    issues: Vec<Issue>,
}

impl Builder<'_> {
    fn node(&mut self, at: Place, kind: Kind) -> Node {
        self.nodes += 1;
        Node { id: self.nodes, at, kind }
    }

    /// Takes one event; false when reading cannot go on.
    fn take(&mut self, event: Event<'_>, span: Span) -> bool {
        let at = self.place(&span);
        if event.tag().is_some() {
            let tag = span.tag_start().map_or(at, |mark| Place::new(mark.line(), mark.col() + 1, 1));
            self.issues.push(Issue::new(tag, "a YAML tag is not allowed").expected("a plain value").help(
                "remove the word that begins with `!`; put quotes around text that really begins with `!`",
            ));
        }
        if self.nodes >= MAX_NODES || self.stack.len() > MAX_DEPTH {
            self.issues.push(
                Issue::new(at, "the file holds too many or too deeply nested values")
                    .expected(format!("at most {MAX_NODES} values, nested at most {MAX_DEPTH} deep"))
                    .help("shorten the file"),
            );
            return false;
        }
        match event {
            Event::DocumentStart(..) => {
                self.documents += 1;
                if self.documents > 1 {
                    self.issues.push(
                        Issue::new(at, "a second YAML document begins here")
                            .expected("one document a file")
                            .help("remove this line and what follows it, or move it into a file of its own"),
                    );
                    return false;
                }
            }
            Event::Anchor(_, name) => self.issues.push(
                Issue::new(at, format!("the anchor `&{}` is not allowed", brief(&name)))
                    .expected("values without anchors and aliases")
                    .help("remove the anchor and write the value out wherever it is needed"),
            ),
            Event::Alias(_) | Event::UnresolvedAlias(_) => {
                self.issues.push(
                    Issue::new(at, "an alias is not allowed")
                        .expected("values without anchors and aliases")
                        .help("write the value out; put quotes around text that really begins with `*`"),
                );
                let node = self.node(at, Kind::Blank(Blank::default()));
                self.attach(node);
            }
            Event::Scalar(text, style, ..) => {
                let empty = span.slice(self.text).is_none_or(str::is_empty);
                let kind = match style {
                    ScalarStyle::Plain if empty => Kind::Empty,
                    ScalarStyle::Plain => Kind::Plain(text.into_owned()),
                    _ => Kind::Quoted(text.into_owned()),
                };
                if self.in_env() && !self.awaits_key() {
                    self.hidden.extend(span.byte_range());
                }
                let node = self.node(at, kind);
                self.attach(node);
            }
            Event::SequenceStart(..) => {
                let node = self.node(at, Kind::Empty);
                self.stack.push(Open::Seq(node.id, at, Vec::new()));
            }
            Event::MappingStart(..) => {
                let node = self.node(at, Kind::Empty);
                let (entries, seen) = (Vec::new(), HashMap::new());
                self.stack.push(Open::Map { id: node.id, at, entries, seen, key: Key::Awaited });
            }
            Event::SequenceEnd | Event::MappingEnd => match self.stack.pop() {
                Some(Open::Seq(id, at, items)) => self.attach(Node { id, at, kind: Kind::Seq(items) }),
                Some(Open::Map { id, at, entries, .. }) => {
                    self.attach(Node { id, at, kind: Kind::Map(entries) });
                }
                None => {}
            },
            _ => {}
        }
        true
    }

    /// Puts a finished node where it belongs: as key, as value, as element or as root.
    fn attach(&mut self, node: Node) {
        match self.stack.last_mut() {
            None => self.root = Some(node),
            Some(Open::Seq(_, _, items)) => items.push(node),
            Some(Open::Map { entries, seen, key, .. }) => match std::mem::replace(key, Key::Awaited) {
                Key::Read(key, key_at) => entries.push(Entry { key, key_at, value: node }),
                Key::Refused => {}
                Key::Awaited => match node.kind {
                    Kind::Plain(text) | Kind::Quoted(text) => match seen.get(&text) {
                        Some(first) => {
                            self.issues.push(
                                Issue::new(node.at, format!("the key `{}` is given twice", brief(&text)))
                                    .expected(format!("each key once; it stands on line {first} already"))
                                    .help("remove one of the two"),
                            );
                            *key = Key::Refused;
                        }
                        None => {
                            seen.insert(text.clone(), node.at.line);
                            *key = Key::Read(text, node.at);
                        }
                    },
                    _ => {
                        self.issues.push(
                            Issue::new(node.at, format!("found {} where a key belongs", node.describe()))
                                .expected("a key: text, followed by a colon")
                                .help("write `key: value`, and put quotes around a value that begins with `[` or `{`"),
                        );
                        *key = Key::Refused;
                    }
                },
            },
        }
    }

    fn in_env(&self) -> bool {
        self.stack.iter().any(|open| matches!(open, Open::Map { key: Key::Read(key, _), .. } if key == "env"))
    }

    fn awaits_key(&self) -> bool {
        matches!(self.stack.last(), Some(Open::Map { key: Key::Awaited, .. }))
    }

    fn syntax_error(&mut self, mark: Marker, info: &str) {
        if self.in_env() {
            // The value that could not be read is unknown, so the rest of its line is hidden.
            let line = self.text.lines().nth(mark.line().saturating_sub(1)).unwrap_or_default();
            let start = line.as_ptr().addr().saturating_sub(self.text.as_ptr().addr());
            let value = line.find(':').map_or(0, |colon| colon + 1);
            self.hidden.push(start + value..start + line.len());
        }
        let tab = info.contains("tab");
        self.issues.push(
            Issue::new(Place::new(mark.line(), mark.col() + 1, 1), format!("this is not YAML: {info}"))
                .expected("YAML 1.2: `key: value`, lists with `- ` or in brackets, indented by spaces")
                .help(if tab {
                    "indent by spaces, not by tabs"
                } else {
                    "check indentation, quotes, brackets and colons on this line and on the lines before it; \
                     what follows could not be read"
                }),
        );
    }

    /// Line, column and width of a span; a span over several lines is as wide as one character.
    fn place(&self, span: &Span) -> Place {
        let width = match span.slice(self.text) {
            Some(text) if !text.contains('\n') => text.chars().count().max(1),
            _ => 1,
        };
        Place::new(span.start.line(), span.start.col() + 1, width)
    }
}
