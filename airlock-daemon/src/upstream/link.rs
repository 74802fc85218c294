//! One connection to one server, a message a line: requests out, answers matched, the server ended with the link.
//!
//! A link lives on the worker that opened it; its handle goes anywhere. Two tasks serve it, so that a read is never
//! cancelled: one reads and hands out answers, one writes. Messages that queue up while a write runs leave as one write.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tokio::sync::{Notify, mpsc};

use crate::mcp::message::{self, Incoming};
use crate::mcp::object::Object;
use crate::runtime::stream::{BoxStream, ReadHalf, WriteHalf, split};

use super::ask::Ask;
use super::error::UpstreamError;
use super::frame::Lines;
pub use super::handle::{Link, Pending};

/// Messages that may wait for the writer of one link.
const QUEUE: usize = 1024;
/// Replies that may wait for one slow reader; progress beyond it is dropped, a result never is.
pub(super) const REPLIES: usize = 32;
/// How long a server may take to exit by itself after its input was closed.
const GRACE: Duration = Duration::from_secs(2);
/// Longest parameters of a notification in bytes: many may wait for a slow client.
pub(super) const MAX_NOTIFICATION: usize = 64 * 1024;
/// How often a link that is closing looks whether somebody still waits.
const CLOSING: Duration = Duration::from_millis(100);
/// How long a server may leave its input unread.
const STALL: Duration = Duration::from_secs(30);

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

/// What a call takes of what its server says without naming a call: a legacy server on a pipe has no way to name one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Takes {
    /// The result alone, and progress that names the call.
    Result,
    /// Questions and log messages too.
    Everything,
}

/// What ended a link.
#[derive(Debug, Clone, Default)]
pub struct Ending {
    /// Exit status or I/O error, in words.
    pub how: String,
    /// The last line on standard output that was not MCP.
    pub rubbish: Option<String>,
    /// What went wrong, where it has a name already.
    pub error: Option<UpstreamError>,
}

enum Command {
    Request { id: u64, text: String, replies: mpsc::Sender<Reply> },
    Notify(String),
    Forget(u64),
}

/// A handle of a link; the link ends when the last one is dropped.
#[derive(Clone)]
pub struct PipeLink {
    commands: mpsc::Sender<Command>,
    shared: Arc<Shared>,
}

struct Shared {
    next_id: AtomicU64,
    alive: AtomicBool,
    ending: ArcSwapOption<Ending>,
    rubbish: ArcSwapOption<String>,
}

/// A call in flight; dropping it before its result tells the server that nobody waits any more.
pub struct PipePending {
    id: u64,
    replies: mpsc::Receiver<Reply>,
    commands: mpsc::Sender<Command>,
    shared: Arc<Shared>,
    done: bool,
}

/// What belongs to the tasks of one link.
pub struct Parts {
    /// The name of the upstream, for the log.
    pub upstream: Arc<str>,
    /// The server's input and output.
    pub stream: BoxStream,
    /// Longest message in bytes.
    pub limit: usize,
    /// The link ends when it was not used for so long; never when absent.
    pub idle: Option<Duration>,
    /// Ends the server and says how it ended; called once, off the worker's thread.
    pub end: Box<dyn FnOnce() -> String + Send>,
}

type Waiting = Rc<RefCell<HashMap<u64, mpsc::Sender<Reply>>>>;

impl PipeLink {
    /// Starts the tasks of a link on the current worker.
    pub fn start(parts: Parts) -> Self {
        let (commands, queue) = mpsc::channel(QUEUE);
        let shared = Arc::new(Shared {
            next_id: AtomicU64::new(1),
            alive: AtomicBool::new(true),
            ending: ArcSwapOption::empty(),
            rubbish: ArcSwapOption::empty(),
        });
        let (reader, writer) = split(parts.stream);
        let waiting = Waiting::default();
        let ended = Rc::new(Notify::new());
        let replies_to_server = commands.downgrade();
        tokio::task::spawn_local({
            let (waiting, ended, shared, upstream) =
                (Rc::clone(&waiting), Rc::clone(&ended), Arc::clone(&shared), Arc::clone(&parts.upstream));
            async move {
                let reading = Reading {
                    upstream,
                    waiting: &waiting,
                    shared: &shared,
                    server: replies_to_server,
                    limit: parts.limit,
                };
                let how = reading.run(reader).await;
                shared.alive.store(false, Ordering::Release);
                let rubbish = shared.rubbish.load_full().map(|text| text.as_ref().clone());
                shared.ending.store(Some(Arc::new(Ending { how, rubbish, error: None })));
                ended.notify_one();
            }
        });
        tokio::task::spawn_local({
            let shared = Arc::clone(&shared);
            async move {
                write(writer, queue, &waiting, &ended, parts.idle, &shared.alive).await;
                shared.alive.store(false, Ordering::Release);
                let status = tokio::task::spawn_blocking(parts.end).await.unwrap_or_default();
                let before = shared.ending.load_full().unwrap_or_default();
                let how = [before.how.as_str(), status.as_str()]
                    .into_iter()
                    .filter(|part| !part.is_empty())
                    .collect::<Vec<_>>();
                tracing::debug!(upstream = %parts.upstream, how = how.join(", "), "a connection to a server has ended");
                shared.ending.store(Some(Arc::new(Ending {
                    how: how.join(", "),
                    rubbish: before.rubbish.clone(),
                    error: None,
                })));
                // Only now do callers learn of the end, so that the error they report names the exit status.
                waiting.borrow_mut().clear();
            }
        });
        Self { commands, shared }
    }

