//! The reading of an event store, by one client at a time.

use super::event_store::{EventStore, Frame, KEPT, dropped};
use super::session::Session;
use crate::limits::kept::Kept;
use crate::mcp::revision::Revision;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

/// How long a client should wait before it comes back: at least this long, and up to [`JITTER`] longer.
pub const RETRY: Duration = Duration::from_secs(1);

/// So that clients do not come back all at once, in milliseconds.
pub const JITTER: u64 = 2_000;

/// Ends a reader when it is done.
pub type Until = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Reads an [`EventStore`] from a number on.
pub struct Reader {
    store: Arc<EventStore>,
    session: Arc<Session>,
    /// The last number that was read.
    pub(super) at: u64,
    turn: u64,
    /// The time that the client is to wait before it comes back. It is kept until it was said, with the first
    /// event, since a client before 2025-11-25 takes an event without data for a broken message.
    retry: Option<Duration>,
    /// Ends the reading before the stream does.
    until: Option<Until>,
}

impl Reader {
    /// The next event; `None` at the end.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Frame>> {
        if self.until.as_mut().is_some_and(|until| until.as_mut().poll(cx).is_ready()) {
            return Poll::Ready(None);
        }
        let mut state = self.store.lock();
        if state.turn != self.turn {
            return Poll::Ready(None);
        }
        let id = |at| Some(format!("{:016x}-{at}", self.store.id));
        // Earlier revisions do not know events without data.
        if self.store.revision >= Revision::V20251125 && self.retry.is_some() {
            let data = Some(Kept::anyway(&self.store.account, String::new()));
            return Poll::Ready(Some(Frame {
                id: id(self.at),
                data,
                retry: self.retry.take(),
                comment: None,
            }));
        }
        let first = state.first();
        if self.at + 1 < first {
            let missing = first - 1 - self.at;
            self.at = first - 1;
            return Poll::Ready(Some(Frame {
                comment: Some(format!("{missing} messages were dropped")),
                id: id(self.at),
                data: Some(Kept::anyway(&self.store.account, dropped(missing))),
                retry: self.retry.take(),
            }));
        }
        let place = usize::try_from(self.at + 1 - first).unwrap_or(usize::MAX);
        if let Some(message) = state.messages.get(place).cloned() {
            let mut frame = Frame { retry: self.retry.take(), ..Frame::default() };
            self.at += 1;
            state.read = state.read.max(self.at);
            while state.messages.len() > 1
                && state.first() <= state.read
                && (state.messages.len() > KEPT.0 || state.bytes > KEPT.1)
            {
                state.drop_first();
            }
            if message.is_lost() {
                self.store.lose(&mut state, 1);
                frame.comment = Some("1 message was dropped".to_owned());
                let data = Some(Kept::anyway(&self.store.account, dropped(1)));
                return Poll::Ready(Some(Frame { id: id(self.at), data, ..frame }));
            }
            return Poll::Ready(Some(Frame { id: id(self.at), data: Some(message), ..frame }));
        }
        if state.ended.is_some() {
            return Poll::Ready(None);
        }
        state.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        // Also a stream that was read to its end stays for a while: the connection may have broken with its
        // last message.
        self.session.used_by(false);
    }
}
impl EventStore {
    /// Reads what follows the message `at` (or the last one that was read), in place of whoever reads now.
    /// `None` for a number that was never given out.
    pub fn read(
        self: &Arc<Self>,
        session: &Arc<Session>,
        at: Option<u64>,
        until: Option<Until>,
    ) -> Option<Reader> {
        let mut state = self.lock();
        let at = at.unwrap_or(state.read);
        if at > state.last {
            return None;
        }
        state.turn += 1;
        state.wake();
        let turn = state.turn;
        drop(state);
        session.used_by(true);
        let (store, session) = (Arc::clone(self), Arc::clone(session));
        let retry = Some(RETRY + Duration::from_millis(getrandom::u64().unwrap_or(0) % JITTER));
        Some(Reader { store, session, at, turn, retry, until })
    }
}
