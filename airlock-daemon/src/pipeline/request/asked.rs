//! A message of a client as the checks see it: the target that it names, and the part of it that the policy
//! is shown.

use std::borrow::Cow;

use serde_json::value::RawValue;

use crate::audit::Event;
use crate::mcp::capability::Capability;
use crate::mcp::object::Object;
use crate::mcp::revision::{Era, Revision};

use super::state::{Back, RESPONSES, STATE, may_ask};
use crate::pipeline::methods::kind::{Call, List, Noun, Subject};
use crate::pipeline::methods::table::{COMPLETE, SET_LEVEL, TOOLS_CALL};
use crate::pipeline::methods::wish::Wish;
use crate::pipeline::refusal::Aim;

/// Members of `params` that change what a server does beyond its arguments, and that are not carried across
/// yet.
const UNCARRIED: [&str; 1] = ["task"];

/// The method under which the policy is asked, whichever way the client says it.
pub const SUBSCRIBE: &str = "resources/subscribe";
/// Longest URI of a resource whose changes are listened to, in bytes: it is kept as long as somebody listens.
pub const MAX_URI: usize = 8 * 1024;

/// A message that asks for something.
pub enum Asked<'a> {
    /// A request that is forwarded to one server.
    Call(&'static Call, Object<'a>),
    /// A list, of one server or of all.
    List(&'static List, Object<'a>),
    /// `resources/subscribe` or `resources/unsubscribe` of the legacy era.
    Subscribe(&'static str, &'a Object<'a>),
    /// A level for log messages that goes to no server at once: the session keeps it.
    Level,
    /// A method that Airlock answers by itself.
    Own(&'static str),
}

/// The parts of a message that a check looks at.
#[derive(Default)]
pub struct Parts<'a> {
    /// The target, by the client's name.
    pub subject: Option<Subject<'a>>,
    /// The arguments as the policy is shown them.
    pub arguments: Option<Cow<'a, RawValue>>,
    /// The state of an earlier request, with the answers to its questions.
    pub back: Option<Back>,
}

