//! One event stream of a legacy session, as its client reads it: numbered messages that wait for a reader,
//! and can be read again by one that comes back (2025-11-25, "Resumability and redelivery").

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::Waker;
use std::time::{Duration, Instant};

use parking_lot::{Mutex, MutexGuard};

use crate::limits::budget::Account;
use crate::limits::kept::Kept;
use crate::mcp::jsonrpc;
use crate::mcp::object::quote;
use crate::mcp::revision::Revision;
use crate::observe::metrics::Metrics;

/// Most messages that wait for a reader.
const MAX_MESSAGES: usize = 1_000;
/// Most bytes of messages that wait for a reader.
const MAX_BYTES: usize = 1024 * 1024;
/// The messages and the bytes that are kept once they were read, for a client whose connection broke.
pub(super) const KEPT: (usize, usize) = (64, 64 * 1024);
/// The messages of one stream.
pub struct EventStore {
    /// The stream's name, unguessable, so that no event id of one session means anything in another.
    pub id: u64,
    pub(in crate::downstream) revision: Revision,
    /// The account of its session: messages that wait here are charged to it.
    pub(in crate::downstream) account: Account,
    metrics: Arc<Metrics>,
    state: Mutex<StoreState>,
}

#[derive(Default)]
pub(in crate::downstream) struct StoreState {
    /// Messages with consecutive numbers; the last one's is `last`.
    pub(in crate::downstream) messages: VecDeque<Kept>,
    pub(in crate::downstream) bytes: usize,
    pub(in crate::downstream) last: u64,
    /// The highest number that a reader has taken.
    pub(in crate::downstream) read: u64,
    pub(in crate::downstream) ended: Option<Instant>,
    lost: u64,
    /// Whose turn it is to read: a newer reader takes over from an older one.
    pub(in crate::downstream) turn: u64,
    pub(in crate::downstream) waker: Option<Waker>,
}

/// One server-sent event, or a part of one.
#[derive(Debug, Default)]
pub struct Frame {
    /// A comment before it.
    pub comment: Option<String>,
    /// Its id.
    pub id: Option<String>,
    /// How long to wait before coming back.
    pub retry: Option<Duration>,
    /// Its data; empty in an event that only sets the id.
    pub data: Option<Kept>,
}

impl StoreState {
    pub(in crate::downstream) fn first(&self) -> u64 {
        self.last + 1 - self.messages.len() as u64
    }

    pub(super) fn drop_first(&mut self) {
        if let Some(message) = self.messages.pop_front() {
            self.bytes -= message.length();
        }
    }

    pub(in crate::downstream) fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

impl EventStore {
    /// An empty stream; `None` when the kernel has no random numbers.
    pub fn new(revision: Revision, account: &Account, metrics: &Arc<Metrics>) -> Option<Arc<Self>> {
        let id = getrandom::u64().ok()?;
        let (account, metrics) = (account.clone(), Arc::clone(metrics));
        Some(Arc::new(Self { id, revision, account, metrics, state: Mutex::default() }))
    }

    pub(in crate::downstream) fn lock(&self) -> MutexGuard<'_, StoreState> {
        // Nothing in here panics half-way through a change.
        self.state.lock()
    }

    /// Adds a message. The oldest make room for it; the newest is always kept, unless the memory of its
    /// session is used up.
    pub fn push(&self, message: String) {
        // Before the lock is taken: what is given up to make room may wait in this very stream.
        let kept = Kept::new(&self.account, message, None).unwrap_or_else(|_| Kept::lost(&self.account));
        self.add(kept);
    }

    fn add(&self, message: Kept) {
        let mut state = self.lock();
        if state.ended.is_some() {
            return;
        }
        state.bytes += message.length();
        state.messages.push_back(message);
        state.last += 1;
        let mut lost = 0;
        while state.messages.len() > 1 && (state.messages.len() > MAX_MESSAGES || state.bytes > MAX_BYTES) {
            lost += u64::from(state.first() > state.read);
            state.drop_first();
        }
        self.lose(&mut state, lost);
        state.wake();
    }

    /// Counts messages that nobody will read.
    pub(in crate::downstream) fn lose(&self, state: &mut StoreState, count: u64) {
        if count > 0 {
            if state.lost == 0 {
                tracing::warn!("a client does not read its event stream: the oldest messages are dropped");
            }
            state.lost += count;
            self.metrics.messages_dropped(count);
        }
    }

