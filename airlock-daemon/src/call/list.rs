//! Lists: what an upstream offers, less what is held back by tool locks, and what the policy would refuse
//! this principal.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::rc::Rc;
use std::sync::Arc;

use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::mcp::jsonrpc;
use crate::mcp::object::{Object, quote};
use crate::mcp::revision::Era;
use crate::runtime::pacer::Pacer;
use crate::stops::Halt;
use crate::upstream::era::driver;
use crate::upstream::era::facts::Facts;
use crate::upstream::error::UpstreamError;
use crate::upstream::lists::listed::Walk;
use crate::upstream::lists::listed::page::ListPage;
use crate::upstream::lists::schemas::Page;
use crate::upstream::message::reply::Takes;
use crate::upstream::pool::Upstream;

use super::aside::Aside;
use super::sifted::{self, SiftedKind, SiftedPage};
use crate::pipeline::authorize::{permission, permits};
use crate::pipeline::handle::brought::Leads;
use crate::pipeline::handle::task::Ids;
use crate::pipeline::methods::kind::{List, Noun, offered};
use crate::pipeline::methods::naming;
use crate::pipeline::methods::wish::Wish;
use crate::pipeline::request::asked::Asked;
use crate::pipeline::request::requester::Requester;
use crate::pipeline::route::Endpoint;
use crate::pipeline::safe_names::Shown;
use crate::pipeline::seal::Purpose;
use crate::pipeline::{Admitted, Gateway, Refusal, admit, route, stopped, upstream};
use crate::redaction::{Barred, Found, Sieve};

/// `_meta` member of the merged list that names upstreams whose part is missing.
const UNAVAILABLE: &str = "airlock/unavailable";

/// Why an entry has no safe name.
const NO_NAME: &str = "its safe name at `/mcp` is that of another entry, or its server lists too many";

/// A list, or the upstream's JSON-RPC error object.
pub type Listed = Result<String, String>;

/// Answers a list at an endpoint, as canonical JSON text.
///
/// # Errors
/// A [`Refusal`]; at the merged endpoint an upstream that fails costs only its own part.
pub async fn list(
    gateway: &Arc<Gateway>,
    kind: &'static List,
    who: &Requester,
    endpoint: &Endpoint,
    params: Object<'_>,
) -> Result<Listed, Refusal> {
    let Admitted { asked: Asked::List(_, params), upstream, brought, aim, sieve, .. } =
        admit(gateway, who, endpoint, Asked::List(kind, params)).await?
    else {
        return Err(route::not_offered(kind.method, who.revision));
    };
    let name = upstream.as_ref().map(|upstream| &upstream.name);
    let mut halt = Halt::new(&gateway.stops, &who.principal, name, None);
    let listing = async {
        match &upstream {
            Some(upstream) => {
                one(gateway, kind, who, (upstream, sieve.as_ref()), params, brought.leads).await
            }
            None => merged(gateway, kind, who).await.map(Ok),
        }
    };
    let listed = tokio::select! {
        biased;
        order = halt.reached() => Err(stopped::refusal(&order)),
        listed = listing => listed,
    };
    listed.map_err(|refusal| refusal.about(&aim))
}

/// One page of one server.
async fn one(
    gateway: &Gateway,
    kind: &'static List,
    who: &Requester,
    (upstream, sieve): (&Arc<Upstream>, Option<&Arc<Sieve>>),
    mut params: Object<'_>,
    leads: Leads,
) -> Result<Listed, Refusal> {
    let is_first = !matches!(leads, Leads::ToPage(_));
    let walk = match leads {
        Leads::ToPage(walk) => {
            walk.ask(&mut params);
            walk
        }
        _ => Walk::new(kind.shape(), gateway.config.server.max_response_bytes.as_usize()),
    };
    let tools = upstream.schemas.page();
    match ask(gateway, (upstream, sieve), kind, who, params)
        .await
        .map_err(|error| upstream::failed(&error))?
    {
        Asking::Page(page) => {
            filter(gateway, kind, who, upstream, page, (walk, tools, is_first)).await.map(Ok)
        }
        Asking::Error(error) => Ok(Err(error)),
        Asking::NotOffered => Err(route::not_offered(kind.method, who.revision)),
    }
}

/// The answer of an upstream that is asked for a page.
enum Asking {
    /// A page, with what is trusted of it.
    Page(String),
    /// A JSON-RPC error object.
    Error(String),
    /// It has nothing of the kind, and was not asked.
    NotOffered,
}

/// True for an upstream that is known not to offer the kind.
fn lacks(facts: Option<&Facts>, kind: &List, who: &Requester) -> bool {
    facts.is_some_and(|facts| !offered(kind.capability, facts, who.revision))
}

