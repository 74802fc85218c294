//! Messages of servers outside of calls, for one legacy session: heard from every server of its endpoint, and
//! written to its standing stream.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{sleep, timeout};

use crate::call::aside::{self, Aside};
use crate::call::ask;
use crate::call::running::draining;
use crate::call::sifted::SiftedKind;
use crate::call::subscribe::{EACH, SUBSCRIBE};
use crate::limits::budget::level::What;
use crate::limits::budget::{Account, Charge};
use crate::mcp::jsonrpc;
use crate::mcp::object::{Object, quote};
use crate::mcp::revision::Revision;
use crate::mcp::uri::wholes;
use crate::pipeline::Gateway;
use crate::pipeline::handle::task::Ids;
use crate::pipeline::methods::kind::Noun;
use crate::pipeline::methods::naming;
use crate::pipeline::request::requester::Requester;
use crate::pipeline::route::Endpoint;
use crate::upstream::error::{How, UpstreamError};
use crate::upstream::message::ask::Answered;
use crate::upstream::message::notice::{Interest, Notice};
use crate::upstream::pool::Upstream;
use crate::upstream::subscription::Subscription;

use super::event_store::dropped;
use super::kept::{Notifiers, WatchOrder};
use super::obliged::{TASK_STATUS, may, may_hear};
use super::session::Session;

/// Most resources of one server that a session hears of.
const MAX_WATCHED: usize = 256;
/// How long to wait before a server that has fallen silent is listened to again: at first, and at most.
const AGAIN: (Duration, Duration) = (Duration::from_secs(1), Duration::from_mins(1));

/// Notifications of lists that have changed: method, and the method of the list.
pub(super) const LISTS: [(&str, &str); 3] = [
    ("notifications/tools/list_changed", "tools/list"),
    ("notifications/prompts/list_changed", "prompts/list"),
    ("notifications/resources/list_changed", "resources/list"),
];
/// A resource that was subscribed has changed.
pub(super) const UPDATED: &str = "notifications/resources/updated";

/// One server, listened to for one session.
struct Notifier {
    session: Weak<Session>,
    gateway: Arc<Gateway>,
    upstream: Arc<Upstream>,
    merged: bool,
    orders: mpsc::Receiver<WatchOrder>,
    /// The resources that it watches, charged to the session.
    watched: HashMap<String, Charge>,
    account: Account,
}

impl Session {
    /// Listens to the servers of the endpoint that this principal may list, from now on and as long as the
    /// session lives.
    pub(super) fn listen(self: &Arc<Self>, gateway: &Arc<Gateway>, endpoint: &Endpoint, who: &Requester) {
        let upstreams: Vec<_> = match endpoint.upstream(&gateway.upstreams) {
            Ok(Some(one)) => vec![Arc::clone(one)],
            Ok(None) => gateway.upstreams.iter().map(Arc::clone).collect(),
            Err(_) => return,
        };
        for upstream in upstreams {
            if LISTS.iter().any(|(_, list)| may(gateway, who, &upstream, list, None).is_some()) {
                self.hear(gateway, &upstream, *endpoint == Endpoint::Merged, who);
            }
        }
    }

    /// Listens to one server.
    fn hear(
        self: &Arc<Self>,
        gateway: &Arc<Gateway>,
        upstream: &Arc<Upstream>,
        merged: bool,
        who: &Requester,
    ) {
        let mut streams = self.streams();
        if streams.is_over() {
            return;
        }
        let notifiers = streams.notifiers.get_or_insert_with(|| {
            let (alive, ended) = oneshot::channel();
            tokio::task::spawn_local(hear_of_host(Arc::downgrade(self), Arc::clone(gateway), ended));
            Box::new(Notifiers { who: who.clone(), each: HashMap::new(), _alive: alive })
        });
        notifiers.who = who.clone();
        if notifiers.each.get(&upstream.name).is_some_and(|orders| !orders.is_closed()) {
            return;
        }
        let (sender, orders) = mpsc::channel(1);
        notifiers.each.insert(Arc::clone(&upstream.name), sender);
        let ear = Notifier {
            session: Arc::downgrade(self),
            gateway: Arc::clone(gateway),
            upstream: Arc::clone(upstream),
            merged,
            orders,
            watched: HashMap::new(),
            account: self.account.clone(),
        };
        tokio::task::spawn_local(ear.run());
    }

