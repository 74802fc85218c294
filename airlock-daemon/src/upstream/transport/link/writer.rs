//! The writer of one link: messages that queue up while a write runs leave as one write.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::{Notify, mpsc};

use crate::runtime::stream::WriteHalf;

use super::shared::{Command, LinkShared, Waiting};
use crate::upstream::hub::Hub;
use crate::upstream::message::asks::Asks;
use crate::upstream::message::reply::cancelled;

/// How long a server may take to exit by itself after its input was closed.
const GRACE: Duration = Duration::from_secs(2);
/// How often a link that is closing looks whether somebody still waits.
const CLOSING: Duration = Duration::from_millis(100);
/// How long a server may leave its input unread.
const STALL: Duration = Duration::from_secs(30);

/// The state that the writer of one link looks at.
pub(super) struct Writing<'a> {
    pub(super) waiting: &'a Waiting,
    pub(super) ended: &'a Notify,
    pub(super) idle: Option<Duration>,
    pub(super) shared: &'a LinkShared,
    pub(super) asks: &'a Arc<Asks>,
    pub(super) hub: &'a Hub,
}

impl Writing<'_> {
    /// Writes until the link's handles are gone, it was idle too long or is given up, or the server is gone.
    pub(super) async fn run(&self, mut writer: WriteHalf, mut queue: mpsc::Receiver<Command>) {
        let Self { waiting, ended, shared, .. } = self;
        let mut batch = Vec::new();
        loop {
            // Both sides of this `select!` may be cancelled without loss: neither is a read of the ring.
            let command = tokio::select! {
                () = ended.notified() => return,
                command = self.receive(&mut queue) => command,
            };
            // A server that has something in flight by now is not given up.
            let given_up = matches!(command, Some(Command::GiveUp));
            if given_up && self.is_waited_for() {
                continue;
            }
            // Nobody is left, or it was idle: from here on requests go to a new process.
            let closing = command.is_none() || given_up;
            if closing {
                // Whoever loses a connection that was given up is told so.
                shared.usage.given_up.store(given_up, Ordering::Release);
                shared.retired.store(!given_up, Ordering::Release);
                shared.alive.store(false, Ordering::Release);
                queue.close();
            }
            batch.clear();
            if let Some(command) = command {
                take(command, waiting, &mut batch);
            }
            while let Ok(command) = queue.try_recv() {
                take(command, waiting, &mut batch);
            }
            // A server that closed its input, or does not read it, gets no more; what it still says is read
            // until its end.
            if !matches!(tokio::time::timeout(STALL, writer.write_all(&batch)).await, Ok(Ok(()))) {
                return;
            }
            if closing {
                break;
            }
        }
        // A request that slipped in while the queue was being closed is still answered.
        while !waiting.borrow().is_empty() {
            if tokio::time::timeout(CLOSING, ended.notified()).await.is_ok() {
                return;
            }
            waiting.borrow_mut().retain(|_, waiter| !waiter.replies.is_closed());
        }
        let _ = writer.shutdown().await;
        let _ = tokio::time::timeout(GRACE, ended.notified()).await;
    }

    async fn receive(&self, queue: &mut mpsc::Receiver<Command>) -> Option<Command> {
        let Some(idle) = self.idle else { return queue.recv().await };
        loop {
            if let Ok(command) = tokio::time::timeout(idle, queue.recv()).await {
                return command;
            }
            // A client that listens keeps the process.
            if !self.is_waited_for() && !self.hub.is_attended() {
                return None;
            }
        }
    }

    /// True where somebody waits for the server, or the server for somebody. A caller that gave up waiting
    /// does not count.
    fn is_waited_for(&self) -> bool {
        self.waiting.borrow_mut().retain(|_, waiter| !waiter.replies.is_closed());
        !self.waiting.borrow().is_empty() || !self.asks.is_empty()
    }
}

fn take(command: Command, waiting: &Waiting, batch: &mut Vec<u8>) {
    let text = match command {
        Command::Request { id, text, waiter } => {
            waiting.borrow_mut().insert(id, waiter);
            text
        }
        Command::Notify(text) => text,
        // It comes with others, so it is in use.
        Command::GiveUp => return,
        Command::Forget(id) => {
            if waiting.borrow_mut().remove(&id).is_none() {
                return;
            }
            cancelled(id)
        }
    };
    frame(&text, batch);
}

/// Adds a message as one line. A line end inside of it would begin another message, one that nobody
/// authorised: in JSON it can only be white space between tokens, so it becomes a space.
fn frame(text: &str, batch: &mut Vec<u8>) {
    let start = batch.len();
    batch.extend_from_slice(text.as_bytes());
    let message = batch.get_mut(start..).unwrap_or_default();
    for byte in message.iter_mut().filter(|byte| matches!(byte, b'\n' | b'\r')) {
        *byte = b' ';
    }
    batch.push(b'\n');
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