/// Asks an upstream for one page.
async fn ask(
    gateway: &Gateway,
    (upstream, sieve): (&Arc<Upstream>, Option<&Arc<Sieve>>),
    kind: &'static List,
    who: &Requester,
    params: Object<'_>,
) -> Result<Asking, UpstreamError> {
    let instead = |barred: &Barred| sifted::instead(barred, &who.context.correlation_id);
    let aside = Aside::to(gateway, who, upstream, kind.method);
    let answer = async {
        let (link, facts) = upstream.link(&who.caller()).await?;
        if lacks(Some(&facts), kind, who) {
            return Ok(Asking::NotOffered);
        }
        let (is_first, changed) = (params.get("cursor").is_none(), upstream.changed(kind.shape()));
        let answer = link.ask(Takes::List, |id| {
            jsonrpc::request(id, kind.method, &driver::params(facts.era, params, who.capabilities, id).0)
        });
        let (caller, shape) = (who.caller(), kind.shape());
        let (answer, others) = tokio::join!(answer, upstream.lists_beside(&caller, shape));
        match answer {
            Ok(Ok(page)) => {
                // Before it is looked through: a name that is redacted may be that of what is locked.
                let page = upstream.trusted(&caller, shape, (page, changed), is_first, others).await?;
                let SiftedPage { page, found, left_out } =
                    sifted::page(sieve, kind, page, &upstream.name).await;
                aside.note(&found, page.as_ref().err().or(left_out.as_ref()));
                Ok(page.map_or_else(|barred| Asking::Error(instead(&barred)), Asking::Page))
            }
            Ok(Err(error)) => {
                let mut found = Found::default();
                let error = sifted::message(sieve, SiftedKind::Plain, error, &mut found).await;
                aside.note(&found, error.as_ref().err());
                Ok(Asking::Error(error.unwrap_or_else(|barred| instead(&barred))))
            }
            Err(ending) => Err(upstream.ended(&ending)),
        }
    };
    timeout(upstream.timeout, answer).await.unwrap_or_else(|_| Err(upstream.late(kind.method)))
}

/// Takes out of a page what this principal may not use.
async fn filter(
    gateway: &Gateway,
    kind: &'static List,
    who: &Requester,
    upstream: &Upstream,
    result: String,
    (mut walk, mut tools, is_first): (Walk, Page, bool),
) -> Result<String, Refusal> {
    let wrong = |detail: String| {
        upstream::failed(&UpstreamError::Protocol { upstream: upstream.name.to_string(), detail })
    };
    let ListPage { around, entries } = walk.take(result).await.map_err(|fault| wrong(fault.to_string()))?;
    let mut kept = Vec::with_capacity(entries.len());
    let ids = Ids::new(&gateway.sealer, &who.principal, &upstream.name, false);
    let mut pacer = Pacer::default();
    for entry in entries {
        pacer.breathe().await;
        let reading = (&mut walk, &mut tools);
        let written = match visible(gateway, kind, who, upstream, &ids, reading, &entry) {
            Some((_, task)) if kind.noun == Noun::Task => Some(task.write().into_boxed_str()),
            Some(_) => None,
            None => continue,
        };
        kept.push(written.unwrap_or(entry));
    }
    let token = walk.token();
    let cursor = token.as_ref().map(|token| {
        let scope = [&*upstream.name, kind.method];
        gateway.sealer.seal(Purpose::Cursor, who.principal.identity(), &scope, token)
    });
    let is_whole = is_first && token.is_none();
    if kind.noun == Noun::Tool && is_modern(upstream, who) {
        upstream.learn(&who.caller(), tools, is_whole);
    }
    upstream.walked(kind.shape(), walk, is_whole);
    ListPage { around, entries: kept }.write(kind.entries, cursor).await.map_err(wrong)
}

fn is_modern(upstream: &Upstream, who: &Requester) -> bool {
    upstream.facts_for(who.revision.era()).is_some_and(|facts| facts.era == Era::Modern)
}

/// An entry that this principal may use, with its name. The entry of a task holds the name that the client
/// knows the task by.
fn visible<'a>(
    gateway: &Gateway,
    kind: &'static List,
    who: &Requester,
    upstream: &Upstream,
    ids: &Ids<'_>,
    (walk, tools): (&mut Walk, &mut Page),
    entry: &'a str,
) -> Option<(Cow<'a, str>, Object<'a>)> {
    // The walk has left out what is no object with a name.
    let mut object = Object::parse(entry).ok()?;
    let name = object.kept_string(kind.name)?;
    // 2026-07-28, "Custom Headers from Tool Parameters": one malformed tool is left out, whoever asks.
    if kind.noun == Noun::Tool
        && is_modern(upstream, who)
        && let Err(reason) = tools.add(&name, object.get("inputSchema"))
    {
        walk.leave_out(&name, &reason);
        return None;
    }
    let subject = Some((kind.noun, &*name));
    let wish = Wish { method: kind.call.method, subject, arguments: None, revision: who.revision };
    if !permits(gateway, &who.context, &who.principal, upstream, wish) {
        return None;
    }
    if kind.noun == Noun::Task
        && let Err(reason) = ids.entry(&mut object)
    {
        walk.leave_out(&name, &reason);
        return None;
    }
    Some((name, object))
}