impl<'a> Asked<'a> {
    /// The method, as it goes on record.
    pub fn method(&self) -> &'static str {
        match self {
            Self::Call(call, _) => call.method,
            Self::List(list, _) => list.method,
            Self::Subscribe(method, _) | Self::Own(method) => method,
            Self::Level => SET_LEVEL.method,
        }
    }

    /// The method under which the policy is asked.
    pub fn judged(&self) -> &'static str {
        match self {
            // To stop to listen needs the leave to listen.
            Self::Subscribe(..) => SUBSCRIBE,
            other => other.method(),
        }
    }

    /// The capability that a server must offer for it; `None` where no server is needed.
    pub fn needs(&self) -> Option<Capability> {
        match self {
            Self::Call(call, params) => Some(call.needs(params)),
            Self::List(list, _) => Some(list.capability),
            Self::Subscribe(..) => Some(Capability::Resources),
            Self::Level => Some(Capability::Logging),
            Self::Own(_) => None,
        }
    }

    /// The question to the policy about it.
    pub fn wish<'w>(
        &self,
        subject: Option<(Noun, &'w str)>,
        arguments: Option<&'w RawValue>,
        revision: Revision,
    ) -> Wish<'w> {
        // A call without arguments is a call with none: `null` is for entries of lists.
        let none = || serde_json::from_str("{}").ok();
        let arguments = arguments.or_else(none).filter(|_| self.is_call());
        Wish { method: self.judged(), subject, arguments, revision }
    }

    /// True for a message whose intent and outcome are on record.
    pub fn is_call(&self) -> bool {
        self.event().is_none()
    }

    /// True for a call whose client wants a task for it (2025-11-25).
    pub fn as_task(&self) -> bool {
        matches!(self, Self::Call(call, params)
            if **call == TOOLS_CALL && call.needs(params) == Capability::TaskCalls)
    }

    /// The record that it has before it is carried out; `None` for the intent of a call.
    pub fn event(&self) -> Option<Event> {
        match self {
            Self::Call(..) | Self::Subscribe(..) => None,
            Self::List(..) => Some(Event::List),
            Self::Level | Self::Own(_) => Some(Event::Request),
        }
    }

    /// The arguments once more, after they have changed.
    ///
    /// # Errors
    /// A sentence for the client on arguments that are unclear.
    pub fn shown(&self) -> Result<Option<Box<RawValue>>, String> {
        let Self::Call(kind, params) = self else { return Ok(None) };
        let Some(text) = kind.arguments.and_then(|member| params.get(member)) else { return Ok(None) };
        let arguments = RawValue::from_string(text.to_owned()).map_err(|error| error.to_string())?;
        let shown = if **kind == COMPLETE { in_context(params, &arguments)? } else { None };
        Ok(Some(shown.unwrap_or(arguments)))
    }

    /// Takes the message apart; the target is in `aim` as soon as it is known.
    ///
    /// # Errors
    /// A sentence for the client on a target or arguments that are unclear, or members that are not carried
    /// across.
    pub fn parts(&mut self, revision: Revision, aim: &mut Aim) -> Result<Parts<'a>, String> {
        match self {
            Self::Call(kind, params) => {
                let subject = kind.subject(params)?;
                aim.at_any(subject.as_ref());
                let back = sift(kind, revision, params)?;
                let arguments = kind.arguments(params)?;
                let shown = match arguments {
                    Some(arguments) if **kind == COMPLETE => in_context(params, arguments)?,
                    _ => None,
                };
                let arguments = shown.map(Cow::Owned).or(arguments.map(Cow::Borrowed));
                Ok(Parts { subject, arguments, back })
            }
            Self::Subscribe(_, params) => {
                let name = params.string("uri").ok_or("`params.uri` must be a string")?;
                let subject = Subject { noun: Noun::Resource, name };
                aim.at_any(Some(&subject));
                if subject.name.len() > MAX_URI {
                    let reason =
                        format!("`params.uri` is longer than {MAX_URI} bytes: a subscription keeps it");
                    return Err(reason);
                }
                Ok(Parts { subject: Some(subject), ..Parts::default() })
            }
            Self::List(..) | Self::Level | Self::Own(_) => Ok(Parts::default()),
        }
    }
}

/// Takes out of the parameters what is not carried across, and what a client brings back of an earlier
/// request.
fn sift(kind: &Call, revision: Revision, params: &mut Object<'_>) -> Result<Option<Back>, String> {
    if revision.era() == Era::Modern {
        // The member that asked for a task up to 2025-11-25 means nothing any more, and is to be ignored
        // (tasks extension).
        params.remove("task");
    }
    let barred = |member: &&str| params.get(member).is_some() && !kind.carries.contains(member);
    if let Some(member) = UNCARRIED.into_iter().find(barred) {
        return Err(format!("`params.{member}` is not carried across"));
    }
    let is_brought = |member| params.get(member).is_some() && !kind.carries.contains(&member);
    if !is_brought(STATE) && !is_brought(RESPONSES) {
        return Ok(None);
    }
    if revision.era() == Era::Modern && may_ask(kind) {
        if params.get(STATE).is_none() {
            // Answers to nothing that was asked here: the server asks, if it wants to know.
            params.remove(RESPONSES);
            return Ok(None);
        }
        return Back::take(params).map(Some);
    }
    Err(format!("`params.{STATE}` and `params.{RESPONSES}` are not for this request"))
}

/// The arguments of a completion with the context that goes along, as a member `context`: what the policy
/// does not see is not forwarded.
fn in_context(params: &Object<'_>, arguments: &RawValue) -> Result<Option<Box<RawValue>>, String> {
    let Some(context) = params.get("context") else { return Ok(None) };
    if !context.starts_with('{') {
        return Err("`params.context` must be an object".to_owned());
    }
    let mut shown = Object::parse(arguments.get()).map_err(|error| error.to_string())?;
    shown.set("context", context);
    RawValue::from_string(shown.write()).map(Some).map_err(|error| error.to_string())
}
