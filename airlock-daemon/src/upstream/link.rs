//! One connection to one server, a message a line: requests out, answers matched, the server ended with the
//! link.
//!
//! A link lives on the worker that opened it; its handle goes anywhere. Two tasks serve it, so that a read is
//! never cancelled: one reads and hands out answers, one writes. Messages that queue up while a write runs
//! leave as one write.

mod lease;
mod reader;
mod writer;

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tokio::sync::{Notify, mpsc};

use crate::auth::principal::Identity;
use crate::mcp::client::ClientCapabilities;
use crate::mcp::depth;
use crate::mcp::error::code;
use crate::mcp::jsonrpc;
use crate::mcp::level::Level;
use crate::runtime::stream::{BoxStream, split};

use super::ask::Ask;
use super::asks::Asks;
use super::error::{How, UpstreamError};
pub use super::handle::{Link, Pending};
use super::hub::Hub;
pub(super) use lease::Lease;
use lease::{GIVEN_UP, Usage};
use reader::Reading;
pub(super) use reader::progress_of;
use writer::Writing;

/// Messages that may wait for the writer of one link.
const QUEUE: usize = 1024;
/// Replies that may wait for one slow reader; progress beyond it is dropped, a result never is.
pub(super) const REPLIES: usize = 32;
/// Longest parameters of a notification in bytes: many may wait for a slow client.
pub(super) const MAX_NOTIFICATION: usize = 64 * 1024;

/// One thing an upstream says about a call.
#[derive(Debug)]
pub enum Reply {
    /// A notification that belongs to the call: its method and its parameters as JSON text.
    Notification(String, String),
    /// The server asks its client something before it goes on.
    Ask(Ask),
    /// The result, as JSON text.
    Result(String),
    /// A JSON-RPC error object, as JSON text.
    Error(String),
}

impl Reply {
    /// In place of an answer that is nested too deep to be passed on: who reads it into a tree would run out
    /// of stack.
    pub(super) fn too_deep() -> Self {
        let (code, levels) = (code::INTERNAL_ERROR, depth::MAX);
        Self::Error(format!(
            r#"{{"code":{code},"message":"the server's answer is nested deeper than {levels} levels and was not passed on"}}"#
        ))
    }
}

/// The part that a call takes of what its server says without naming a call: a legacy server on a pipe has no
/// way to name one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Takes {
    /// The result alone, and progress that names the call.
    Result,
    /// The same for a list, whose entries are judged one by one: it may be nested deep.
    List,
    /// Questions and log messages too.
    Everything,
    /// All that a modern server says for as long as the request is open: it is a subscription.
    Changes,
}

/// The cause of a link's end.
#[derive(Debug, Clone, Default)]
pub struct Ending {
    /// Exit status or I/O error, and the last words of one that was started here.
    pub how: How,
    /// The last line on standard output that was not MCP.
    pub rubbish: Option<String>,
    /// The error, where it has a name already.
    pub error: Option<UpstreamError>,
}

/// The messages that a server was told besides its calls.
pub(super) struct Told {
    /// The questions that it may ask of its client, from `initialize` on.
    declared: ArcSwapOption<ClientCapabilities>,
    /// The level from which on it sends log messages: its place in [`Level::ALL`], or none of them.
    level: AtomicU8,
    /// The first principal that it served.
    first: OnceLock<Identity>,
    /// True where it has served others too.
    mixed: AtomicBool,
}

impl Default for Told {
    fn default() -> Self {
        Self {
            declared: ArcSwapOption::empty(),
            level: AtomicU8::new(u8::MAX),
            first: OnceLock::new(),
            mixed: AtomicBool::new(false),
        }
    }
}

impl Told {
    /// Notes that the server works for a principal from now on.
    pub(super) fn serves(&self, identity: &Identity) {
        if self.first.get_or_init(|| identity.clone()) != identity {
            self.mixed.store(true, Ordering::Release);
        }
    }

    /// True where the server has worked for several principals. Then what names no call is nobody's, for
    /// good: it may be about a call that was given up long ago.
    pub(super) fn is_mixed(&self) -> bool {
        self.mixed.load(Ordering::Acquire)
    }

    /// Notes what `initialize` declares.
    pub(super) fn declare(&self, capabilities: ClientCapabilities) {
        self.declared.store(Some(Arc::new(capabilities)));
    }

