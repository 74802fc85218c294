//! Admission to the socket: processes of one user, of one unit where the configuration names it, in the slice
//! that is pinned.

use std::sync::Arc;

use crate::kernel::{KernelHalf, Peer, is_of_unit, user_id};

/// The rule of who is let in on one socket.
pub(super) struct Admission {
    /// The user's name; its number is asked for each time, since users of units (`DynamicUser=`) come and go.
    pub(super) user: String,
    /// The unit of which it has to be a process; any where there is none.
    pub(super) unit: Option<String>,
    /// True where the process has to be pinned.
    pub(super) is_pinned: bool,
    pub(super) kernel: Arc<KernelHalf>,
}

impl Admission {
    /// Judges a process by what the kernel noted when it connected. Asks the name service, which may take its
    /// time.
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
        // Nothing is pinned where there is no slice (`kernel.mode: off`), which the log and `airlock status`
        // say.
        if let Some(slice) = self.kernel.slice().filter(|_| self.is_pinned) {
            slice.as_ref().map_err(ToString::to_string)?.holds(peer)?;
        }
        self.unit.as_deref().map_or(Ok(()), |unit| is_of_unit(peer, unit))
    }
}
