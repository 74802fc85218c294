//! What systemd is told about the daemon's state (`sd_notify`); nothing happens where `NOTIFY_SOCKET` is not set.

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

fn send(state: &[(&str, &str)]) {
    if let Err(error) = daemon::notify(state.iter()) {
        tracing::warn!("systemd was not told {}: {error}", state.first().map_or("", |(name, _)| name));
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
