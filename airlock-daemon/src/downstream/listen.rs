//! `subscriptions/listen` of the modern era: one long answer with what servers say outside of calls.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::audit::RecordWait;
use crate::call::aside::Aside;
use crate::call::sifted::SiftedKind;
use crate::call::subscribe::{EACH, MAX_URI, SUBSCRIBE};
use crate::limits::budget::level::What;
use crate::limits::budget::{Account, Charge};
use crate::limits::kept::Kept;
use crate::mcp::capability::Capability;
use crate::mcp::envelope::Id;
use crate::mcp::object::{Object, quote};
use crate::mcp::uri::wholes;
use crate::mcp::{jsonrpc, meta};
use crate::pipeline::authorize::{authorize, nothing_to_hear};
use crate::pipeline::gateway::ListChanges;
use crate::pipeline::methods::kind::Noun;
use crate::pipeline::methods::naming;
use crate::pipeline::methods::wish::Wish;
use crate::pipeline::refusal::Aim;
use crate::pipeline::request::asked::Asked;
use crate::pipeline::request::requester::Requester;
use crate::pipeline::route::Endpoint;
use crate::pipeline::{Gateway, Refusal, admit, decode, limit, record, redact, stopped};
use crate::upstream::message::notice::{Interest, Notice};
use crate::upstream::pool::Upstream;
use crate::upstream::subscription::Subscription;

use super::notifications::{LISTS, UPDATED, lists_of, missed, updated};
use super::obliged::may;
use super::reply::Reply;

/// The method.
pub(super) const LISTEN: &str = "subscriptions/listen";

/// `_meta` member that names the subscription.
const META_SUBSCRIPTION: &str = "io.modelcontextprotocol/subscriptionId";
/// Messages that may wait for a slow client before servers are held back.
const EVENTS: usize = 16;
/// Most resources in one subscription.
const MAX_URIS: usize = 256;
/// How long servers have to agree before the client is told which did.
const SUBSCRIBE_TIMEOUT: Duration = Duration::from_secs(5);
/// Members of the filter, in the order of [`LISTS`].
const FILTER: [&str; 3] = ["toolsListChanged", "promptsListChanged", "resourcesListChanged"];
const URIS: &str = "resourceSubscriptions";

/// The changes that a client wants to hear of: the lists in the order of [`FILTER`], and resources by the
/// names of the endpoint.
#[derive(Debug, Default, PartialEq, Eq)]
struct Wanted {
    lists: [bool; 3],
    uris: Vec<String>,
}

/// The changes that are heard of from one server.
struct Part {
    upstream: Arc<Upstream>,
    lists: [bool; 3],
    /// By the server's own names.
    uris: HashSet<String>,
}

/// Opens a subscription.
///
/// # Errors
/// A [`Refusal`]; a resource or a list that is not granted is left out of the acknowledgement instead.
pub(super) async fn open(
    gateway: &Arc<Gateway>,
    who: &Requester,
    endpoint: &Endpoint,
    params: &Object<'_>,
    id: Id,
) -> Result<Reply, Refusal> {
    let wanted = wanted(params).map_err(decode::invalid_params)?;
    // Named once by the client and once by each side that listens.
    let bytes = wanted.uris.iter().map(|uri| 3 * (uri.len() + EACH)).sum();
    let account = gateway.budget.of(who.principal.identity());
    let charge = account
        .charge(What::Subscription, bytes)
        .map_err(|exhausted| limit::exhausted(gateway, exhausted))?;
    let mut parts = parts(gateway, who, endpoint, &wanted).await?;
    if parts.is_empty()
        && endpoint.upstream(&gateway.upstreams)?.is_some_and(|one| !may_use(gateway, who, one))
    {
        return Err(nothing_to_hear());
    }
    admit(gateway, who, endpoint, Asked::Own(LISTEN)).await?;
    // After all that may wait for the disk: nobody keeps a place from others while it waits.
    let places = limit::stream(gateway, &who.principal)?;
    let merged = *endpoint == Endpoint::Merged;
    let subscriptions = subscribe_all(who, &mut parts).await;
    let granted = granted(&wanted, &parts, merged);
    let (client, stream) = mpsc::channel(EVENTS);
    let (gateway, who) = (Arc::clone(gateway), who.clone());
    let endpoint = endpoint.clone();
    let listening = Listening { gateway, who, endpoint, merged, id, client, account, _charge: charge };
    tokio::task::spawn_local(listening.run(granted, parts, subscriptions));
    Ok(Reply::Stream(stream, places))
}

