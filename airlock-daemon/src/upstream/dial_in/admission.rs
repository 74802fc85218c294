//! Who may dial in: processes of one user, in the slice that is pinned.

use std::sync::Arc;

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
    /// Judges a process by what the kernel noted when it connected. Asks the name service, which may take its time.
    ///
    /// # Errors
    /// Why it is not let in, as a sentence with its remedy.
    pub(super) fn judge(&self, peer: &Peer) -> Result<(), String> {
        let user = &self.user;
        match user_id(user) {
            Ok(Some(uid)) if uid == peer.uid() => {}
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
            Some(Ok(slice)) => slice.holds(peer),
        }
    }
}
