//! The messages that are forwarded: how each method names its target, and the part of it that the policy is
//! asked about. The rows are in [`super::table`].
//!
//! Every stage reads this table instead of knowing methods, so that a prompt and a resource meet the checks
//! of a tool.

use std::borrow::Cow;

use serde_json::value::RawValue;

use crate::mcp::capability::Capability;
use crate::mcp::envelope::variant;
use crate::mcp::object::{Object, quote};
use crate::mcp::revision::{Era, Revision};
use crate::observe::escape::printable;
use crate::upstream::era::facts::Facts;
use crate::upstream::lists::listed::shape::Shape;

/// The things that a request can be aimed at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Noun {
    /// A tool, by its name.
    Tool,
    /// A prompt, by its name.
    Prompt,
    /// A resource, by its URI, or a template, by its URI template.
    Resource,
    /// A task, by the handle that its owner was given for its id.
    Task,
}

/// One thing that a request is aimed at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject<'a> {
    /// The kind of the target.
    pub noun: Noun,
    /// Its name or URI.
    pub name: Cow<'a, str>,
}

/// How a call names its target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// By a member of its parameters.
    Member(Noun, &'static str),
    /// By a `ref` object: a prompt's name or a resource's URI.
    Reference,
    /// It has none: it is about the server as a whole.
    Server,
}

/// Where a result carries URIs of resources.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Uris {
    /// In the blocks of `content`.
    Content,
    /// In the blocks of each message's `content`.
    Messages,
    /// In each of `contents`.
    Contents,
    /// In the blocks of `content` of the `result` of a task that has come to its end.
    Outcome,
    /// Nowhere.
    Nowhere,
}

/// A request that is forwarded to one upstream.
#[derive(Debug, PartialEq, Eq)]
pub struct Call {
    /// Its method.
    pub method: &'static str,
    /// The capability that the upstream must offer.
    pub capability: Capability,
    /// How it names its target.
    pub target: Target,
    /// The member that the policy sees as the arguments.
    pub arguments: Option<&'static str>,
    /// Where its result carries URIs.
    pub uris: Uris,
    /// True where its result says how long it may be cached (2026-07-28).
    pub cacheable: bool,
    /// The only era that has it.
    pub era: Option<Era>,
    /// Members of its parameters, besides target and arguments, that change what the server does and are
    /// carried across.
    pub carries: &'static [&'static str],
    /// Where its result carries ids of tasks.
    pub tasks: Tasks,
}

/// Where a result carries ids of tasks, besides `_meta`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tasks {
    /// It is a task.
    Itself,
    /// It may be a new task: in `task` (2025-11-25), or itself (2026-07-28).
    Created,
    /// Nowhere.
    Nowhere,
}

/// A list of what an upstream offers.
#[derive(Debug, PartialEq, Eq)]
pub struct List {
    /// Its method.
    pub method: &'static str,
    /// The member of the result that holds the entries.
    pub entries: &'static str,
    /// The member of an entry that names it.
    pub name: &'static str,
    /// The kind of the entries.
    pub noun: Noun,
    /// The capability that the upstream must offer.
    pub capability: Capability,
    /// The call that an entry is for: an entry is shown to those who would be allowed this call.
    pub call: &'static Call,
}

impl List {
    /// How a server answers it.
    pub const fn shape(&self) -> Shape {
        Shape { method: self.method, entries: self.entries, name: self.name }
    }
}

/// True where a server that is known offers something to clients of a revision.
pub fn offered(needs: Capability, facts: &Facts, client: Revision) -> bool {
    facts.offers.between(client, facts.era).has(needs)
}

impl Noun {
    /// The word for it in messages to clients.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Tool => "tool",
            Self::Prompt => "prompt",
            Self::Resource => "resource",
            Self::Task => "task",
        }
    }
}

/// A name as it goes on record: a URI without its query, a template also without a query's expression; `?…`
/// stands for it, since queries may hold what nobody wants in a log.
pub fn recorded(noun: Noun, name: &str) -> Cow<'_, str> {
    match (noun, name.find('?')) {
        (Noun::Resource, Some(at)) => Cow::Owned(format!("{}?…", name[..at].trim_end_matches('{'))),
        _ => Cow::Borrowed(name),
    }
}

