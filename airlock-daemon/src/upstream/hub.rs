//! The listeners to a legacy server outside of calls. A hub outlives the server's process: who subscribed
//! before it was started hears it, and so does who subscribed before it was started again.

pub(super) mod summed;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::{mpsc, watch};

use crate::limits::budget::level::What;
use crate::limits::budget::{Account, Charge};
use crate::mcp::uri::is_part_of;
use crate::tool_locks::Changed;

use self::summed::{Heard, UPDATED, uri_of};
use super::message::ask::Ask;
use super::message::notice::{Interest, Notice};

/// Resources that the subscribers of one hub may watch.
const MAX_WATCHED: usize = 1024;
/// Resources that one subscriber may watch.
pub(super) const MAX_WATCHED_EACH: usize = 256;

/// Notices on their way to one subscriber; what does not fit is dropped, and told with the next one that
/// fits.
pub(super) struct NoticeQueue {
    notices: mpsc::Sender<Kept>,
    heard: Arc<Heard>,
    /// The account of the subscriber.
    account: Option<Account>,
    dropped: u64,
}

/// A notice on its way, charged to its subscriber until it is taken.
pub(super) struct Kept {
    pub(super) notice: Notice,
    _charge: Option<Charge>,
}

/// The subscribers of one owner's server.
pub(super) struct Hub {
    /// Several principals share the server: what belongs to nobody in particular is for nobody.
    pub(super) several: bool,
    /// The account of the principal for whom alone the server works: what is read of it is charged to this.
    pub(super) account: Option<Account>,
    /// Lists that the server says to have changed.
    changed: Arc<Changed>,
    state: Mutex<HubState>,
    presence: watch::Sender<Presence>,
    /// Held while a subscription to a resource is made or ended, so that the server hears of it once and in
    /// order.
    pub(super) changing: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct HubState {
    next: u64,
    members: Vec<Entry>,
    /// How many watch a resource.
    watched: HashMap<String, usize>,
}

struct Entry {
    id: u64,
    interest: Interest,
    outbox: NoticeQueue,
    uris: HashSet<String>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Presence {
    members: usize,
    closed: bool,
}

/// A subscriber's place; dropping it gives it up.
pub(super) struct Member {
    hub: Arc<Hub>,
    id: u64,
}

impl NoticeQueue {
    /// A notice that is told too often waits in `heard` for the subscriber.
    pub(super) fn new(notices: mpsc::Sender<Kept>, heard: Arc<Heard>, account: Option<Account>) -> Self {
        Self { notices, heard, account, dropped: 0 }
    }

    /// Waits until the subscriber is gone.
    pub(super) async fn closed(&self) {
        self.notices.closed().await;
    }

    /// Puts a notice in, or leaves it to be told later; says whether there was room.
    pub(super) fn put(&mut self, notice: Notice) -> bool {
        let Some(notice) = self.heard.hear(notice) else { return true };
        if self.dropped > 0 && self.send(Notice::Dropped(self.dropped)) {
            self.dropped = 0;
        }
        let fits = self.dropped == 0 && self.send(notice);
        if !fits {
            self.dropped += 1;
        }
        fits
    }

