//! One connection to one server, a message a line: requests out, answers matched, the server ended with the
//! link.
//!
//! A link lives on the worker that opened it; its handle goes anywhere. Two tasks serve it, so that a read is
//! never cancelled: one reads and hands out answers, one writes. Messages that queue up while a write runs
//! leave as one write.

pub(super) mod lease;
mod passing;
pub(in crate::upstream) mod reader;
mod shared;
mod usage;
mod writer;

use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::{Notify, mpsc};

use crate::runtime::stream::{BoxStream, split};

use self::lease::Lease;
use self::reader::Reading;
use self::shared::{Command, Failure, LinkShared, Waiter, Waiting};
use self::usage::GIVEN_UP;
use self::writer::Writing;
use crate::upstream::error::How;
use crate::upstream::hub::Hub;
use crate::upstream::message::asks::Asks;
use crate::upstream::message::briefing::Briefing;
use crate::upstream::message::reply::{Ending, REPLIES, Reply, Takes};

/// Messages that may wait for the writer of one link.
const QUEUE: usize = 1024;
/// A handle of a link; the link ends when the last one is dropped.
#[derive(Clone)]
pub struct PipeLink {
    commands: mpsc::Sender<Command>,
    shared: Arc<LinkShared>,
}

/// A call in flight; dropping it before its result tells the server that nobody waits any more.
pub struct PipePending {
    id: u64,
    replies: mpsc::Receiver<Reply>,
    commands: mpsc::Sender<Command>,
    shared: Arc<LinkShared>,
    failure: Failure,
    done: bool,
}

/// The parts of the tasks of one link.
pub struct Parts {
    /// The name of the upstream, for the log.
    pub upstream: Arc<str>,
    /// The server's input and output.
    pub stream: BoxStream,
    /// Longest message in bytes.
    pub limit: usize,
    /// The link ends when it was not used for so long; never when absent.
    pub idle: Option<Duration>,
    /// The listeners to it outside of calls.
    pub(in crate::upstream) hub: Arc<Hub>,
    /// Ends the server and says how it ended; called once, off the worker's thread.
    pub end: Box<dyn FnOnce() -> How + Send>,
}

/// The end of a server that was not started here: its connection is shut down, so that the reader lets go of
/// it even where the server keeps it open, and so that one that dials in sees the end.
pub(super) fn hang_up(handle: UnixStream, counted: impl Send + 'static) -> Box<dyn FnOnce() -> How + Send> {
    Box::new(move || {
        let _ = handle.shutdown(Shutdown::Both);
        drop(counted);
        How::default()
    })
}

impl PipeLink {
    /// Starts the tasks of a link on the current worker.
    pub fn start(parts: Parts) -> Self {
        let (commands, queue) = mpsc::channel(QUEUE);
        let shared = Arc::new(LinkShared::new());
        let asks = Arc::<Asks>::default();
        let (reader, writer) = split(parts.stream);
        let waiting = Waiting::default();
        let ended = Rc::new(Notify::new());
        let replies_to_server = commands.downgrade();
        tokio::task::spawn_local({
            let reader_task = Reading {
                upstream: Arc::clone(&parts.upstream),
                waiting: Rc::clone(&waiting),
                shared: Arc::clone(&shared),
                asks: Arc::clone(&asks),
                hub: Arc::clone(&parts.hub),
                server: replies_to_server,
                limit: parts.limit,
            };
            let (shared, ended) = (Arc::clone(&shared), Rc::clone(&ended));
            async move {
                let how = How::plain(reader_task.run(reader).await);
                shared.alive.store(false, Ordering::Release);
                let rubbish = shared.rubbish.load_full().map(|text| text.as_ref().clone());
                shared.ending.store(Some(Arc::new(Ending { how, rubbish, error: None })));
                ended.notify_one();
            }
        });
        tokio::task::spawn_local({
            let shared = Arc::clone(&shared);
            async move {
                let writer_task = Writing {
                    waiting: &waiting,
                    ended: &ended,
                    idle: parts.idle,
                    shared: &shared,
                    asks: &asks,
                    hub: &parts.hub,
                };
                writer_task.run(writer, queue).await;
                asks.withdraw_all();
                shared.alive.store(false, Ordering::Release);
                let How { status, words } = tokio::task::spawn_blocking(parts.end).await.unwrap_or_default();
                let before = shared.ending.load_full().unwrap_or_default();
                let given_up = if shared.usage.given_up.load(Ordering::Acquire) { GIVEN_UP } else { "" };
                let parts_of_it = [given_up, before.how.status.as_str(), status.as_str()];
                let known: Vec<_> = parts_of_it.into_iter().filter(|part| !part.is_empty()).collect();
                let how = How { status: known.join(", "), words };
                tracing::debug!(upstream = %parts.upstream, "a connection to a server has ended{how}");
                shared.ending.store(Some(Arc::new(Ending {
                    how,
                    rubbish: before.rubbish.clone(),
                    error: None,
                })));
                // Only now do callers learn of the end, so that the error they report names the exit status.
                waiting.borrow_mut().clear();
            }
        });
        Self { commands, shared }
    }