    /// Whether the link can take a request.
    pub fn is_alive(&self) -> bool {
        self.shared.alive.load(Ordering::Acquire) && !self.commands.is_closed()
    }

    /// What ended the link, once it has ended.
    pub fn ending(&self) -> Ending {
        self.shared.ending()
    }

    /// Sends a request whose text `write` makes for the id it is given. `None` when the link has ended.
    pub async fn request(&self, _takes: Takes, write: impl FnOnce(u64) -> String) -> Option<PipePending> {
        let id = self.shared.next_id.fetch_add(1, Ordering::Relaxed);
        let (sender, replies) = mpsc::channel(REPLIES);
        self.commands.send(Command::Request { id, text: write(id), replies: sender }).await.ok()?;
        Some(PipePending {
            id,
            replies,
            commands: self.commands.clone(),
            shared: Arc::clone(&self.shared),
            done: false,
        })
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
    /// The next message of the call; `None` when the link ended before the result.
    pub async fn next(&mut self) -> Option<Reply> {
        let reply = self.replies.recv().await;
        if !matches!(reply, Some(Reply::Notification(..) | Reply::Ask(_))) {
            self.done = true;
        }
        reply
    }

    /// What ended the link, where it has ended.
    pub fn ending(&self) -> Ending {
        self.shared.ending()
    }
}

impl Drop for PipePending {
    fn drop(&mut self) {
        if !self.done {
            // A full queue means that the server does not read: it will not miss this either.
            let _ = self.commands.try_send(Command::Forget(self.id));
        }
    }
}

/// Writes until the link's handles are gone, it was idle too long, or the server is gone.
async fn write(
    mut writer: WriteHalf,
    mut queue: mpsc::Receiver<Command>,
    waiting: &Waiting,
    ended: &Notify,
    idle: Option<Duration>,
    alive: &AtomicBool,
) {
    let mut batch = Vec::new();
    loop {
        // Both sides of this `select!` may be cancelled without loss: neither is a read of the ring.
        let command = tokio::select! {
            () = ended.notified() => return,
            command = receive(&mut queue, waiting, idle) => command,
        };
        // Nobody is left, or it was idle: from here on requests go to a new process.
        let closing = command.is_none();
        if closing {
            alive.store(false, Ordering::Release);
            queue.close();
        }
        batch.clear();
        if let Some(command) = command {
            take(command, waiting, &mut batch);
        }
        while let Ok(command) = queue.try_recv() {
            take(command, waiting, &mut batch);
        }
        // A server that closed its input, or does not read it, gets no more; what it still says is read until its end.
        if !matches!(tokio::time::timeout(STALL, writer.write_all(&batch)).await, Ok(Ok(()))) {
            return;
        }
        if closing {
            break;
        }
    }
    // What slipped in while the queue was being closed is still answered.
    while !waiting.borrow().is_empty() {
        if tokio::time::timeout(CLOSING, ended.notified()).await.is_ok() {
            return;
        }
        waiting.borrow_mut().retain(|_, replies| !replies.is_closed());
    }
    let _ = writer.shutdown().await;
    let _ = tokio::time::timeout(GRACE, ended.notified()).await;
}

async fn receive(
    queue: &mut mpsc::Receiver<Command>,
    waiting: &Waiting,
    idle: Option<Duration>,
) -> Option<Command> {
    let Some(idle) = idle else { return queue.recv().await };
    loop {
        if let Ok(command) = tokio::time::timeout(idle, queue.recv()).await {
            return command;
        }
        // Who gave up waiting does not keep the process.
        waiting.borrow_mut().retain(|_, replies| !replies.is_closed());
        if waiting.borrow().is_empty() {
            return None;
        }
    }
}

fn take(command: Command, waiting: &Waiting, batch: &mut Vec<u8>) {
    let text = match command {
        Command::Request { id, text, replies } => {
            waiting.borrow_mut().insert(id, replies);
            text
        }
        Command::Notify(text) => text,
        Command::Forget(id) => {
            if waiting.borrow_mut().remove(&id).is_none() {
                return;
            }
            cancelled(id)
        }
    };
    frame(&text, batch);
}

/// Adds a message as one line. A line end inside of it would begin another message, one that nobody authorised: in JSON it
/// can only be white space between tokens, so it becomes a space.
fn frame(text: &str, batch: &mut Vec<u8>) {
    let start = batch.len();
    batch.extend_from_slice(text.as_bytes());
    let message = batch.get_mut(start..).unwrap_or_default();
    for byte in message.iter_mut().filter(|byte| matches!(byte, b'\n' | b'\r')) {
        *byte = b' ';
    }
    batch.push(b'\n');
}

/// Tells a legacy server that a call is not waited for any more.
pub(super) fn cancelled(id: u64) -> String {
    format!(
        r#"{{"jsonrpc":"2.0","method":"notifications/cancelled","params":{{"requestId":{id},"reason":"nobody waits for the answer"}}}}"#
    )
}

/// The reader of one link.
struct Reading<'a> {
    upstream: Arc<str>,
    waiting: &'a Waiting,
    shared: &'a Shared,
    server: mpsc::WeakSender<Command>,
    limit: usize,
}

