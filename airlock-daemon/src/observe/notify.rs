//! The messages to systemd about the daemon's state (`sd_notify`); nothing happens where `NOTIFY_SOCKET` is
//! not set.
//!
//! A thread of its own tells it, in order: a manager that does not read its socket holds up nobody else.

use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use systemd::daemon::{self, STATE_READY, STATE_RELOADING, STATE_STATUS, STATE_STOPPING};

/// The daemon serves. `status` is the line that `systemctl status` shows.
pub fn ready(status: &str) {
    send(&[(STATE_READY, "1"), (STATE_STATUS, &line(status))]);
}

/// The line that `systemctl status` shows.
pub fn status(status: &str) {
    send(&[(STATE_STATUS, &line(status))]);
}

/// A new configuration is being read; [`ready`] must follow, whether it was taken or not.
pub fn reloading() {
    let now = clock_gettime(ClockId::Monotonic);
    let usec = (i128::from(now.tv_sec) * 1_000_000 + i128::from(now.tv_nsec) / 1_000).to_string();
    send(&[(STATE_RELOADING, "1"), ("MONOTONIC_USEC", &usec)]);
}

/// The daemon ends.
pub fn stopping(status: &str) {
    send(&[(STATE_STOPPING, "1"), (STATE_STATUS, &line(status))]);
}

/// How many messages may wait for the manager.
const WAITING: usize = 64;
/// How long the end of the process waits until it has been told.
const FLUSH: Duration = Duration::from_secs(1);

/// A message, or the question whether all before it have been told.
enum Message {
    State(Vec<(&'static str, String)>),
    Flush(SyncSender<()>),
}

/// The queue of the thread; none where there is nobody to tell, or no thread could be started.
static QUEUE: OnceLock<Option<SyncSender<Message>>> = OnceLock::new();

fn send(state: &[(&'static str, &str)]) {
    let queue = QUEUE.get_or_init(|| {
        std::env::var_os("NOTIFY_SOCKET")?;
        let (queue, messages) = sync_channel(WAITING);
        let thread = std::thread::Builder::new().name("airlock-notify".to_owned());
        let started = thread.spawn(move || tell(&messages));
        started
            .inspect_err(|error| tracing::warn!("systemd is told nothing, for want of a thread: {error}"))
            .ok()?;
        Some(queue)
    });
    let Some(queue) = queue else { return };
    let state = state.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
    if queue.try_send(Message::State(state)).is_err() {
        tracing::warn!("systemd does not read what it is told ({WAITING} messages wait)");
    }
}

/// Waits until systemd has been told everything, at most a second.
pub fn flush() {
    let Some(Some(queue)) = QUEUE.get() else { return };
    let (done, told) = sync_channel(1);
    if queue.try_send(Message::Flush(done)).is_ok() {
        // Told, or too late: there is nothing left to wait for.
        let _ = told.recv_timeout(FLUSH);
    }
}

/// The thread.
fn tell(messages: &Receiver<Message>) {
    for message in messages {
        match message {
            Message::State(state) => {
                if let Err(error) = daemon::notify(state.iter()) {
                    let what = state.first().map_or("", |(name, _)| name);
                    tracing::warn!("systemd was not told {what}: {error}");
                }
            }
            Message::Flush(done) => {
                // Nobody waits any more where this fails.
                let _ = done.try_send(());
            }
        }
    }
}

/// One line, so that a status cannot carry a second assignment.
fn line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::os::unix::net::UnixDatagram;
    use std::process::Command;

    use super::*;

    /// The environment is set for a child that runs this same test, because changing one's own is not sound.
    #[test]
    fn states_reach_the_socket() {
        if std::env::var_os("AIRLOCK_TEST_NOTIFY").is_some() {
            ready("listening on\nREADY=0");
            reloading();
            status("two");
            stopping("finishing");
            flush();
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "observe::notify::tests::states_reach_the_socket"])
            .env("AIRLOCK_TEST_NOTIFY", "1")
            .env("NOTIFY_SOCKET", &path)
            .output()
            .unwrap();
        assert!(child.status.success(), "{}", String::from_utf8_lossy(&child.stdout));
        socket.set_nonblocking(true).unwrap();
        let next = || {
            let mut buffer = [0; 512];
            let length = socket.recv(&mut buffer).unwrap();
            String::from_utf8_lossy(&buffer[..length]).into_owned()
        };
        assert_eq!(next(), "READY=1\nSTATUS=listening on READY=0");
        let reloading = next();
        let usec = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap();
        assert!(usec.parse::<u64>().unwrap() > 0);
        assert_eq!(next(), "STATUS=two");
        assert_eq!(next(), "STOPPING=1\nSTATUS=finishing");
    }

    #[test]
    fn without_a_socket_nothing_happens() {
        if std::env::var_os("NOTIFY_SOCKET").is_none() {
            assert!(!daemon::notify([(STATE_STATUS, "x")].iter()).unwrap());
        }
    }
}
