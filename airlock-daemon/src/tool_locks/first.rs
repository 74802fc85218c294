//! The first lock of a server: all that it lists at its first use is trusted.

use std::collections::BTreeMap;

use airlock_tool_locks::definition::{Definition, Kind};
use airlock_tool_locks::lock_file::Server;

use super::locks::ToolLocks;

/// Lists of a server at its first use: whole ones, and for each of the others a clause on why nobody knows it.
pub type Lists = Vec<(Kind, Result<Vec<Definition>, String>)>;

impl ToolLocks {
    /// Locks all that a server lists at its first use; says if it has, since it has not where there is a lock
    /// already. A kind that is not among it, or not known, is never trusted at first use any more. Writes a
    /// file: not for a worker's thread.
    ///
    /// # Errors
    /// As for [`ToolLocks::reload`].
    pub(super) fn lock_first(&self, upstream: &str, bound_to: &str, lists: Lists) -> Result<bool, String> {
        let mut counts = Vec::new();
        let is_locked = self.write(|file| {
            if file.upstreams.contains_key(upstream) {
                return Ok(false);
            }
            let mut kinds = BTreeMap::new();
            for (kind, list) in lists {
                counts.push((kind, list.as_ref().map(Vec::len).map_err(String::clone)));
                let Ok(all) = list else { continue };
                kinds.insert(kind, all.into_iter().map(|one| (one.name.clone(), one)).collect());
            }
            file.upstreams.insert(upstream.to_owned(), Server { bound_to: bound_to.to_owned(), kinds });
            Ok(true)
        })?;
        for (kind, count) in counts {
            let list = kind.list();
            match count {
                Ok(count) => {
                    let reason = format!("trusted at first use: {count} of {list}");
                    tracing::info!(upstream, "tool locks: {reason}");
                    self.record_locked(upstream, kind, &reason);
                }
                Err(why) => tracing::warn!(
                    upstream,
                    "tool locks: {list} was not looked at, so what it says later is held back: {why}; let in what \
                     is good by `airlock tools approve`"
                ),
            }
        }
        Ok(is_locked)
    }

    /// Takes note that a server was not locked at its first use; why is a clause.
    pub(super) fn is_unlocked(&self, upstream: &str, why: &str) {
        tracing::warn!(upstream, "nothing is locked, so all is held back: {why}");
        self.faults().unlocked.insert(upstream.to_owned(), why.to_owned());
    }

    /// The servers that were not locked at their first use and have no lock yet, each with why.
    pub(super) fn unlocked(&self) -> BTreeMap<String, String> {
        let mut unlocked = self.faults().unlocked.clone();
        if let Ok(file) = self.in_force().as_ref() {
            unlocked.retain(|upstream, _| !file.upstreams.contains_key(upstream));
        }
        unlocked
    }
}