impl Reading<'_> {
    async fn run(&self, mut reader: ReadHalf) -> String {
        let mut lines = Lines::default();
        loop {
            match reader.read(lines.buffer()).await {
                Ok(0) => return String::new(),
                Ok(_) => {}
                Err(error) => return format!("its output cannot be read: {error}"),
            }
            loop {
                match lines.next(self.limit) {
                    Ok(None) => break,
                    Ok(Some(line)) => self.message(line),
                    Err(_) => {
                        return format!(
                            "it sent a message longer than {} bytes (server.max_response_bytes)",
                            self.limit
                        );
                    }
                }
            }
        }
    }

    fn message(&self, line: &[u8]) {
        let parsed = std::str::from_utf8(line).map_err(|_| "not UTF-8".to_owned()).and_then(message::parse);
        match parsed {
            Ok(Incoming::Answer { id, outcome }) => {
                let Some(replies) = self.waiting.borrow_mut().remove(&id) else { return };
                let reply = match outcome {
                    Ok(result) => Reply::Result(result.get().to_owned()),
                    Err(error) => Reply::Error(error.get().to_owned()),
                };
                deliver(replies, reply);
            }
            Ok(Incoming::Notification { method, params }) => {
                self.notification(&method, params.map_or("{}", |p| p.get()));
            }
            Ok(Incoming::Request { id, method, .. }) => self.answer(id, &method),
            Err(reason) => {
                let shown: String = String::from_utf8_lossy(line).chars().take(120).collect();
                if self.shared.rubbish.swap(Some(Arc::new(shown.clone()))).is_none() {
                    tracing::warn!(upstream = %self.upstream, line = shown, reason,
                        "a line on the server's standard output is not MCP and was passed over; servers must log to standard error");
                }
            }
        }
    }

    /// Progress goes to the call whose number it carries; the caller puts the client's token back.
    fn notification(&self, method: &str, params: &str) {
        if params.len() > MAX_NOTIFICATION {
            tracing::debug!(upstream = %self.upstream, method, bytes = params.len(), "a notification was too long");
            return;
        }
        let waiting = self.waiting.borrow();
        match progress_of(method, params).and_then(|id| waiting.get(&id)) {
            Some(replies) => {
                let _ = replies.try_send(Reply::Notification(method.to_owned(), params.to_owned()));
            }
            None => {
                tracing::debug!(upstream = %self.upstream, method, "a notification that belongs to no call was dropped");
            }
        }
    }

    fn answer(&self, id: &str, method: &str) {
        if let Some(commands) = self.server.upgrade() {
            // A server that asks faster than it reads gets no answer rather than unbounded memory.
            let _ = commands.try_send(Command::Notify(answer(id, method)));
        }
    }
}

/// The call that a progress notification belongs to: our number is its token.
pub(super) fn progress_of(method: &str, params: &str) -> Option<u64> {
    if method != "notifications/progress" {
        return None;
    }
    Object::parse(params).ok()?.get("progressToken")?.parse().ok()
}

/// Answers what a server asks: we are alive, have no roots but the configured ones, and offer nothing else.
pub(super) fn answer(id: &str, method: &str) -> String {
    match method {
        "ping" => format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{}}}}"#),
        "roots/list" => format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"roots":[]}}}}"#),
        _ => format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":-32601,"message":"not offered"}}}}"#),
    }
}

/// Hands over a call's last reply. A channel full of progress gets it as soon as there is room.
fn deliver(replies: mpsc::Sender<Reply>, reply: Reply) {
    if let Err(mpsc::error::TrySendError::Full(reply)) = replies.try_send(reply) {
        tokio::task::spawn_local(async move {
            let _ = replies.send(reply).await;
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn whatever_a_message_holds_it_is_one_line(text in "[ -~\\n\\r\u{e9}]{0,80}") {
            let mut batch = b"{}\n".to_vec();
            frame(&text, &mut batch);
            prop_assert_eq!(memchr::memchr_iter(b'\n', &batch).count(), 2);
            prop_assert_eq!(memchr::memchr(b'\r', &batch), None);
            prop_assert!(batch.ends_with(b"\n"));
            prop_assert_eq!(batch.len(), 3 + text.len() + 1);
        }
    }
}