    /// Hears of changes of a resource from now on, or not any more, by the server's own URI.
    ///
    /// # Errors
    /// When the server cannot be reached. The inner error is the server's error object.
    pub(super) async fn watch(
        self: &Arc<Self>,
        gateway: &Arc<Gateway>,
        upstream: &Arc<Upstream>,
        merged: bool,
        who: &Requester,
        uri: &str,
        begins: bool,
    ) -> Result<Answered, UpstreamError> {
        self.hear(gateway, upstream, merged, who);
        let gone = || UpstreamError::Ended {
            upstream: upstream.name.to_string(),
            how: How::plain("with the session"),
            remedy: String::new(),
        };
        let orders = self
            .streams()
            .notifiers
            .as_ref()
            .and_then(|notifiers| notifiers.each.get(&upstream.name).cloned());
        let orders = orders.ok_or_else(gone)?;
        let (done, answer) = oneshot::channel();
        let ordered = async {
            orders.send(WatchOrder { uri: uri.to_owned(), begins, done }).await.map_err(|_| gone())?;
            answer.await.map_err(|_| gone())?
        };
        timeout(upstream.timeout, ordered)
            .await
            .unwrap_or_else(|_| Err(upstream.late("a change of its subscriptions")))
    }

    /// For whom its notifiers listen, with the level of this moment.
    fn listener(&self) -> Option<Requester> {
        let who = self.streams().notifiers.as_ref().map(|notifiers| notifiers.who.clone())?;
        // An expired token lets its client hear nothing more; the next GET brings another.
        (!who.principal.life_left().is_zero()).then(|| Requester { level: self.level(), ..who })
    }
}

/// Tells a session of every policy, lock and stop that comes into force, or ends: its lists may be others.
async fn hear_of_host(session: Weak<Session>, gateway: Arc<Gateway>, mut ended: oneshot::Receiver<()>) {
    let mut changes = gateway.list_changes();
    loop {
        tokio::select! {
            _ = &mut ended => return,
            () = draining(gateway.draining.subscribe()) => return,
            goes_on = changes.next() => if !goes_on { return },
        }
        let Some(session) = session.upgrade() else { return };
        let heard: Vec<_> = {
            let streams = session.streams();
            let notifiers = streams.notifiers.as_ref();
            notifiers.into_iter().flat_map(|notifiers| notifiers.each.keys().cloned()).collect()
        };
        let Some(store) = session.standing(&gateway.metrics) else { return };
        for (method, _) in lists_of(heard.iter().filter_map(|name| gateway.upstreams.get(name))) {
            store.push(jsonrpc::notification(method, "{}"));
        }
    }
}

/// The kinds of lists that servers have; of one that was never reached nothing is known, and most have tools.
pub(super) fn lists_of<'a>(
    upstreams: impl Iterator<Item = &'a Arc<Upstream>>,
) -> impl Iterator<Item = (&'static str, &'static str)> {
    use crate::mcp::capability::{Capabilities, Capability};
    let offers = upstreams
        .map(|upstream| upstream.facts().map_or(Capabilities::TOOLS, |facts| facts.offers))
        .fold(Capabilities::default(), Capabilities::union);
    let kinds = [Capability::Tools, Capability::Prompts, Capability::Resources];
    LISTS.into_iter().zip(kinds).filter(move |(_, kind)| offers.has(*kind)).map(|(list, _)| list)
}