    /// Notes that the server has refused `initialize`: it is not a legacy one.
    pub(super) fn withdraw_declaration(&self) {
        self.declared.store(None);
    }

    /// The declared abilities; `None` before `initialize`, and for modern servers.
    pub(super) fn declared(&self) -> Option<ClientCapabilities> {
        self.declared.load().as_deref().copied()
    }

    /// Notes a level; says whether it is another than before.
    pub(super) fn level(&self, level: Level) -> bool {
        self.level.swap(level as u8, Ordering::AcqRel) != level as u8
    }

    /// Forgets the level: the server may not have taken it.
    pub(super) fn forget_level(&self) {
        self.level.store(u8::MAX, Ordering::Release);
    }
}

enum Command {
    Request {
        id: u64,
        text: String,
        waiter: Waiter,
    },
    Notify(String),
    Forget(u64),
    /// Somebody else needs the connection.
    GiveUp,
}

/// A call in flight.
struct Waiter {
    replies: mpsc::Sender<Reply>,
    takes: Takes,
    /// Why there will be no answer, though the link goes on.
    failure: Failure,
}

/// Set once, before the call is let go.
type Failure = Arc<OnceLock<UpstreamError>>;

/// A handle of a link; the link ends when the last one is dropped.
#[derive(Clone)]
pub struct PipeLink {
    commands: mpsc::Sender<Command>,
    shared: Arc<Shared>,
}

struct Shared {
    next_id: AtomicU64,
    alive: AtomicBool,
    /// Nobody used it any more, so it was ended from this side.
    retired: AtomicBool,
    ending: ArcSwapOption<Ending>,
    rubbish: ArcSwapOption<String>,
    /// True once the log knows that answers of the server are wrong.
    is_unfit_told: AtomicBool,
    usage: Usage,
    told: Told,
}

impl Shared {
    /// The state of a link that begins.
    fn new() -> Self {
        Self {
            next_id: AtomicU64::new(1),
            alive: AtomicBool::new(true),
            retired: AtomicBool::new(false),
            ending: ArcSwapOption::empty(),
            rubbish: ArcSwapOption::empty(),
            is_unfit_told: AtomicBool::new(false),
            usage: Usage::new(),
            told: Told::default(),
        }
    }
}

/// A call in flight; dropping it before its result tells the server that nobody waits any more.
pub struct PipePending {
    id: u64,
    replies: mpsc::Receiver<Reply>,
    commands: mpsc::Sender<Command>,
    shared: Arc<Shared>,
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
    pub(super) hub: Arc<Hub>,
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

type Waiting = Rc<RefCell<HashMap<u64, Waiter>>>;

impl PipeLink {
    /// Starts the tasks of a link on the current worker.
    pub fn start(parts: Parts) -> Self {
        let (commands, queue) = mpsc::channel(QUEUE);
        let shared = Arc::new(Shared::new());
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
    pub(super) fn is_lost(&self) -> bool {
        !self.is_alive() && !self.shared.retired.load(Ordering::Acquire)
    }

    /// The messages that the server was told besides its calls.
    pub(super) fn told(&self) -> &Told {
        &self.shared.told
    }

    /// Sends a notification; lost when the link has ended.
    pub async fn notify(&self, text: String) {
        let _ = self.commands.send(Command::Notify(text)).await;
    }
}

impl Shared {
    fn ending(&self) -> Ending {
        let mut ending = self.ending.load_full().map(|ending| ending.as_ref().clone()).unwrap_or_default();
        if ending.rubbish.is_none() {
            ending.rubbish = self.rubbish.load_full().map(|text| text.as_ref().clone());
        }
        ending
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

impl Drop for PipePending {
    fn drop(&mut self) {
        self.shared.usage.call_ends();
        if !self.done {
            // A full queue means that the server does not read: it will not miss this either.
            let _ = self.commands.try_send(Command::Forget(self.id));
        }
    }
}

/// Tells a legacy server that a call is not waited for any more.
pub(super) fn cancelled(id: u64) -> String {
    let params = format!(r#"{{"requestId":{id},"reason":"nobody waits for the answer"}}"#);
    jsonrpc::notification("notifications/cancelled", &params)
}
