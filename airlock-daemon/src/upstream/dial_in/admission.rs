//! Who may dial in: processes of one user, in the slice that is pinned.

use std::sync::Arc;

use rustix::process::Pid;
use tokio::net::unix::UCred;

use crate::kernel::{KernelHalf, Peer, user_id};

/// Who is let in on one socket.
pub(super) struct Admission {
    /// The user's name; its number is asked for each time, since users of units (`DynamicUser=`) come and go.
    pub(super) user: String,
    /// Whether the process has to be pinned.
    pub(super) is_pinned: bool,
    pub(super) kernel: Arc<KernelHalf>,
}

impl Admission {
    /// Judges a process by what the kernel noted when it connected.
    ///
    /// # Errors
    /// Why it is not let in, as a sentence with its remedy.
    pub(super) fn judge(&self, credentials: UCred) -> Result<(), String> {
        let user = &self.user;
        match user_id(user) {
            Ok(Some(uid)) if uid == credentials.uid() => {}
            Ok(Some(uid)) => {
                return Err(format!(
                    "its user is not `{user}` (uid {uid}); correct `user` or the unit's User="
                ));
            }
            Ok(None) => return Err(format!("there is no user `{user}`; create it or correct `user`")),
            Err(error) => return Err(format!("the user `{user}` cannot be looked up: {error}")),
        }
        if !self.is_pinned {
            return Ok(());
        }
        match self.kernel.slice() {
            // Nothing is pinned (`kernel.mode: off`), which the log and `airlock status` say.
            None => Ok(()),
            Some(Err(error)) => Err(error.to_string()),
            Some(Ok(slice)) => {
                let gone = |_| "it has ended".to_owned();
                slice.holds(&pid(credentials).map(Peer::of).ok_or_else(|| gone(()))?.map_err(|_| gone(()))?)
            }
        }
    }
}

/// The process in a few words, for log and audit.
pub(super) fn describe(credentials: UCred) -> String {
    let name = pid(credentials).and_then(|pid| Peer::of(pid).ok()).map(|peer| peer.name());
    let (pid, uid) = (credentials.pid().unwrap_or_default(), credentials.uid());
    format!("pid {pid} ({}), uid {uid}", name.unwrap_or_default())
}

/// Its number as seen from here; none for one outside of our namespace.
fn pid(credentials: UCred) -> Option<Pid> {
    credentials.pid().filter(|pid| *pid > 0).and_then(Pid::from_raw)
}