/// The same in a sentence to the client that has named it.
pub fn quoted(noun: Noun, name: &str) -> String {
    in_quotes(&recorded(noun, name))
}

/// A client's own words in a sentence to it: in quotes, cut, and with nothing that steers a terminal.
pub fn in_quotes(text: &str) -> String {
    const MOST: usize = 128;
    let cut: String = text.chars().take(MOST).collect();
    let rest = if cut.len() < text.len() { "…" } else { "" };
    format!("`{}{rest}`", printable(&cut))
}

impl Call {
    /// The target of the request, for as long as the received text lives.
    ///
    /// # Errors
    /// A sentence for the client.
    pub fn subject<'a>(&self, params: &Object<'a>) -> Result<Option<Subject<'a>>, String> {
        match self.target {
            Target::Server => Ok(None),
            Target::Member(noun, member) => {
                let name = params
                    .kept_string(member)
                    .ok_or_else(|| format!("`params.{member}` must be a string"))?;
                Ok(Some(Subject { noun, name }))
            }
            Target::Reference => reference(params).map(Some),
        }
    }

    /// The member that the header `Mcp-Name` mirrors (2026-07-28, "Standard request headers").
    pub const fn mirrored(&self) -> Option<&'static str> {
        match self.target {
            Target::Member(_, member) => Some(member),
            Target::Reference | Target::Server => None,
        }
    }

    /// The arguments as the policy sees them: `None` where the request has none.
    ///
    /// # Errors
    /// A sentence for the client.
    pub fn arguments<'a>(&self, params: &Object<'a>) -> Result<Option<&'a RawValue>, String> {
        let Some(member) = self.arguments else { return Ok(None) };
        match params.kept(member) {
            Some(value) if !value.get().starts_with('{') => {
                Err(format!("`params.{member}` must be an object"))
            }
            value => Ok(value),
        }
    }

    /// The capability that the server must offer for this very request: one that asks for a task needs more.
    pub fn needs(&self, params: &Object<'_>) -> Capability {
        if self.tasks == Tasks::Created && params.get("task").is_some() {
            Capability::TaskCalls
        } else {
            self.capability
        }
    }

    /// Aims the request at another name.
    pub fn retarget(&self, params: &mut Object<'_>, name: &str) {
        match self.target {
            Target::Member(_, member) => params.set(member, quote(name)),
            Target::Reference => {
                let text = params.get("ref").unwrap_or_default().to_owned();
                let Ok(mut reference) = Object::parse(&text) else { return };
                let member = if reference.get("uri").is_some() { "uri" } else { "name" };
                reference.set(member, quote(name));
                params.set("ref", reference.write());
            }
            Target::Server => {}
        }
    }
}

/// The target that a `ref` names. A `ref` that names two things is refused: the server may take the other.
fn reference<'a>(params: &Object<'a>) -> Result<Subject<'a>, String> {
    let reference = params.kept("ref").and_then(|raw| Object::parse(raw.get()).ok());
    let reference = reference.ok_or("`params.ref` must be an object")?;
    if let Some(name) = variant(&reference, &["type", "name", "uri"]) {
        return Err(format!("the member `params.ref.{name}` is written in the wrong letter case"));
    }
    let (noun, member, other) = match reference.string("type").as_deref() {
        Some("ref/prompt") => (Noun::Prompt, "name", "uri"),
        Some("ref/resource") => (Noun::Resource, "uri", "name"),
        _ => return Err("`params.ref.type` must be \"ref/prompt\" or \"ref/resource\"".to_owned()),
    };
    if reference.get(other).is_some() {
        return Err(format!("`params.ref` of this type has no `{other}`"));
    }
    let name =
        reference.kept_string(member).ok_or_else(|| format!("`params.ref.{member}` must be a string"))?;
    Ok(Subject { noun, name })
}

#[cfg(test)]
mod tests {
    use super::super::table::{COMPLETE, MethodKind, SET_LEVEL};
    use super::*;
    use crate::mcp::method::Method;