/// Everything of a kind that this principal may use, of all upstreams, in the order of the configuration.
///
/// # Errors
/// The loss of one of the servers of the client's session: the client has to be told, and a list with a part
/// missing would not tell it.
async fn merged(gateway: &Arc<Gateway>, kind: &'static List, who: &Requester) -> Result<String, Refusal> {
    // All are asked at once; a slow one costs its own deadline, not the sum.
    let mut asked = JoinSet::new();
    let lost = Rc::new(OnceCell::new());
    for (place, upstream) in gateway.upstreams.iter().enumerate() {
        let (gateway, upstream, who) = (Arc::clone(gateway), Arc::clone(upstream), who.clone());
        let lost = Rc::clone(&lost);
        asked.spawn_local(async move {
            let part = timeout(upstream.timeout, part(&gateway, kind, &who, &upstream, &lost)).await;
            (place, part.ok().flatten())
        });
    }
    let mut parts: Vec<_> = gateway.upstreams.iter().map(|_| None).collect();
    while let Some(answer) = asked.join_next().await {
        if let Ok((place, part)) = answer
            && let Some(slot) = parts.get_mut(place)
        {
            *slot = part;
        }
    }
    if let Some(error) = lost.get() {
        return Err(upstream::failed(error));
    }
    let mut entries = Vec::new();
    let mut missing = Vec::new();
    for (upstream, part) in gateway.upstreams.iter().zip(parts) {
        match part {
            Some(part) => entries.extend(part),
            None => missing.push(quote(&upstream.name)),
        }
    }
    let mut around = Object::default();
    around.set(kind.entries, "[]");
    if !missing.is_empty() {
        around.set("_meta", format!("{{\"{UNAVAILABLE}\":[{}]}}", missing.join(",")));
    }
    let page = ListPage { around: around.write(), entries };
    page.write(kind.entries, None)
        .await
        .map_err(|detail| upstream::failed(&UpstreamError::Protocol { upstream: String::new(), detail }))
}

/// One upstream's entries under their merged names; `None` when it cannot say.
async fn part(
    gateway: &Gateway,
    kind: &'static List,
    who: &Requester,
    upstream: &Arc<Upstream>,
    lost: &OnceCell<UpstreamError>,
) -> Option<Vec<Box<str>>> {
    let wish = Wish { method: kind.method, subject: None, arguments: None, revision: who.revision };
    let may = permission(gateway, &who.context, &who.principal, upstream, wish);
    let Some(obliged) = may.filter(|_| !lacks(upstream.facts_for(who.revision.era()).as_deref(), kind, who))
    else {
        return Some(Vec::new());
    };
    let sieve = Aside::to(gateway, who, upstream, kind.method).sieve(&obliged).await;
    let mut entries = Vec::new();
    let mut tools = upstream.schemas.page();
    let ids = Ids::new(&gateway.sealer, &who.principal, &upstream.name, true);
    let mut shown = Shown::new(upstream, kind.noun);
    let mut walk = Walk::new(kind.shape(), gateway.config.server.max_response_bytes.as_usize());
    loop {
        let mut params = Object::default();
        walk.ask(&mut params);
        let result = match ask(gateway, (upstream, sieve.as_ref()), kind, who, params).await {
            Ok(Asking::Page(page)) => page,
            Ok(Asking::NotOffered) => return Some(Vec::new()),
            Ok(Asking::Error(error)) => {
                tracing::warn!(upstream = %upstream.name, error, "the server refuses {}", kind.method);
                return None;
            }
            Err(error) => {
                tracing::warn!("{error}");
                if matches!(error, UpstreamError::SessionLost { .. }) {
                    let _ = lost.set(error);
                }
                return None;
            }
        };
        let page = match walk.take(result).await {
            Ok(page) => page,
            Err(fault) => {
                tracing::warn!(upstream = %upstream.name, "its part of {} is left out: {fault}", kind.method);
                return None;
            }
        };
        let mut pacer = Pacer::default();
        for entry in &page.entries {
            pacer.breathe().await;
            shown.entry(kind, entry);
            let reading = (&mut walk, &mut tools);
            let seen = visible(gateway, kind, who, upstream, &ids, reading, entry);
            let Some((name, mut object)) = seen else { continue };
            // A task has its merged name already.
            if kind.noun != Noun::Task {
                let merged = naming::merged(kind.noun, &upstream.name, &shown.name(&name));
                object.set(kind.name, quote(&merged));
            }
            entries.push((name.into_owned(), object.write().into_boxed_str()));
        }
        if !walk.goes_on() {
            let is_whole = !walk.was_cut();
            if kind.noun == Noun::Tool && is_modern(upstream, who) {
                upstream.learn(&who.caller(), tools, is_whole);
            }
            let is_lost = shown.learn(upstream, who, is_whole);
            let (lost, kept): (Vec<_>, Vec<_>) = entries.into_iter().partition(|(name, _)| is_lost(name));
            for (name, _) in &lost {
                walk.leave_out(name, NO_NAME);
            }
            upstream.walked(kind.shape(), walk, is_whole);
            return Some(kept.into_iter().map(|(_, entry)| entry).collect());
        }
    }
}