    /// True where the link can take a request.
    pub fn is_alive(&self) -> bool {
        self.shared.alive.load(Ordering::Acquire) && !self.commands.is_closed()
    }

    /// The cause of the link's end, once it has ended.
    pub fn ending(&self) -> Ending {
        self.shared.ending()
    }

    /// Sends a request whose text `write` makes for the id it is given. `None` when the link has ended.
    pub async fn request(&self, takes: Takes, write: impl FnOnce(u64) -> String) -> Option<PipePending> {
        let id = self.shared.next_id.fetch_add(1, Ordering::Relaxed);
        let (sender, replies) = mpsc::channel(REPLIES);
        // From here on it is in use, so that nobody takes it away.
        let pending = PipePending::new(id, replies, self);
        let waiter = Waiter { replies: sender, takes, failure: Arc::clone(&pending.failure) };
        self.commands.send(Command::Request { id, text: write(id), waiter }).await.ok()?;
        Some(pending)
    }

    /// The link as something that may be taken back.
    pub(super) fn lease(&self) -> Lease {
        Lease { commands: self.commands.downgrade(), shared: Arc::clone(&self.shared) }
    }

    /// True where the server has ended by itself.
    pub(in crate::upstream) fn is_lost(&self) -> bool {
        !self.is_alive() && !self.shared.retired.load(Ordering::Acquire)
    }

    /// The messages that the server was told besides its calls.
    pub(in crate::upstream) fn briefing(&self) -> &Briefing {
        &self.shared.briefing
    }

    /// Sends a notification; lost when the link has ended.
    pub async fn notify(&self, text: String) {
        let _ = self.commands.send(Command::Notify(text)).await;
    }
}

impl PipePending {
    fn new(id: u64, replies: mpsc::Receiver<Reply>, link: &PipeLink) -> Self {
        link.shared.usage.call_begins();
        let (commands, shared) = (link.commands.clone(), Arc::clone(&link.shared));
        Self { id, replies, commands, shared, failure: Failure::default(), done: false }
    }

    /// The next message of the call; `None` when the link ended before the result.
    pub async fn next(&mut self) -> Option<Reply> {
        let reply = self.replies.recv().await;
        if !matches!(reply, Some(Reply::Notification(..) | Reply::Ask(_))) {
            self.done = true;
        }
        reply
    }

    /// Why there is no result: what went wrong with this call alone, or what ended the link.
    pub fn ending(&self) -> Ending {
        match self.failure.get() {
            Some(error) => Ending { error: Some(error.clone()), ..Ending::default() },
            None => self.shared.ending(),
        }
    }
}

impl PipePending {
    /// Tells the server that nobody waits any more, unless the result has come.
    pub(super) fn give_up(&mut self) {
        if !std::mem::replace(&mut self.done, true) {
            // A full queue means that the server does not read: it will not miss this either.
            let _ = self.commands.try_send(Command::Forget(self.id));
        }
    }
}

impl Drop for PipePending {
    fn drop(&mut self) {
        self.shared.usage.call_ends();
        self.give_up();
    }
}
