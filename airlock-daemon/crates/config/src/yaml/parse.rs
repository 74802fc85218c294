//! From YAML to the located tree.
//!
//! Anchors, aliases, tags, directives and further documents have no use in a configuration and are refused,
//! which also bounds the tree by the size of the file.

use std::collections::HashMap;

use granit_parser::{Event, Marker, Parser, ScalarStyle, Span, options};

use super::tree::{Entry, Kind, Node, NodeId, brief};
use crate::diagnostics::{Issue, Position};

/// Deepest nesting of lists and mappings; the schema needs seven.
const MAX_DEPTH: usize = 32;
/// Most keys and values in one file.
const MAX_NODES: usize = 20_000;

/// True where a key is `env`, or most likely meant to be.
fn is_env(key: &str) -> bool {
    let key = key.to_lowercase();
    key.starts_with("env") || strsim::damerau_levenshtein(&key, "env") <= 1
}

/// True where text is a URL with a user name or password in it.
fn holds_password(kind: &Kind) -> bool {
    match kind {
        Kind::Plain(text) | Kind::Quoted(text) => {
            text.split_once("://").is_some_and(|(_, rest)| rest.contains('@'))
        }
        _ => false,
    }
}

/// The result of reading the text.
pub(crate) struct Parsed {
    /// The tree; none when the text is not YAML or not one document.
    pub(crate) root: Option<Node>,
    /// Byte ranges of the values below `env`, and of URLs with a password: secrets, which are never shown.
    pub(crate) hidden: Vec<std::ops::Range<usize>>,
    pub(crate) issues: Vec<Issue>,
}

/// Reads the text into a tree.
pub(crate) fn parse(text: &str) -> Parsed {
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
    let root = builder.root.take().unwrap_or_else(|| builder.node(Position::START, Kind::Map(Vec::new())));
    Parsed { root: Some(root), hidden: builder.hidden, issues: builder.issues }
}

/// A list or mapping whose end has not come yet.
enum Open {
    Seq(NodeId, Position, Vec<Node>),
    Map { id: NodeId, at: Position, entries: Vec<Entry>, seen: HashMap<String, usize>, key: PendingKey },
}

/// The next thing that a mapping waits for.
enum PendingKey {
    Awaited,
    Read(String, Position),
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
    /// True where the newest node stands below `env`; its anchor and tag come after it.
    secret: bool,
    hidden: Vec<std::ops::Range<usize>>,
    issues: Vec<Issue>,
}