impl Notifier {
    /// Listens until the session ends; a server that falls silent is listened to again.
    async fn run(mut self) {
        let mut wait = AGAIN.0;
        let mut order = None;
        loop {
            let Some(who) = self.session.upgrade().and_then(|session| session.listener()) else { return };
            match self.subscribe(&who).await {
                Ok(mut subscription) => {
                    wait = AGAIN.0;
                    if let Some(order) = order.take() {
                        self.carry_out(&mut subscription, order).await;
                    }
                    if !self.listen(subscription).await {
                        return;
                    }
                }
                Err(error) => {
                    tracing::debug!("{error}");
                    if let Some(WatchOrder { done, .. }) = order.take() {
                        let _ = done.send(Err(error));
                    }
                }
            }
            tokio::select! {
                () = sleep(wait) => {}
                () = draining(self.gateway.draining.subscribe()) => return,
                next = self.orders.recv() => match next {
                    None => return,
                    next => order = next,
                },
            }
            wait = (wait * 2).min(AGAIN.1);
        }
    }

    async fn subscribe(&self, who: &Requester) -> Result<Subscription, UpstreamError> {
        let interest = Interest { tools: true, prompts: true, resources: true, everything: true };
        let subscribed = async {
            let mut subscription = self.upstream.subscribe(&who.caller(), interest).await?;
            for uri in self.watched.keys() {
                if let Err(error) = subscription.watch(uri).await? {
                    tracing::debug!(upstream = %self.upstream.name, bytes = error.len(), "a subscription was not renewed");
                }
            }
            Ok(subscription)
        };
        timeout(self.upstream.timeout, subscribed)
            .await
            .unwrap_or_else(|_| Err(self.upstream.late("a subscription")))
    }

    /// Passes on what is heard; false when the session has ended.
    async fn listen(&mut self, mut subscription: Subscription) -> bool {
        loop {
            let order = tokio::select! {
                notice = subscription.next() => {
                    let Some(notice) = notice else { return true };
                    let Some(session) = self.session.upgrade() else { return false };
                    self.tell(&session, notice).await;
                    continue;
                }
                order = self.orders.recv() => order,
                () = draining(self.gateway.draining.subscribe()) => return false,
            };
            let Some(order) = order else { return false };
            self.carry_out(&mut subscription, order).await;
        }
    }

    async fn carry_out(&mut self, subscription: &mut Subscription, order: WatchOrder) {
        let WatchOrder { uri, begins, done } = order;
        let mut charge = None;
        if begins && !self.watched.contains_key(&uri) {
            let refuse = |reason: &str| jsonrpc::fault(crate::mcp::error::code::INVALID_PARAMS, reason);
            if self.watched.len() >= MAX_WATCHED {
                let _ = done.send(Ok(Err(refuse("too many subscriptions"))));
                return;
            }
            // Here, and twice where the server is listened to.
            match self.account.charge(What::Subscription, 3 * (uri.len() + EACH)) {
                Ok(charged) => charge = Some(charged),
                Err(exhausted) => {
                    let _ = done.send(Ok(Err(refuse(&exhausted.to_string()))));
                    return;
                }
            }
        }
        let answered =
            async { if begins { subscription.watch(&uri).await } else { subscription.unwatch(&uri).await } };
        let answered = timeout(self.upstream.timeout, answered)
            .await
            .unwrap_or_else(|_| Err(self.upstream.late("a change of its subscriptions")));
        match (&answered, begins) {
            (Ok(Ok(_)), true) => {
                if let Some(charge) = charge {
                    self.watched.insert(uri, charge);
                }
            }
            // Changes that are not wanted any more are not passed on, whatever the server answers.
            (_, false) => {
                self.watched.remove(&uri);
            }
            _ => {}
        }
        let _ = done.send(answered);
    }