fn wanted(params: &Object<'_>) -> Result<Wanted, String> {
    let filter = params.get("notifications").ok_or("`params.notifications` must be an object")?;
    let filter = Object::parse(filter).map_err(|_| "`params.notifications` must be an object")?;
    let mut wanted = Wanted::default();
    for (slot, member) in wanted.lists.iter_mut().zip(FILTER) {
        *slot = match filter.get(member) {
            None | Some("false") => false,
            Some("true") => true,
            Some(_) => return Err(format!("`params.notifications.{member}` must be a boolean")),
        };
    }
    if let Some(uris) = filter.get(URIS) {
        wanted.uris = serde_json::from_str(uris)
            .map_err(|_| format!("`params.notifications.{URIS}` must be a list of strings"))?;
        if wanted.uris.len() > MAX_URIS {
            return Err(format!("`params.notifications.{URIS}` has more than {MAX_URIS} entries"));
        }
        if wanted.uris.iter().any(|uri| uri.len() > MAX_URI) {
            return Err(format!("an entry of `params.notifications.{URIS}` is longer than {MAX_URI} bytes"));
        }
    }
    Ok(wanted)
}

/// True where this principal may list anything of a server.
fn may_use(gateway: &Gateway, who: &Requester, upstream: &Upstream) -> bool {
    LISTS.iter().any(|(_, list)| may(gateway, who, upstream, list, None).is_some())
}

/// The parts of the wish that are granted, server by server; a part that the policy refuses is on record.
async fn parts(
    gateway: &Arc<Gateway>,
    who: &Requester,
    endpoint: &Endpoint,
    wanted: &Wanted,
) -> Result<Vec<Part>, Refusal> {
    let upstreams: Vec<_> = match endpoint.upstream(&gateway.upstreams)? {
        Some(one) => vec![Arc::clone(one)],
        None => gateway.upstreams.iter().map(Arc::clone).collect(),
    };
    let mut parts: Vec<Part> = upstreams
        .into_iter()
        .map(|upstream| {
            let offered: Vec<_> = lists_of(std::iter::once(&upstream)).collect();
            let mut lists = wanted.lists;
            for (slot, list) in lists.iter_mut().zip(LISTS) {
                *slot =
                    *slot && offered.contains(&list) && may(gateway, who, &upstream, list.1, None).is_some();
            }
            Part { upstream, lists, uris: HashSet::new() }
        })
        .collect();
    let mut wait = RecordWait::default();
    for uri in &wanted.uris {
        let Some((upstream, own)) = endpoint.target(&gateway.upstreams, Noun::Resource, uri)? else {
            continue;
        };
        if upstream.facts().is_some_and(|facts| !facts.offers.has(Capability::Resources)) {
            continue;
        }
        let subject = Some((Noun::Resource, own));
        let wish = Wish { method: SUBSCRIBE, subject, arguments: None, revision: who.revision };
        let mut aim = Aim {
            method: Some(SUBSCRIBE.into()),
            upstream: Some(Arc::clone(&upstream.name)),
            ..Aim::default()
        };
        aim.at(Noun::Resource, own);
        let allowed = async {
            stopped::server(gateway, &who.principal, &**upstream)?;
            authorize(gateway, who, upstream, wish, &mut wait).await
        };
        let allowed =
            allowed.await.and_then(|_| redact::target(gateway, &who.principal, upstream, own, &mut aim));
        match allowed {
            Ok(()) => {
                let part = parts.iter_mut().find(|part| part.upstream.name == upstream.name);
                if let Some(part) = part {
                    part.uris.insert(own.to_owned());
                }
            }
            Err(refusal) => {
                record::refusal(gateway, &who.context, Some(&who.principal), &refusal.about(&aim));
            }
        }
    }
    parts.retain(|part| part.lists.contains(&true) || !part.uris.is_empty());
    Ok(parts)
}

