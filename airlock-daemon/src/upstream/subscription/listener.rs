//! The task of a subscription to a modern server: one `subscriptions/listen` request that stays open
//! (2026-07-28, "Subscriptions"). The server is asked only for what it offers, and asked again when its
//! answer ends.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};

use crate::mcp::jsonrpc;
use crate::mcp::object::{Object, quote};
use crate::mcp::revision::Era;

use super::subscriber::{Change, Subscriber};
use crate::mcp::meta::META_SUBSCRIPTION;
use crate::upstream::backoff::Backoff;
use crate::upstream::era::driver;
use crate::upstream::era::facts::Facts;
use crate::upstream::error::UpstreamError;
use crate::upstream::hub::summed::uri_of;
use crate::upstream::hub::{MAX_WATCHED_EACH, NoticeQueue, wants};
use crate::upstream::message::ask::Answered;
use crate::upstream::message::notice::{Interest, Notice};
use crate::upstream::message::reply::{Reply, Takes};
use crate::upstream::pool::Upstream;
use crate::upstream::transport::handle::Pending;

const LISTEN: &str = "subscriptions/listen";
/// The first message of a subscription.
const ACKNOWLEDGED: &str = "notifications/subscriptions/acknowledged";
/// A subscription that held for so long had nothing wrong with it.
const SOUND_AFTER: Duration = Duration::from_mins(1);

pub(super) struct Listener {
    upstream: Arc<Upstream>,
    who: Subscriber,
    interest: Interest,
    uris: BTreeSet<String>,
    outbox: NoticeQueue,
    /// The request that stays open; `None` when there is nothing to ask for, or it has ended.
    open: Option<Pending>,
    since: Instant,
    backoff: Backoff,
    /// When a request that has ended is made again.
    again: Option<Instant>,
}

/// The server's answer to a request to listen: nothing was asked for, it listens, or it refuses.
type Begun = Result<Option<Pending>, String>;

impl Listener {
    pub(in crate::upstream) fn new(
        upstream: Arc<Upstream>,
        who: Subscriber,
        interest: Interest,
        outbox: NoticeQueue,
    ) -> Self {
        Self {
            upstream,
            who,
            interest,
            uris: BTreeSet::new(),
            outbox,
            open: None,
            since: Instant::now(),
            backoff: Backoff::default(),
            again: None,
        }
    }

    /// Begins to listen.
    pub(in crate::upstream) async fn begin(&mut self) -> Result<(), UpstreamError> {
        match request(&self.upstream, &self.who, self.interest, &self.uris).await? {
            Ok(pending) => {
                self.take_up(pending);
                Ok(())
            }
            Err(error) => Err(UpstreamError::Protocol {
                upstream: self.upstream.name.to_string(),
                detail: format!("it refuses {LISTEN} with {}", error.chars().take(200).collect::<String>()),
            }),
        }
    }

    /// Listens until the subscription is dropped, or the server is of the other era.
    pub(in crate::upstream) async fn run(mut self, mut changes: mpsc::Receiver<Change>) {
        loop {
            tokio::select! {
                change = changes.recv() => {
                    let Some(Change { uri, watch, answer }) = change else { return };
                    let outcome = self.change(uri, watch).await;
                    let _ = answer.send(outcome);
                }
                reply = next(&mut self.open) => self.reply(reply),
                () = until(self.again) => {
                    self.again = None;
                    let begun = tokio::select! {
                        begun = request(&self.upstream, &self.who, self.interest, &self.uris) => begun,
                        () = self.outbox.closed() => return,
                    };
                    match begun {
                        Ok(Ok(pending)) => {
                            self.take_up(pending);
                            // Nobody heard what was said in between.
                            self.upstream.schemas.forget();
                            self.upstream.guard.changed().was_unheard();
                            self.outbox.put(Notice::Dropped(0));
                        }
                        Ok(Err(error)) => {
                            tracing::debug!(upstream = %self.upstream.name, error, "the server refuses {LISTEN}");
                            self.later();
                        }
                        Err(error) => {
                            if self.upstream.facts().is_some_and(|facts| facts.era == Era::Legacy) {
                                return;
                            }
                            tracing::debug!("{error}");
                            self.later();
                        }
                    }
                }
            }
        }
    }

    fn take_up(&mut self, pending: Option<Pending>) {
        // The old request ends only now that the new one is acknowledged, so nothing falls between them.
        self.open = pending;
        self.since = Instant::now();
        self.again = None;
    }

    fn later(&mut self) {
        self.open = None;
        self.again = Some(Instant::now() + self.backoff.pause());
    }