    /// Writes a notice to the standing stream, where the policy lets the client have it.
    async fn tell(&self, session: &Arc<Session>, notice: Notice) {
        let Some(who) = session.listener() else { return };
        let Some(store) = session.standing(&self.gateway.metrics) else { return };
        match notice {
            Notice::Notification(method, params) => {
                // The policy is asked about changes, and by the URI as the server writes it.
                let is_change = method == UPDATED || LISTS.iter().any(|(changed, _)| *changed == method);
                let passed = if is_change {
                    self.passed(&who, &method, params)
                } else {
                    may_hear(&self.gateway, &who, &self.upstream, &method).map(|obliged| (params, obliged))
                };
                let Some((params, obliged)) = passed else { return };
                let aside = Aside::to(&self.gateway, &who, &self.upstream, &method);
                let sieve = aside.sieve(&obliged).await;
                let sifted = aside.pass(sieve.as_ref(), SiftedKind::Notification, params).await;
                let params = sifted.and_then(|params| {
                    if is_change {
                        return Some(params);
                    }
                    self.passed(&who, &method, params).map(|(params, _)| params)
                });
                if let Some(params) = params {
                    store.push(jsonrpc::notification(&method, &params));
                }
            }
            Notice::Dropped(count) => {
                if count > 0 {
                    store.push(dropped(count));
                }
                for (method, params) in missed(self.watched.keys()) {
                    if let Some((params, _)) = self.passed(&who, &method, params) {
                        store.push(jsonrpc::notification(&method, &params));
                    }
                }
            }
            Notice::Ask(asked) => {
                let asked = aside::ask(&self.gateway, &who, &self.upstream, asked).await;
                let Some(asked) = asked else { return };
                match session.ask(asked, self.gateway.config.server.timeouts.input.0) {
                    Ok((text, _)) => store.push(text),
                    Err(asked) => {
                        let answer = ask::unanswered(&asked.method);
                        asked.answer(answer);
                    }
                }
            }
        }
    }

    /// The parameters of a notification for the client, with the redaction that the policy obliges to; `None`
    /// when it is not for it.
    fn passed(&self, who: &Requester, method: &str, params: String) -> Option<(String, Vec<Arc<str>>)> {
        if let Some((_, list)) = LISTS.iter().find(|(changed, _)| *changed == method) {
            return Some((params, may(&self.gateway, who, &self.upstream, list, None)?));
        }
        let passed = match method {
            UPDATED => {
                return updated(&self.gateway, who, &self.upstream, self.merged, &params, |uri| {
                    wholes(uri).any(|whole| self.watched.contains_key(whole))
                });
            }
            "notifications/message" => who.hears(&params).then_some(params),
            TASK_STATUS if who.revision >= Revision::V20251125 => {
                let key = &self.gateway.sealer;
                Ids::new(key, &who.principal, &self.upstream.name, self.merged).said(method, params).ok()
            }
            "notifications/elicitation/complete" if who.revision >= Revision::V20251125 => Some(params),
            _ => None,
        };
        Some((passed?, Vec::new()))
    }
}

/// The notices that may have been among those that were dropped: everything that is heard of may have
/// changed.
pub(super) fn missed<'a>(watched: impl Iterator<Item = &'a String>) -> Vec<(String, String)> {
    let lists = LISTS.iter().map(|(changed, _)| ((*changed).to_owned(), "{}".to_owned()));
    let resources = watched.map(|uri| (UPDATED.to_owned(), format!("{{\"uri\":{}}}", quote(uri))));
    lists.chain(resources).collect()
}

/// The parameters of `notifications/resources/updated` by the names of the endpoint, with the redaction that
/// the policy obliges to; `None` for a resource that was not subscribed or may not be.
pub(super) fn updated(
    gateway: &Gateway,
    who: &Requester,
    upstream: &Upstream,
    merged: bool,
    params: &str,
    subscribed: impl Fn(&str) -> bool,
) -> Option<(String, Vec<Arc<str>>)> {
    let mut object = Object::parse(params).ok()?;
    let uri = object.string("uri")?.into_owned();
    if !subscribed(&uri) {
        return None;
    }
    let obliged = may(gateway, who, upstream, SUBSCRIBE, Some(&uri))?;
    let shown = if merged { naming::merged(Noun::Resource, &upstream.name, &uri) } else { uri };
    // Set in any case: of a member that is given twice the other one goes.
    object.set("uri", quote(&shown));
    Some((object.write(), obliged))
}