/// Subscribes to all servers at once; what a server does not agree to is taken out of its part.
async fn subscribe_all(who: &Requester, parts: &mut Vec<Part>) -> Vec<Subscription> {
    let mut asked = JoinSet::new();
    for (place, part) in parts.drain(..).enumerate() {
        let who = who.clone();
        asked.spawn_local(async move {
            let subscribed =
                timeout(SUBSCRIBE_TIMEOUT.min(part.upstream.timeout), subscribe(&who, part)).await;
            (place, subscribed.ok().flatten())
        });
    }
    let mut agreed = Vec::new();
    while let Some(done) = asked.join_next().await {
        if let Ok((place, Some(subscribed))) = done {
            agreed.push((place, subscribed));
        }
    }
    agreed.sort_by_key(|(place, _)| *place);
    let (agreed, subscriptions) = agreed.into_iter().map(|(_, subscribed)| subscribed).unzip();
    *parts = agreed;
    subscriptions
}

async fn subscribe(who: &Requester, mut part: Part) -> Option<(Part, Subscription)> {
    let [tools, prompts, resources] = part.lists;
    let interest = Interest { tools, prompts, resources, everything: false };
    let failed = |error| tracing::warn!("{error}");
    let mut subscription = part.upstream.subscribe(&who.caller(), interest).await.map_err(failed).ok()?;
    for uri in part.uris.clone() {
        let agreed = subscription.watch(&uri).await.map_err(failed).ok()?;
        if agreed.is_err() {
            part.uris.remove(&uri);
        }
    }
    Some((part, subscription))
}

/// The filter that is honoured.
fn granted(wanted: &Wanted, parts: &[Part], merged: bool) -> String {
    let mut members: Vec<_> = FILTER
        .iter()
        .enumerate()
        .filter(|(place, _)| parts.iter().any(|part| part.lists.get(*place) == Some(&true)))
        .map(|(_, member)| format!("\"{member}\":true"))
        .collect();
    let heard = |uri: &&String| {
        parts.iter().any(|part| {
            let name = |own: &String| naming::merged(Noun::Resource, &part.upstream.name, own) == **uri;
            if merged { part.uris.iter().any(name) } else { part.uris.contains(*uri) }
        })
    };
    let uris: Vec<_> = wanted.uris.iter().filter(heard).map(|uri| quote(uri)).collect();
    if !uris.is_empty() {
        members.push(format!("\"{URIS}\":[{}]", uris.join(",")));
    }
    format!("{{{}}}", members.join(","))
}

/// An open subscription.
struct Listening {
    gateway: Arc<Gateway>,
    who: Requester,
    endpoint: Endpoint,
    merged: bool,
    id: Id,
    client: mpsc::Sender<Kept>,
    account: Account,
    /// For what it watches.
    _charge: Charge,
}

