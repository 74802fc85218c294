//! Messages of a server outside of calls, for those who want to hear them.
//!
//! A subscription has a task of its own on the worker that made it. At a legacy server it is one of the
//! subscribers of a hub, and the task tells the server which resources are watched; at a modern server it is
//! a request of its own.

mod listener;
mod subscriber;

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use crate::mcp::jsonrpc;
use crate::mcp::revision::Era;

use self::listener::Listener;
use self::subscriber::{Change, Subscriber};
use super::error::UpstreamError;
use super::hub::summed::Heard;
use super::hub::{Hub, Kept, Member, NoticeQueue};
use super::message::ask::Answered;
use super::message::notice::{Interest, Notice};
use super::pool::{Caller, Upstream};
use super::transport::watched::{SUBSCRIBE, UNSUBSCRIBE, ask, tell};

/// Notices that may wait for one subscriber; what is beyond is dropped, and counted.
const NOTICES: usize = 64;

/// A subscription; dropping it ends it.
pub struct Subscription {
    notices: mpsc::Receiver<Kept>,
    changes: mpsc::Sender<Change>,
    heard: Arc<Heard>,
}

impl Upstream {
    /// Subscribes a caller to what the server that serves it says outside of calls. A legacy server is not
    /// started for it: what it says is heard once a call has started it. A modern one is asked
    /// (`subscriptions/listen`).
    ///
    /// # Errors
    /// When a modern server cannot be reached or refuses, or there are too many subscriptions.
    pub async fn subscribe(
        self: &Arc<Self>,
        caller: &Caller<'_>,
        interest: Interest,
    ) -> Result<Subscription, UpstreamError> {
        let facts = self.facts_of(caller).await?;
        let seat = self.seat(&caller.identity)?;
        let who = Subscriber {
            identity: caller.identity.clone(),
            session: caller.session.map(Arc::clone),
            token: caller.token.clone(),
            capabilities: caller.capabilities,
        };
        let hub = self.hub(&facts, caller);
        let (sender, notices) = mpsc::channel(NOTICES);
        let heard = Arc::<Heard>::default();
        let account = self.account(&caller.identity);
        let outbox = NoticeQueue::new(sender, Arc::clone(&heard), Some(account));
        let (changes, queue) = mpsc::channel(1);
        let upstream = Arc::clone(self);
        match facts.era {
            Era::Legacy => {
                let member = hub.join(interest, outbox);
                tokio::task::spawn_local(async move {
                    Attendance { upstream, who, hub, member }.run(queue).await;
                    drop(seat);
                });
            }
            Era::Modern => {
                let mut listener = Listener::new(upstream, who, interest, outbox);
                listener.begin().await?;
                tokio::task::spawn_local(async move {
                    tokio::select! {
                        () = listener.run(queue) => {}
                        () = hub.closed() => {}
                    }
                    drop(seat);
                });
            }
        }
        Ok(Subscription { notices, changes, heard })
    }
}

impl Subscription {
    /// The next notice; `None` when the server will say nothing more. Changes of one thing that follow each
    /// other are summed up. May be cancelled without loss.
    pub async fn next(&mut self) -> Option<Notice> {
        loop {
            if let Some(notice) = self.heard.take(false) {
                return Some(notice);
            }
            let notice = tokio::select! {
                kept = self.notices.recv() => kept.map(|kept| kept.notice),
                () = self.heard.due() => continue,
            };
            match notice {
                None => return self.heard.take(true),
                // The others were summed up on their way here.
                Some(dropped @ Notice::Dropped(_)) => {
                    if let Some(dropped) = self.heard.hear(dropped) {
                        return Some(dropped);
                    }
                }
                Some(notice) => return Some(notice),
            }
        }
    }

    /// Hears of changes of a resource from now on (`notifications/resources/updated`), by the upstream's own
    /// URI. The inner error is the server's error object.
    ///
    /// # Errors
    /// When the server cannot be reached.
    pub async fn watch(&mut self, uri: &str) -> Result<Answered, UpstreamError> {
        self.change(uri, true).await
    }

    /// Does not hear of it any more.
    ///
    /// # Errors
    /// When the server cannot be reached.
    pub async fn unwatch(&mut self, uri: &str) -> Result<Answered, UpstreamError> {
        self.change(uri, false).await
    }

    async fn change(&mut self, uri: &str, watch: bool) -> Result<Answered, UpstreamError> {
        let (answer, answered) = oneshot::channel();
        let _ = self.changes.send(Change { uri: uri.to_owned(), watch, answer }).await;
        let ended = || Ok(Err(jsonrpc::fault(-32603, "the subscription has ended")));
        answered.await.unwrap_or_else(|_| ended())
    }
}

/// The task of a subscription to a legacy server.
struct Attendance {
    upstream: Arc<Upstream>,
    who: Subscriber,
    hub: Arc<Hub>,
    member: Member,
}

impl Attendance {
    async fn run(self, mut changes: mpsc::Receiver<Change>) {
        let changing = async {
            while let Some(Change { uri, watch, answer }) = changes.recv().await {
                let outcome = if watch { self.watch(&uri).await } else { self.unwatch(&uri).await };
                if answer.send(outcome).is_err() && watch {
                    // The one who asked has given up: nobody would listen to what it says.
                    let _ = self.unwatch(&uri).await;
                }
            }
        };
        tokio::select! {
            () = changing => {}
            () = self.hub.closed() => return,
        }
        let _one = self.hub.changing.lock().await;
        let left = self.member.leave();
        if left.is_empty() {
            return;
        }
        if let Some(link) = self.upstream.running_link(&self.who.caller()) {
            tell(&link, &self.upstream.name, UNSUBSCRIBE, left, &self.hub).await;
        }
    }

    async fn watch(&self, uri: &str) -> Result<Answered, UpstreamError> {
        let _one = self.hub.changing.lock().await;
        let full = || Ok(Err(jsonrpc::fault(429, "too many resources are watched")));
        if self.member.is_watched(uri) {
            return if self.member.watch(uri) { Ok(Ok("{}".to_owned())) } else { full() };
        }
        let limit = self.upstream.timeout;
        let asking = async {
            let (link, facts) = self.upstream.link(&self.who.caller()).await?;
            if !facts.subscribe {
                return Ok(Err(jsonrpc::fault(
                    -32601,
                    "the server does not tell of changes of its resources",
                )));
            }
            // Before the server is told: what it says at once is heard.
            if !self.member.watch(uri) {
                return full();
            }
            ask(&link, SUBSCRIBE, uri).await.map_err(|ending| self.upstream.ended(&ending))
        };
        let outcome =
            tokio::time::timeout(limit, asking).await.unwrap_or_else(|_| Err(self.upstream.late(SUBSCRIBE)));
        if !matches!(outcome, Ok(Ok(_))) {
            self.member.unwatch(uri);
        }
        outcome
    }

    async fn unwatch(&self, uri: &str) -> Result<Answered, UpstreamError> {
        let _one = self.hub.changing.lock().await;
        let done = Ok(Ok("{}".to_owned()));
        if !self.member.unwatch(uri) {
            return done;
        }
        // A server that does not run any more says nothing either.
        let Some(link) = self.upstream.running_link(&self.who.caller()) else { return done };
        match tokio::time::timeout(self.upstream.timeout, ask(&link, UNSUBSCRIBE, uri)).await {
            Ok(Ok(answered)) => Ok(answered),
            Ok(Err(_)) => done,
            Err(_) => Err(self.upstream.late(UNSUBSCRIBE)),
        }
    }
}