    fn reply(&mut self, reply: Option<Reply>) {
        match reply {
            Some(Reply::Notification(method, params)) => {
                heard(&self.upstream, self.interest, &self.uris, &mut self.outbox, method, &params);
            }
            Some(Reply::Ask(_)) => {}
            Some(Reply::Result(_) | Reply::Error(_)) | None => {
                if self.since.elapsed() >= SOUND_AFTER {
                    self.backoff.reset();
                }
                self.later();
            }
        }
    }

    /// Listens with one resource more or less.
    async fn change(&mut self, uri: String, watch: bool) -> Result<Answered, UpstreamError> {
        if self.uris.contains(&uri) == watch {
            return Ok(Ok("{}".to_owned()));
        }
        let mut uris = self.uris.clone();
        if watch {
            if !self.upstream.facts().is_some_and(|facts| facts.subscribe) {
                return Ok(Err(jsonrpc::fault(
                    -32601,
                    "the server does not tell of changes of its resources",
                )));
            }
            if uris.len() >= MAX_WATCHED_EACH {
                return Ok(Err(jsonrpc::fault(429, "too many resources are watched")));
            }
            uris.insert(uri);
        } else {
            uris.remove(&uri);
            // Whatever the server does, it is not heard any more.
            self.uris.remove(&uri);
        }
        match self.meanwhile(&uris).await {
            Ok(Ok(pending)) => {
                self.uris = uris;
                self.take_up(pending);
                Ok(Ok("{}".to_owned()))
            }
            refused => {
                if self.open.is_none() && self.again.is_none() {
                    self.later();
                }
                match refused? {
                    Ok(_) => Ok(Ok("{}".to_owned())),
                    Err(error) => Ok(Err(error)),
                }
            }
        }
    }

    /// Asks to listen with these resources; what comes from the request that is open is heard meanwhile.
    async fn meanwhile(&mut self, uris: &BTreeSet<String>) -> Result<Begun, UpstreamError> {
        let interest = self.interest;
        let mut beginning = std::pin::pin!(request(&self.upstream, &self.who, interest, uris));
        loop {
            tokio::select! {
                begun = &mut beginning => return begun,
                reply = next(&mut self.open) => match reply {
                    Some(Reply::Notification(method, params)) => {
                        heard(&self.upstream, interest, &self.uris, &mut self.outbox, method, &params);
                    }
                    Some(Reply::Ask(_)) => {}
                    Some(Reply::Result(_) | Reply::Error(_)) | None => self.open = None,
                },
            }
        }
    }
}

/// Takes in what the server says.
fn heard(
    upstream: &Upstream,
    interest: Interest,
    uris: &BTreeSet<String>,
    outbox: &mut NoticeQueue,
    method: String,
    params: &str,
) {
    if method == "notifications/tools/list_changed" {
        upstream.schemas.forget();
    }
    if let Some(notice) = notice(interest, uris, method, params) {
        outbox.put(notice);
    }
}

async fn next(open: &mut Option<Pending>) -> Option<Reply> {
    match open {
        Some(pending) => pending.next().await,
        None => std::future::pending().await,
    }
}

async fn until(when: Option<Instant>) {
    match when {
        Some(when) => sleep_until(when).await,
        None => std::future::pending().await,
    }
}

/// Asks to listen and waits until the server has acknowledged it.
async fn request(
    upstream: &Arc<Upstream>,
    who: &Subscriber,
    interest: Interest,
    uris: &BTreeSet<String>,
) -> Result<Begun, UpstreamError> {
    let asking = async {
        let (link, facts) = upstream.link(&who.caller()).await?;
        if facts.era == Era::Legacy {
            return Err(UpstreamError::Protocol {
                upstream: upstream.name.to_string(),
                detail: "it is of the legacy era by now".to_owned(),
            });
        }
        let Some(filter) = filter(&facts, interest, uris) else { return Ok(Ok(None)) };
        let mut params = Object::default();
        params.set("notifications", filter);
        let sent = link
            .request(Takes::Changes, |id| {
                jsonrpc::request(id, LISTEN, &driver::params(Era::Modern, params, who.capabilities, id).0)
            })
            .await;
        let mut pending = sent.ok_or_else(|| upstream.ended(&link.ending()))?;
        loop {
            return match pending.next().await {
                Some(Reply::Notification(method, _)) if method == ACKNOWLEDGED => Ok(Ok(Some(pending))),
                // Nothing else may come before it.
                Some(Reply::Notification(..) | Reply::Ask(_)) => continue,
                Some(Reply::Error(error)) => Ok(Err(error)),
                Some(Reply::Result(_)) => {
                    Ok(Err(jsonrpc::fault(-32603, "the server ended the subscription at once")))
                }
                None => Err(upstream.ended(&pending.ending())),
            };
        }
    };
    timeout(upstream.timeout, asking).await.unwrap_or_else(|_| Err(upstream.late(LISTEN)))
}