    /// Sends a notice; false where its queue or the subscriber's share of the memory has no room.
    fn send(&self, notice: Notice) -> bool {
        let Ok(permit) = self.notices.try_reserve() else { return false };
        let charge = self.account.as_ref().map(|account| account.charge(What::Answer, notice.bytes()));
        match charge.transpose() {
            Ok(charge) => {
                permit.send(Kept { notice, _charge: charge });
                true
            }
            Err(_) => false,
        }
    }
}

impl Hub {
    pub(super) fn new(several: bool, account: Option<Account>, changed: Arc<Changed>) -> Arc<Self> {
        Arc::new(Self {
            several,
            account,
            changed,
            state: Mutex::default(),
            presence: watch::Sender::default(),
            changing: tokio::sync::Mutex::default(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, HubState> {
        // No change below can panic between its steps.
        self.state.lock()
    }

    /// Adds a subscriber. Where several principals share the server, it hears what is for all of them, and
    /// nothing else: that does not say whose it is.
    pub(super) fn join(self: &Arc<Self>, interest: Interest, outbox: NoticeQueue) -> Member {
        let interest = Interest { everything: interest.everything && !self.several, ..interest };
        let mut state = self.lock();
        let id = state.next;
        state.next += 1;
        if !self.presence.borrow().closed {
            state.members.push(Entry { id, interest, outbox, uris: HashSet::new() });
        }
        self.count(&state);
        Member { hub: Arc::clone(self), id }
    }

    fn count(&self, state: &HubState) {
        self.presence.send_modify(|presence| presence.members = state.members.len());
    }

    /// The server is gone for good: nobody hears anything more.
    pub(super) fn close(&self) {
        let mut state = self.lock();
        state.members.clear();
        state.watched.clear();
        self.presence.send_replace(Presence { members: 0, closed: true });
    }

    /// Waits until the hub is closed.
    pub(super) async fn closed(&self) {
        // The sender lives as long as the hub.
        let _ = self.presence.subscribe().wait_for(|presence| presence.closed).await;
    }

    /// Waits until there is a subscriber.
    pub(super) async fn wanted(&self) {
        let _ = self.presence.subscribe().wait_for(|presence| presence.members > 0).await;
    }

    /// Waits until there is none.
    pub(super) async fn unwanted(&self) {
        let _ = self.presence.subscribe().wait_for(|presence| presence.members == 0).await;
    }

    /// True where somebody listens. The server of a session that is listened to is in use.
    pub(super) fn is_attended(&self) -> bool {
        self.presence.borrow().members > 0
    }

    /// The resources that somebody watches.
    pub(super) fn watched(&self) -> Vec<String> {
        self.lock().watched.keys().cloned().collect()
    }

    /// Takes in what the server says outside of calls, if anybody listens or not.
    pub(super) fn hear(&self, method: &str) {
        self.changed.hear(method);
    }

    /// Nobody has heard for a while what the server says outside of calls.
    pub(super) fn was_unheard(&self) {
        self.changed.was_unheard();
    }

    /// Hands a notification to all who want to hear of it.
    pub(super) fn publish(&self, method: &str, params: &str) {
        if self.presence.borrow().members == 0 {
            return;
        }
        let uri = uri_of(method, params);
        for member in &mut self.lock().members {
            if wants(member.interest, member.uris.iter(), method, uri.as_deref()) {
                member.outbox.put(Notice::Notification(method.to_owned(), params.to_owned()));
            }
        }
    }

    /// Hands a question that belongs to no call to the newest subscriber that takes such; says whether there
    /// is one.
    pub(super) fn ask(&self, ask: Ask) -> bool {
        let mut state = self.lock();
        match state.members.iter_mut().rev().find(|member| member.interest.everything) {
            // A subscriber that does not listen drops it, which is an answer too.
            Some(member) => {
                member.outbox.put(Notice::Ask(ask));
                true
            }
            None => false,
        }
    }
}

impl Member {
    /// True where anybody watches the resource, this one included.
    pub(super) fn is_watched(&self, uri: &str) -> bool {
        self.hub.lock().watched.contains_key(uri)
    }

    /// Watches a resource; `false` when there are too many.
    pub(super) fn watch(&self, uri: &str) -> bool {
        let mut guard = self.hub.lock();
        let state = &mut *guard;
        let Some(member) = state.members.iter_mut().find(|member| member.id == self.id) else { return false };
        if member.uris.contains(uri) {
            return true;
        }
        let new = !state.watched.contains_key(uri);
        if member.uris.len() >= MAX_WATCHED_EACH || (new && state.watched.len() >= MAX_WATCHED) {
            return false;
        }
        member.uris.insert(uri.to_owned());
        *state.watched.entry(uri.to_owned()).or_default() += 1;
        true
    }

    /// Does not watch it any more; says whether it was the last to do so.
    pub(super) fn unwatch(&self, uri: &str) -> bool {
        let mut guard = self.hub.lock();
        let state = &mut *guard;
        let member = state.members.iter_mut().find(|member| member.id == self.id);
        member.is_some_and(|member| member.uris.remove(uri)) && release(&mut state.watched, uri)
    }

    /// Leaves; returns the resources that nobody watches any more.
    pub(super) fn leave(&self) -> Vec<String> {
        let mut guard = self.hub.lock();
        let state = &mut *guard;
        let Some(at) = state.members.iter().position(|member| member.id == self.id) else {
            return Vec::new();
        };
        let member = state.members.remove(at);
        self.hub.count(state);
        member.uris.into_iter().filter(|uri| release(&mut state.watched, uri)).collect()
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.leave();
    }
}

fn release(watched: &mut HashMap<String, usize>, uri: &str) -> bool {
    match watched.get_mut(uri) {
        Some(count) if *count > 1 => {
            *count -= 1;
            false
        }
        _ => watched.remove(uri).is_some(),
    }
}

/// True where somebody with this interest, who watches these resources, wants to hear of a notification.
pub(super) fn wants<'a>(
    interest: Interest,
    mut uris: impl Iterator<Item = &'a String>,
    method: &str,
    uri: Option<&str>,
) -> bool {
    match method {
        "notifications/tools/list_changed" => interest.tools,
        "notifications/prompts/list_changed" => interest.prompts,
        "notifications/resources/list_changed" => interest.resources,
        UPDATED => uri.is_some_and(|uri| uris.any(|watched| is_part_of(uri, watched))),
        _ => interest.everything,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::principal::Principal;
    use crate::config::schema::Config;
    use crate::limits::budget::Budget;

    const TOOLS: &str = "notifications/tools/list_changed";
    const LOG: &str = "notifications/message";

    fn all() -> Interest {
        Interest { tools: true, prompts: true, resources: true, everything: true }
    }

    fn channel(room: usize) -> (NoticeQueue, mpsc::Receiver<Kept>) {
        let (sender, notices) = mpsc::channel(room);
        (NoticeQueue::new(sender, Arc::default(), None), notices)
    }

    fn heard(notices: &mut mpsc::Receiver<Kept>) -> Vec<String> {
        std::iter::from_fn(|| notices.try_recv().ok())
            .map(|kept| match kept.notice {
                Notice::Notification(method, _) => method,
                Notice::Ask(ask) => ask.method,
                Notice::Dropped(count) => format!("dropped {count}"),
            })
            .collect()
    }

    #[test]
    fn everybody_hears_what_they_asked_for() {
        let hub = Hub::new(false, None, Arc::default());
        let (sender, mut tools) = channel(8);
        let _tools = hub.join(Interest { tools: true, ..Interest::default() }, sender);
        let (sender, mut everything) = channel(8);
        let _everything = hub.join(all(), sender);
        for method in [TOOLS, "notifications/prompts/list_changed", "notifications/message", "vendor/x"] {
            hub.publish(method, "{}");
        }
        assert_eq!(heard(&mut tools), [TOOLS]);
        assert_eq!(heard(&mut everything).len(), 4);
    }

    #[test]
    fn a_change_is_heard_by_those_who_watch() {
        let hub = Hub::new(false, None, Arc::default());
        let (sender, mut notices) = channel(8);
        let member = hub.join(all(), sender);
        let (sender, mut others) = channel(8);
        let other = hub.join(all(), sender);
        assert!(
            member.watch("a://b") && member.watch("a://b") && other.watch("a://b") && other.watch("c://d/")
        );
        for uri in ["a://b", "a://b/c", "a://bc", "c://d/e", "c://"] {
            hub.publish(UPDATED, &format!(r#"{{"uri":"{uri}"}}"#));
        }
        assert_eq!(heard(&mut notices).len(), 2);
        assert_eq!(heard(&mut others).len(), 3);
        assert!(!member.unwatch("a://b"), "another watches it");
        assert!(!member.unwatch("a://b"), "not watched any more");
        let mut left = other.leave();
        left.sort();
        assert_eq!(left, ["a://b", "c://d/"]);
        assert!(hub.watched().is_empty());
    }

    #[test]
    fn what_does_not_fit_is_counted_and_told() {
        let hub = Hub::new(false, None, Arc::default());
        let (sender, mut notices) = channel(2);
        let _member = hub.join(all(), sender);
        for _ in 0..5 {
            hub.publish(LOG, "{}");
        }
        assert_eq!(heard(&mut notices), [LOG, LOG]);
        hub.publish(LOG, "{}");
        assert_eq!(heard(&mut notices), ["dropped 3", LOG]);
    }

    #[test]
    fn what_waits_is_charged_to_its_subscriber() {
        let budget = Budget::new(&Config::default().limits.memory);
        let account = budget.of(Principal::named("alice", None).identity());
        let (sender, mut notices) = mpsc::channel(8);
        let hub = Hub::new(false, None, Arc::default());
        let _member = hub.join(all(), NoticeQueue::new(sender, Arc::default(), Some(account.clone())));
        for _ in 0..3 {
            hub.publish(LOG, &"x".repeat(1000));
        }
        assert_eq!(account.used(), 3 * (LOG.len() + 1000));
        drop(notices.try_recv().expect("a notice"));
        assert_eq!(account.used(), 2 * (LOG.len() + 1000));
        let full = account.charge(What::Question, 1).expect("room");
        let mut rest = Vec::new();
        while let Ok(charge) = account.charge(What::Question, 1 << 20) {
            rest.push(charge);
        }
        hub.publish(LOG, &"x".repeat(2 << 20));
        drop((full, rest));
        hub.publish(LOG, "{}");
        assert_eq!(heard(&mut notices), [LOG, LOG, "dropped 1", LOG], "a notice without room is told of");
        assert_eq!(account.used(), 0);
    }

    #[test]
    fn a_question_goes_to_one_who_takes_questions() {
        let ask = || Ask::new("elicitation/create".to_owned(), "{}".to_owned()).0;
        let hub = Hub::new(false, None, Arc::default());
        assert!(!hub.ask(ask()));
        let (deaf, _nothing) = channel(2);
        let _deaf = hub.join(Interest { everything: false, ..all() }, deaf);
        let (sender, mut notices) = channel(2);
        assert!(!hub.ask(ask()));
        let member = hub.join(all(), sender);
        assert!(hub.ask(ask()));
        assert_eq!(heard(&mut notices), ["elicitation/create"]);
        drop(member);
        assert!(!hub.ask(ask()));
        let shared = Hub::new(true, None, Arc::default());
        let _member = shared.join(all(), channel(2).0);
        assert!(!shared.ask(ask()), "it could be anybody's");
    }

    #[tokio::test]
    async fn a_closed_hub_is_silent() {
        let hub = Hub::new(false, None, Arc::default());
        let (sender, mut notices) = channel(2);
        let member = hub.join(all(), sender);
        hub.wanted().await;
        hub.close();
        hub.closed().await;
        hub.unwanted().await;
        assert!(!member.watch("a://b"));
        let _late = hub.join(all(), channel(2).0);
        hub.publish(TOOLS, "{}");
        assert!(notices.try_recv().is_err());
    }

    #[test]
    fn what_is_one_principals_is_not_told_to_all_who_share_the_server() {
        let hub = Hub::new(true, None, Arc::default());
        let (sender, mut notices) = channel(8);
        let _member = hub.join(all(), sender);
        for method in ["notifications/message", "notifications/tasks/status", "vendor/x"] {
            hub.publish(method, r#"{"taskId":"t1","data":"secret"}"#);
        }
        hub.publish(TOOLS, "{}");
        let heard = notices.try_recv().expect("a notice").notice;
        assert!(matches!(heard, Notice::Notification(method, _) if method == TOOLS));
        assert!(notices.try_recv().is_err());
    }
}