    fn call(method: &str) -> &'static Call {
        match MethodKind::of(Method::parse(method)) {
            Some(MethodKind::Call(call)) => call,
            other => panic!("{method} is {other:?}"),
        }
    }

    #[test]
    fn every_row_stands_under_its_own_method() {
        for method in [
            "tools/call",
            "prompts/get",
            "resources/read",
            "completion/complete",
            "logging/setLevel",
            "tools/list",
            "prompts/list",
            "resources/list",
            "resources/templates/list",
            "tasks/get",
            "tasks/result",
            "tasks/update",
            "tasks/cancel",
            "tasks/list",
        ] {
            let named = match MethodKind::of(Method::parse(method)).expect(method) {
                MethodKind::Call(call) => call.method,
                MethodKind::List(list) => list.method,
            };
            assert_eq!(named, method);
            assert_eq!(Method::parse(method).label(), method);
        }
        for method in ["initialize", "ping", "server/discover", "resources/subscribe", "tasks/delete", "x"] {
            assert_eq!(MethodKind::of(Method::parse(method)), None, "{method}");
        }
    }

    #[test]
    fn targets_are_found_and_replaced() {
        for (method, sent, noun, name, retargeted) in [
            ("tools/call", r#"{"name":"a__x","n":1}"#, Noun::Tool, "a__x", r#"{"name":"new","n":1}"#),
            ("prompts/get", r#"{"name":"p"}"#, Noun::Prompt, "p", r#"{"name":"new"}"#),
            ("resources/read", r#"{"uri":"f:\/x"}"#, Noun::Resource, "f:/x", r#"{"uri":"new"}"#),
            (
                "completion/complete",
                r#"{"ref":{"type":"ref/prompt","name":"p","title":"T"}}"#,
                Noun::Prompt,
                "p",
                r#"{"ref":{"type":"ref/prompt","name":"new","title":"T"}}"#,
            ),
            (
                "completion/complete",
                r#"{"ref":{"type":"ref/resource","uri":"f:{x}"}}"#,
                Noun::Resource,
                "f:{x}",
                r#"{"ref":{"type":"ref/resource","uri":"new"}}"#,
            ),
        ] {
            let mut params = Object::parse(sent).expect("params");
            let subject = call(method).subject(&params).expect(sent).expect("a target");
            assert_eq!((subject.noun, subject.name.as_ref()), (noun, name), "{sent}");
            call(method).retarget(&mut params, "new");
            assert_eq!(params.write(), retargeted);
        }
        let level = Object::parse(r#"{"level":"info"}"#).expect("params");
        assert_eq!(SET_LEVEL.subject(&level), Ok(None));
    }

    #[test]
    fn unclear_targets_are_refused() {
        for (method, sent, expected) in [
            ("tools/call", r#"{"name":1}"#, "params.name"),
            ("resources/read", r#"{"name":"x"}"#, "params.uri"),
            ("completion/complete", r"{}", "must be an object"),
            ("completion/complete", r#"{"ref":"x"}"#, "must be an object"),
            ("completion/complete", r#"{"ref":{"type":"ref/tool","name":"x"}}"#, "params.ref.type"),
            ("completion/complete", r#"{"ref":{"type":"ref/prompt"}}"#, "params.ref.name"),
            (
                "completion/complete",
                r#"{"ref":{"type":"ref/prompt","name":"p","uri":"f:x"}}"#,
                "has no `uri`",
            ),
            (
                "completion/complete",
                r#"{"ref":{"type":"ref/resource","name":"p","uri":"f:x"}}"#,
                "has no `name`",
            ),
            ("completion/complete", r#"{"ref":{"type":"ref/prompt","name":"p","Name":"q"}}"#, "letter case"),
        ] {
            let params = Object::parse(sent).expect("params");
            let reason = call(method).subject(&params).expect_err(sent);
            assert!(reason.contains(expected), "{sent}: {reason}");
        }
        let params = Object::parse(r#"{"argument":[1]}"#).expect("params");
        assert!(COMPLETE.arguments(&params).is_err());
    }

    #[test]
    fn a_query_does_not_go_on_record() {
        assert_eq!(recorded(Noun::Resource, "https://h/p?token=s#f"), "https://h/p?…");
        assert_eq!(recorded(Noun::Resource, "https://h/{p}{?q,r}"), "https://h/{p}?…");
        assert_eq!(recorded(Noun::Resource, "file:///a"), "file:///a");
        assert_eq!(recorded(Noun::Tool, "what?"), "what?");
    }
}