/// The request to the server: what is wanted and what it offers; `None` when that is nothing.
fn filter(facts: &Facts, interest: Interest, uris: &BTreeSet<String>) -> Option<String> {
    let lists = [
        ("toolsListChanged", interest.tools && facts.changes.tools),
        ("promptsListChanged", interest.prompts && facts.changes.prompts),
        ("resourcesListChanged", interest.resources && facts.changes.resources),
    ];
    let mut members: Vec<String> =
        lists.iter().filter(|(_, wanted)| *wanted).map(|(name, _)| format!("\"{name}\":true")).collect();
    if facts.subscribe && !uris.is_empty() {
        let uris: Vec<_> = uris.iter().map(|uri| quote(uri)).collect();
        members.push(format!("\"resourceSubscriptions\":[{}]", uris.join(",")));
    }
    (!members.is_empty()).then(|| format!("{{{}}}", members.join(",")))
}

/// A notification as its subscriber gets it, without the number that it has between us and the server; `None`
/// for one that was not asked for.
fn notice(interest: Interest, uris: &BTreeSet<String>, method: String, params: &str) -> Option<Notice> {
    if !wants(interest, uris.iter(), &method, uri_of(&method, params).as_deref()) {
        return None;
    }
    let mut params = Object::parse(params).ok()?;
    let meta = params.get("_meta").map(str::to_owned);
    if let Some(meta) = meta {
        let mut meta = Object::parse(&meta).ok()?;
        meta.remove(META_SUBSCRIPTION);
        if meta.is_empty() {
            params.remove("_meta");
        } else {
            params.set("_meta", meta.write());
        }
    }
    Some(Notice::Notification(method, params.write()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mcp::capability::Capabilities;

    fn uris(list: &[&str]) -> BTreeSet<String> {
        list.iter().map(|uri| (*uri).to_owned()).collect()
    }

    #[test]
    fn only_what_is_offered_is_asked_for() {
        let all = Interest { tools: true, prompts: true, resources: true, everything: true };
        let facts = |changes, subscribe| Facts {
            era: Era::Modern,
            revision: "2026-07-28".to_owned(),
            offers: Capabilities::default(),
            changes,
            subscribe,
            instructions: None,
        };
        let tools = Interest { tools: true, ..Interest::default() };
        let watched = uris(&["a://\"b"]);
        for (facts, interest, uris, wanted) in [
            (
                facts(all, true),
                all,
                &watched,
                Some(
                    r#"{"toolsListChanged":true,"promptsListChanged":true,"resourcesListChanged":true,"resourceSubscriptions":["a://\"b"]}"#,
                ),
            ),
            (facts(tools, false), all, &watched, Some(r#"{"toolsListChanged":true}"#)),
            (facts(all, true), tools, &BTreeSet::new(), Some(r#"{"toolsListChanged":true}"#)),
            (facts(Interest::default(), false), all, &watched, None),
            (facts(all, true), Interest::default(), &BTreeSet::new(), None),
        ] {
            assert_eq!(filter(&facts, interest, uris).as_deref(), wanted);
        }
    }

    #[test]
    fn the_number_of_a_subscription_stays_here() {
        let tools = Interest { tools: true, ..Interest::default() };
        let read = |method: &str, params: &str| {
            notice(tools, &uris(&["a://b"]), method.to_owned(), params).map(|notice| match notice {
                Notice::Notification(_, params) => params,
                other => panic!("{other:?}"),
            })
        };
        let number = r#"{"_meta":{"io.modelcontextprotocol/subscriptionId":7}}"#;
        assert_eq!(read("notifications/tools/list_changed", number).as_deref(), Some("{}"));
        let more = r#"{"uri":"a://b/c","_meta":{"x":1,"io.modelcontextprotocol/subscriptionId":7}}"#;
        assert_eq!(
            read("notifications/resources/updated", more).as_deref(),
            Some(r#"{"uri":"a://b/c","_meta":{"x":1}}"#)
        );
        assert_eq!(read("notifications/prompts/list_changed", number), None);
        assert_eq!(read("notifications/resources/updated", r#"{"uri":"c://"}"#), None);
    }
}