impl Listening {
    /// Speaks until the client goes, its token expires, an operator stops it, the process drains, or no
    /// server has anything to say any more.
    async fn run(self, granted: String, parts: Vec<Part>, subscriptions: Vec<Subscription>) {
        let acknowledged = format!(r#"{{"notifications":{granted}}}"#);
        if !self.say("notifications/subscriptions/acknowledged", acknowledged).await {
            return;
        }
        let until = super::until(&self.gateway, &self.who.principal, &self.endpoint);
        // From before the first notice.
        let changes = self.gateway.list_changes();
        let this = Arc::new(self);
        let has_parts = !parts.is_empty();
        let mut hearing = JoinSet::new();
        let upstreams: Vec<_> = parts.iter().map(|part| (Arc::clone(&part.upstream), part.lists)).collect();
        for (part, subscription) in parts.into_iter().zip(subscriptions) {
            hearing.spawn_local(Arc::clone(&this).hear(part, subscription));
        }
        tokio::select! {
            // The end comes before the change that brings it.
            biased;
            () = this.client.closed() => return,
            () = until => {}
            () = this.hear_of_host(changes, &upstreams) => {}
            () = async { while hearing.join_next().await.is_some() {} }, if has_parts => {}
        }
        hearing.abort_all();
        let meta = format!(
            r#""_meta":{{"{META_SUBSCRIPTION}":{},"io.modelcontextprotocol/serverInfo":{}}}"#,
            this.id,
            meta::implementation()
        );
        let result = jsonrpc::result(&this.id, &format!(r#"{{"resultType":"complete",{meta}}}"#));
        let _ = timeout(SUBSCRIBE_TIMEOUT, this.client.send(Kept::anyway(&this.account, result))).await;
    }

    /// Passes on what one server says; ends when it will say nothing more.
    async fn hear(self: Arc<Self>, part: Part, mut subscription: Subscription) {
        while let Some(notice) = subscription.next().await {
            let heard = match notice {
                Notice::Notification(method, params) => vec![(method, params)],
                Notice::Dropped(_) => missed(part.uris.iter()),
                // A question that belongs to no call is not asked of a client that has no way to be asked.
                Notice::Ask(_) => continue,
            };
            for (method, params) in heard {
                if !self.pass(&part, &method, params).await {
                    return;
                }
            }
        }
    }

    /// Passes on one notification where it is for the client; false when the client has gone.
    async fn pass(&self, part: &Part, method: &str, params: String) -> bool {
        let place = LISTS.iter().position(|(changed, _)| *changed == method);
        let (params, obliged) =
            match place.and_then(|place| Some((part.lists.get(place)?, LISTS.get(place)?))) {
                Some((true, (_, list))) => match may(&self.gateway, &self.who, &part.upstream, list, None) {
                    Some(obliged) => (params, obliged),
                    None => return true,
                },
                None if method == UPDATED => {
                    let is_subscribed = |uri: &str| wholes(uri).any(|whole| part.uris.contains(whole));
                    let (gateway, who) = (&self.gateway, &self.who);
                    match updated(gateway, who, &part.upstream, self.merged, &params, is_subscribed) {
                        Some(passed) => passed,
                        None => return true,
                    }
                }
                _ => return true,
            };
        let aside = Aside::to(&self.gateway, &self.who, &part.upstream, method);
        let sieve = aside.sieve(&obliged).await;
        let sifted = aside.pass(sieve.as_ref(), SiftedKind::Notification, params).await;
        let Some(params) = sifted else { return true };
        self.say(method, params).await
    }

    /// Says after every change of the policy, of tool locks and of stops that the lists that it carries may
    /// be others.
    async fn hear_of_host(&self, mut changes: ListChanges, upstreams: &[(Arc<Upstream>, [bool; 3])]) {
        while changes.next().await {
            for (place, (method, _)) in LISTS.into_iter().enumerate() {
                let carried = upstreams.iter().any(|(_, lists)| lists.get(place) == Some(&true));
                if carried && !self.say(method, "{}".to_owned()).await {
                    return;
                }
            }
        }
    }

    /// Sends a notification of this subscription; false when the client has gone.
    async fn say(&self, method: &str, params: String) -> bool {
        let Ok(mut params) = Object::parse(&params) else { return true };
        let meta = params.get("_meta").unwrap_or("{}").to_owned();
        let mut meta = Object::parse(&meta).unwrap_or_default();
        // An upstream's own id for it says nothing to the client.
        meta.set(META_SUBSCRIPTION, self.id.as_json());
        params.set("_meta", meta.write());
        // A message that finds no room is missed, as is one that comes while nobody listens.
        let Ok(kept) = Kept::new(&self.account, jsonrpc::notification(method, &params.write()), None) else {
            self.gateway.metrics.messages_dropped(1);
            return true;
        };
        self.client.send(kept).await.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_is_read_strictly() {
        let read = |text: &str| wanted(&Object::parse(text).expect("params"));
        let all = r#"{"notifications":{"toolsListChanged":true,"promptsListChanged":false,"resourceSubscriptions":["a:b"]}}"#;
        assert_eq!(read(all), Ok(Wanted { lists: [true, false, false], uris: vec!["a:b".to_owned()] }));
        assert_eq!(read(r#"{"notifications":{}}"#), Ok(Wanted::default()));
        for wrong in [
            "{}",
            r#"{"notifications":[]}"#,
            r#"{"notifications":{"toolsListChanged":1}}"#,
            r#"{"notifications":{"resourceSubscriptions":"a:b"}}"#,
            r#"{"notifications":{"resourceSubscriptions":[1]}}"#,
            &format!(r#"{{"notifications":{{"resourceSubscriptions":["{}"]}}}}"#, "x".repeat(MAX_URI + 1)),
        ] {
            read(wrong).expect_err(wrong);
        }
    }
}