impl Builder<'_> {
    fn node(&mut self, at: Position, kind: Kind) -> Node {
        self.nodes += 1;
        Node { id: self.nodes, at, kind, secret: false }
    }

    /// Takes one event; false when reading cannot go on.
    fn take(&mut self, event: Event<'_>, span: Span) -> bool {
        let at = self.place(&span);
        if event.is_node() {
            self.secret = self.in_env();
        }
        if self.secret
            && let Some(tag) = span.tag_span()
        {
            self.hidden.extend(tag.byte_range());
        }
        if event.tag().is_some() {
            let tag = span.tag_start().map_or(at, |mark| Position::new(mark.line(), mark.col() + 1, 1));
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
            Event::Anchor(..) => {
                if self.secret {
                    self.hidden.extend(span.byte_range());
                }
                self.issues.push(
                    Issue::new(at, "an anchor is not allowed")
                        .expected("values without anchors and aliases")
                        .help("write the value out; put quotes around text that really begins with `&`"),
                );
            }
            Event::Alias(_) | Event::UnresolvedAlias(_) => {
                if self.secret {
                    self.hidden.extend(span.byte_range());
                }
                self.issues.push(
                    Issue::new(at, "an alias is not allowed")
                        .expected("values without anchors and aliases")
                        .help("write the value out; put quotes around text that really begins with `*`"),
                );
                self.nodes += 1;
                self.attach(Node::blank(self.nodes, at));
            }
            Event::Scalar(text, style, ..) => {
                let empty = span.slice(self.text).is_none_or(str::is_empty);
                let kind = match style {
                    ScalarStyle::Plain if empty => Kind::Empty,
                    ScalarStyle::Plain => Kind::Plain(text.into_owned()),
                    _ => Kind::Quoted(text.into_owned()),
                };
                let secret = (self.secret && !self.awaits_key()) || holds_password(&kind);
                if secret {
                    self.hidden.extend(span.byte_range());
                }
                let node = self.node(at, kind);
                self.attach(Node { secret, ..node });
            }
            Event::SequenceStart(..) => {
                let node = self.node(at, Kind::Empty);
                self.stack.push(Open::Seq(node.id, at, Vec::new()));
            }
            Event::MappingStart(..) => {
                let node = self.node(at, Kind::Empty);
                let (entries, seen) = (Vec::new(), HashMap::new());
                self.stack.push(Open::Map { id: node.id, at, entries, seen, key: PendingKey::Awaited });
            }
            Event::SequenceEnd | Event::MappingEnd => match self.stack.pop() {
                Some(Open::Seq(id, at, items)) => {
                    self.attach(Node { id, at, kind: Kind::Seq(items), secret: false });
                }
                Some(Open::Map { id, at, entries, .. }) => {
                    self.attach(Node { id, at, kind: Kind::Map(entries), secret: false });
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
            Some(Open::Map { entries, seen, key, .. }) => match std::mem::replace(key, PendingKey::Awaited) {
                PendingKey::Read(key, key_at) => entries.push(Entry { key, key_at, value: node }),
                PendingKey::Refused => {}
                PendingKey::Awaited => match node.kind {
                    Kind::Plain(text) | Kind::Quoted(text) => {
                        if let Some(first) = seen.get(&text) {
                            self.issues.push(
                                Issue::new(node.at, format!("the key `{}` is given twice", brief(&text)))
                                    .expected(format!("each key once; it stands on line {first} already"))
                                    .help("remove one of the two"),
                            );
                            *key = PendingKey::Refused;
                        } else {
                            seen.insert(text.clone(), node.at.line);
                            *key = PendingKey::Read(text, node.at);
                        }
                    }
                    _ => {
                        self.issues.push(
                            Issue::new(node.at, format!("found {} where a key belongs", node.describe()))
                                .expected("a key: text, followed by a colon")
                                .help("write `key: value`, and put quotes around a value that begins with `[` or `{`"),
                        );
                        *key = PendingKey::Refused;
                    }
                },
            },
        }
    }

    fn in_env(&self) -> bool {
        self.stack
            .iter()
            .any(|open| matches!(open, Open::Map { key: PendingKey::Read(key, _), .. } if is_env(key)))
    }

    fn awaits_key(&self) -> bool {
        matches!(self.stack.last(), Some(Open::Map { key: PendingKey::Awaited, .. }))
    }

    fn syntax_error(&mut self, mark: Marker, info: &str) {
        if self.in_env() {
            // A value that could not be read may be the secret itself, so its whole line is hidden.
            let (before, after) =
                self.text.split_at_checked(mark.byte_offset().unwrap_or(0)).unwrap_or_default();
            let start = before.rfind(['\n', '\r']).map_or(0, |end| end + 1);
            let end = before.len() + after.find(['\n', '\r']).unwrap_or(after.len());
            self.hidden.push(start..end);
        }
        let tab = info.contains("tab");
        self.issues.push(
            Issue::new(Position::new(mark.line(), mark.col() + 1, 1), format!("this is not YAML: {info}"))
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
    fn place(&self, span: &Span) -> Position {
        let width = match span.slice(self.text) {
            Some(text) if !text.contains('\n') => text.chars().count().max(1),
            _ => 1,
        };
        Position::new(span.start.line(), span.start.col() + 1, width)
    }
}
