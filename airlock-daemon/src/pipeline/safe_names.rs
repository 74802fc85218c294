//! Which tool is meant by a name of the merged endpoint, where names are safe (`merged.names: safe`)?
//!
//! [`naming`](super::methods::naming) parts the server's name from the rest; this stage turns the rest into
//! the server's own name before the policy, the limits and the record see it. A list that has to be asked for
//! is one like any other: the policy is asked whether this principal may have it, and it is on record.

use std::borrow::Cow;
use std::sync::Arc;

use crate::audit::{Event, RecordWait};
use crate::mcp::object::Object;
use crate::redaction::Found;
use crate::upstream::lists::safe_names::Namer;
use crate::upstream::lists::schemas::{Page, Schemas};
use crate::upstream::pool::Upstream;

use super::authorize::authorize;
use super::methods::kind::{List, Noun, Subject};
use super::methods::table::{PROMPTS_LIST, TOOLS_LIST};
use super::methods::wish::Wish;
use super::refusal::Aim;
use super::request::requester::Requester;
use super::route::Endpoint;
use super::{Gateway, Refusal, record, route, upstream};

/// The list and the table of names of a noun that has safe ones.
fn table(upstream: &Upstream, noun: Noun) -> Option<(&'static List, &Schemas, &Namer)> {
    let (list, table) = match noun {
        Noun::Tool => (&TOOLS_LIST, &upstream.tool_names),
        Noun::Prompt => (&PROMPTS_LIST, &upstream.prompt_names),
        Noun::Resource | Noun::Task => return None,
    };
    Some((list, table, table.maker()?))
}

/// A target by the server's own name.
pub struct Own {
    /// The kind of target.
    pub noun: Noun,
    /// The name.
    pub name: String,
    /// True where the client knows it by a safe name that is not this one.
    pub is_safe: bool,
}

/// The server's own name of the target of a message; `server` has the client's name without the server's.
///
/// # Errors
/// An unknown name; the policy's refusal of the list where that has to be asked for; an upstream that does
/// not list.
pub async fn own(
    gateway: &Gateway,
    who: &Requester,
    endpoint: &Endpoint,
    server: Option<(&Arc<Upstream>, &str)>,
    subject: Option<&Subject<'_>>,
    wait: &mut RecordWait,
) -> Result<Option<Own>, Refusal> {
    let (Some((upstream, name)), Some(subject)) = (server, subject) else { return Ok(None) };
    let noun = subject.noun;
    let known = (*endpoint == Endpoint::Merged).then(|| table(upstream, noun)).flatten();
    let Some((list, table, _)) = known.filter(|_| Namer::may_have_made(name)) else {
        return Ok(Some(Own { noun, name: name.to_owned(), is_safe: false }));
    };
    let found = |own: String| Some(Own { noun, is_safe: own != name, name: own });
    let caller = who.caller();
    if let Some(own) = upstream.known_name(table, &caller, name) {
        return Ok(found(own));
    }
    let wish = Wish { method: list.method, subject: None, arguments: None, revision: who.revision };
    authorize(gateway, who, upstream, wish, wait).await?;
    let name_of = |upstream: &Upstream| Some(Arc::clone(&upstream.name));
    let asked = Aim { upstream: name_of(upstream), method: Some(list.method.into()), ..Aim::default() };
    record::answered(gateway, who, &asked, (Event::List, &Found::default()), wait).await?;
    let own = upstream.own_name(list.shape(), table, &caller, name).await;
    match own.map_err(|error| upstream::failed(&error))? {
        Some(own) => Ok(found(own)),
        None => Err(route::unknown(noun, &subject.name, who.revision)),
    }
}

/// Names of one list of the merged endpoint, while its pages pass through.
pub struct Shown<'u> {
    table: Option<(&'u Schemas, &'u Namer, Page)>,
}

impl<'u> Shown<'u> {
    /// To be taken before the list is asked for.
    pub fn new(upstream: &'u Upstream, noun: Noun) -> Self {
        Self { table: table(upstream, noun).map(|(_, table, maker)| (table, maker, table.page())) }
    }

    /// Takes in an entry, whoever may see it.
    pub fn entry(&mut self, list: &List, entry: &str) {
        if let Some((_, _, page)) = &mut self.table
            && let Ok(object) = Object::parse(entry)
            && let Some(own) = object.string(list.name)
        {
            // A name without a schema is never against the specification.
            let _ = page.add(&own, None);
        }
    }

    /// A safe name for an own one, without the upstream's.
    pub fn name<'n>(&self, own: &'n str) -> Cow<'n, str> {
        self.table.as_ref().map_or(Cow::Borrowed(own), |(_, maker, _)| maker.shown(own))
    }

    /// Remembers the names; `is_whole` when the list was read to its end. Gives back which own names nobody
    /// can call.
    pub fn learn(
        self,
        upstream: &Upstream,
        who: &Requester,
        is_whole: bool,
    ) -> impl Fn(&str) -> bool + use<'u> {
        let known = self.table.map(|(table, maker, page)| {
            (table.learn(upstream.lists_of(&who.caller()), page, is_whole), maker)
        });
        move |own| {
            known.as_ref().is_some_and(|(names, maker)| {
                let shown = maker.shown(own);
                (*shown != *own || Namer::may_have_made(own)) && names.own(&shown) != Some(own)
            })
        }
    }
}