    /// Ends the stream: its readers end when they have read it.
    pub fn end(&self) {
        let mut state = self.lock();
        state.ended.get_or_insert_with(Instant::now);
        state.wake();
    }

    /// Ends the stream with a last message; `instead` takes its place where the memory of its session is used
    /// up.
    pub fn finish(&self, message: String, instead: String) {
        self.add(Kept::or_instead(&self.account, message, instead));
        self.end();
    }

    /// Throws away what nobody has read, and ends the stream.
    pub fn clear(&self) {
        let messages = {
            let mut state = self.lock();
            state.bytes = 0;
            state.turn += 1;
            std::mem::take(&mut state.messages)
        };
        drop(messages);
        self.end();
    }

    /// How long ago the stream has ended, and how many bytes it holds.
    pub fn ended(&self) -> Option<(Duration, usize)> {
        let state = self.lock();
        state.ended.map(|ended| (ended.elapsed(), state.bytes))
    }
}

/// The message that stands for those that were dropped.
pub(super) fn dropped(count: u64) -> String {
    let data = format!("{count} messages were dropped: the client did not read them in time");
    let params = format!(r#"{{"level":"warning","logger":"airlock","data":{}}}"#, quote(&data));
    jsonrpc::notification("notifications/message", &params)
}

/// Reads an event id: the stream, and the number in it.
pub fn parse_id(text: &str) -> Option<(u64, u64)> {
    let (stream, number) = text.split_once('-')?;
    let well_formed = stream.len() == 16 && number.bytes().all(|byte| byte.is_ascii_digit());
    let stream = u64::from_str_radix(stream, 16).ok().filter(|_| well_formed)?;
    Some((stream, number.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::principal::Principal;
    use crate::downstream::event_reader::RETRY;
    use crate::downstream::event_reader::Reader;
    use crate::downstream::session::Session;
    use crate::downstream::sessions::Sessions;
    use crate::limits::budget::level::What;
    use crate::mcp::client::ClientCapabilities;
    use crate::pipeline::route::Endpoint;
    use proptest::prelude::*;
    use std::task::{Context, Poll};

    fn session(revision: Revision) -> Arc<Session> {
        let principal = Principal::named("alice", None);
        let sessions = Sessions::default();
        let opened = sessions.open(&principal, &Endpoint::Merged, revision, ClientCapabilities::default());
        opened.expect("a session").session
    }

    fn next(reader: &mut Reader) -> Poll<Option<Frame>> {
        reader.poll_next(&mut Context::from_waker(Waker::noop()))
    }

    /// The frames that can be read now, without the first one; and whether that was the end.
    fn rest(reader: &mut Reader) -> (Vec<String>, bool) {
        let mut all = Vec::new();
        loop {
            match next(reader) {
                Poll::Ready(Some(frame)) => all.extend(frame.data.map(|data| data.text())),
                Poll::Ready(None) => return (all, true),
                Poll::Pending => return (all, false),
            }
        }
    }

    #[test]
    fn a_reader_that_comes_back_gets_the_rest() {
        let session = session(Revision::V20251125);
        let store = session.open_stream(&Metrics::new()).expect("a stream");
        store.push("1".to_owned());
        let mut first = store.read(&session, Some(0), None).expect("a reader");
        let Poll::Ready(Some(primed)) = next(&mut first) else { panic!("a priming event") };
        assert!(
            primed.retry.is_some_and(|retry| retry >= RETRY)
                && primed.data.is_some_and(|data| data.length() == 0)
        );
        let Poll::Ready(Some(one)) = next(&mut first) else { panic!("an event") };
        assert!(next(&mut first).is_pending());
        store.push("2".to_owned());
        store.finish("3".to_owned(), String::new());
        let (stream, at) = parse_id(&one.id.expect("an id")).expect("an event id");
        assert_eq!((stream, at), (store.id, 1));
        let found = session.stream(stream).expect("the stream");
        let mut second = found.read(&session, Some(at), None).expect("a reader");
        assert!(matches!(next(&mut first), Poll::Ready(None)), "the newer reader has taken over");
        assert_eq!(rest(&mut second), (vec![String::new(), "2".into(), "3".into()], true));
        drop((first, second));
        assert!(session.stream(stream).is_some(), "its last message may not have arrived");
        assert!(found.read(&session, Some(4), None).is_none(), "a number that was never given out");
    }

    #[test]
    fn earlier_revisions_get_no_event_without_data() {
        let session = session(Revision::V20250618);
        let store = session.open_stream(&Metrics::new()).expect("a stream");
        let mut reader = store.read(&session, Some(0), None).expect("a reader");
        assert!(next(&mut reader).is_pending(), "it has nothing to say yet");
        store.push("1".to_owned());
        let Poll::Ready(Some(first)) = next(&mut reader) else { panic!("an event") };
        assert!(first.retry.is_some_and(|retry| retry >= RETRY) && first.id.is_some());
        assert_eq!(first.data.map(|data| data.text()).as_deref(), Some("1"));
        store.push("2".to_owned());
        let Poll::Ready(Some(second)) = next(&mut reader) else { panic!("an event") };
        assert!(second.retry.is_none() && second.data.is_some());
    }

    #[test]
    fn what_is_not_read_is_dropped_and_said_so() {
        let session = session(Revision::V20251125);
        let store = session.standing(&Metrics::new()).expect("a stream");
        for number in 0..MAX_MESSAGES + 5 {
            store.push(number.to_string());
        }
        let mut reader = store.read(&session, None, None).expect("a reader");
        assert!(next(&mut reader).is_ready());
        let Poll::Ready(Some(told)) = next(&mut reader) else { panic!("a remark") };
        assert!(told.comment.is_some_and(|comment| comment.starts_with("5 messages")));
        let (messages, _) = rest(&mut reader);
        assert_eq!((messages.len(), messages[0].as_str()), (MAX_MESSAGES, "5"));
        // Messages that were read do not stay.
        assert!(store.lock().messages.len() <= KEPT.0);
        let huge = "x".repeat(2 * MAX_BYTES);
        store.finish(huge.clone(), "sorry".to_owned());
        assert_eq!(rest(&mut reader), (vec![huge], true));
        // It stays for a client that comes back, until the memory is needed.
        let last = store.lock().messages.back().cloned().expect("the last message");
        last.give_up();
        let mut again = store.read(&session, None, None).expect("a reader");
        assert!(rest(&mut again).1);
        again.at -= 1;
        assert_eq!(rest(&mut again), (vec!["sorry".to_owned()], true));
    }

    #[test]
    fn a_session_that_has_no_memory_left_is_told_so() {
        let session = session(Revision::V20250618);
        let store = session.open_stream(&Metrics::new()).expect("a stream");
        let all = session.account.charge_anyway(What::Subscription, usize::MAX / 4);
        store.push("lost".to_owned());
        store.finish("lost as well".to_owned(), "sorry".to_owned());
        drop(all);
        let mut reader = store.read(&session, Some(0), None).expect("a reader");
        assert_eq!(rest(&mut reader), (vec![dropped(1), "sorry".to_owned()], true));
    }

    #[test]
    fn a_session_that_ends_takes_its_streams_along() {
        let session = session(Revision::V20251125);
        let store = session.standing(&Metrics::new()).expect("a stream");
        store.push("1".to_owned());
        let mut reader = store.read(&session, None, None).expect("a reader");
        session.close();
        assert!(matches!(next(&mut reader), Poll::Ready(None)));
        assert!(session.standing(&Metrics::new()).is_none() && session.stream(store.id).is_none());
    }

    #[test]
    fn rubbish_is_no_event_id() {
        for rubbish in
            ["", "-", "1-1", "0000000000000000-", "0000000000000000-+1", "000000000000000g-1", "0-0-0"]
        {
            assert_eq!(parse_id(rubbish), None, "{rubbish}");
        }
        assert_eq!(parse_id("00000000000000ff-12"), Some((255, 12)));
    }

    proptest! {
        #[test]
        fn it_never_holds_more_than_it_may(sizes in proptest::collection::vec(0..200_000_usize, 1..60), reads in any::<u8>()) {
            let session = session(Revision::V20251125);
            let store = session.standing(&Metrics::new()).expect("a stream");
            let mut reader = store.read(&session, None, None).expect("a reader");
            for (place, size) in sizes.iter().enumerate() {
                store.push("x".repeat(*size));
                if place % usize::from(reads.max(1)) == 0 {
                    let _ = next(&mut reader);
                }
                let state = store.lock();
                prop_assert!(state.bytes <= MAX_BYTES.max(*size) && state.messages.len() <= MAX_MESSAGES);
                prop_assert_eq!(state.bytes, state.messages.iter().map(Kept::length).sum::<usize>());
                prop_assert!(!state.messages.is_empty());
            }
        }
    }
}
