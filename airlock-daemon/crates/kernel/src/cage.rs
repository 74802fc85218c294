//! The cage: servers that this daemon starts, the units of its slice, and what the kernel refused to either.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use airlock_ebpf::Hook;
use parking_lot::{Mutex, MutexGuard};

use super::cgroup::{Cgroups, LIMITS, Limit};
use super::command::ServerCommand;
use super::ebpf::events::{self, Denied, Events, Names};
use super::ebpf::loader;
use super::ebpf::pinning::{Pinning, Programs};
use super::ebpf::refused::{Refusals, Refused};
use super::error::KernelError;
use super::process::users::is_root_by_omission;
use super::server::ServerProcess;
use super::server::spawn::Cell;
use super::server::terms::Terms;
use super::slice::dialers::{Slice, SliceError};
use super::spawner::Spawner;
use airlock_config::schema::{Pin, Rung};

/// All that confines servers. It ends with this value and its cells, but for what holds the units of a slice:
/// that stays for the next daemon unless [`Cage::end`] was called.
#[derive(Debug)]
pub struct Cage {
    pub(super) programs: Option<Arc<Programs>>,
    pub(super) pinning: Option<Arc<Pinning>>,
    pub(super) names: Names,
    pub(super) refusals: Refusals,
    pub(super) terms: Mutex<Terms>,
    pub(super) slice: Option<Result<Slice, SliceError>>,
    pub(super) spawner: Option<Spawner>,
    /// A server for which no user is named would run as root; asked of the process that starts servers.
    pub(super) root_by_omission: bool,
    /// Which limits were said not to be enforced: a bit for each of [`LIMITS`].
    pub(super) limits_told: AtomicU8,
    /// The rung that the configuration demands.
    pub(super) minimum: Rung,
}

impl Cage {
    /// Hides files and directories from every server that is started from now on. A path that is not there
    /// yet, or cannot be resolved, is hidden under the name that is given.
    pub fn hide(&self, paths: impl IntoIterator<Item = PathBuf>) {
        self.terms().hide(paths);
    }

    fn terms(&self) -> MutexGuard<'_, Terms> {
        self.terms.lock()
    }

    /// Starts a server: by the process that starts servers, which has its command in a table, or here, by
    /// `command`.
    ///
    /// # Errors
    /// Why it does not run, with the remedy.
    pub fn start_server(
        &self,
        upstream: &str,
        pin: &Pin,
        command: impl FnOnce() -> Result<ServerCommand, String>,
    ) -> Result<ServerProcess, String> {
        let cell = self.cell(upstream, pin).map_err(|error| error.to_string())?;
        let Some(spawner) = &self.spawner else {
            return cell.spawn(&command()?).map_err(|error| error.to_string());
        };
        cell.spawn_by(spawner).map_err(|error| error.to_string())
    }

    /// True where mode `required` starts no server for which this user is named, or none. May ask the name
    /// service.
    pub fn is_root_by_omission(&self, user: Option<&str>) -> bool {
        match &self.spawner {
            Some(_) => user.is_none() && self.root_by_omission,
            None => is_root_by_omission(user),
        }
    }

    /// Why no server can be started any more, whatever it is, if that is so.
    pub fn trouble(&self) -> Option<String> {
        self.spawner.as_ref().and_then(Spawner::trouble)
    }

    /// A place for one server process. Without cgroups (mode `off`, or `preferred` on a host without them)
    /// the cell has none, and only the steps between fork and exec confine the process.
    pub fn cell(&self, upstream: &str, pin: &Pin) -> Result<Cell, KernelError> {
        self.refusals.forget(upstream);
        let leaf = match &self.pinning {
            Some(pinning) => {
                self.tell_of_limits(&pinning.cgroups, upstream, pin);
                let leaf = pinning.cgroups.leaf(upstream, pin)?;
                self.names.remember(leaf.id()?, leaf.dir().to_path_buf(), upstream);
                Some(leaf)
            }
            None => None,
        };
        self.terms().cell(upstream, pin, leaf, self.pinning.clone())
    }

    /// Says which limits are not enforced, each once aloud.
    fn tell_of_limits(&self, cgroups: &Cgroups, upstream: &str, pin: &Pin) {
        for (place, Limit { controller, key, is_set }) in LIMITS.into_iter().enumerate() {
            if !is_set(pin) || cgroups.has(controller) {
                continue;
            }
            if self.limits_told.fetch_or(1 << place, Ordering::Relaxed) & (1 << place) == 0 {
                tracing::warn!(
                    upstream,
                    controller,
                    "{key} is not enforced: this controller is not available in cgroup v2 here; run as a systemd service with Delegate=yes on a host with unified cgroups"
                );
            } else {
                tracing::debug!(upstream, controller, "{key} is not enforced");
            }
        }
    }

    /// The slice whose units may dial in, where one is configured.
    pub fn slice(&self) -> Option<Result<&Slice, SliceError>> {
        self.slice.as_ref().map(|slice| slice.as_ref().map_err(Clone::clone))
    }

    /// The same, if its units stand where the configuration demands.
    pub fn fitting_slice(&self) -> Option<Result<&Slice, SliceError>> {
        let minimum = self.minimum;
        self.slice().map(|slice| slice.and_then(|slice| slice.reaches(minimum).map(|()| slice)))
    }

    /// True where the slice's units connect to nothing but what a door is opened to.
    pub(super) fn has_doors(&self) -> bool {
        self.slice.as_ref().is_some_and(|slice| slice.as_ref().is_ok_and(Slice::has_doors))
    }

    /// How often each hook refused something to a server since the start; nothing without the programs.
    pub fn denied(&self) -> Result<Vec<(Hook, u64)>, KernelError> {
        let Some(programs) = &self.programs else { return Ok(Vec::new()) };
        Ok(loader::denied(&programs.lock())?.to_vec())
    }

    /// The sum of what was refused to the processes of a server since one was last started; none where
    /// nothing was.
    pub fn refused(&self, upstream: &str) -> Option<Refused> {
        self.refusals.of(upstream)
    }

    /// The same after what the kernel has told so far is read; blocks for half a second at most.
    pub fn refused_by_now(&self, upstream: &str) -> Option<Refused> {
        self.refusals.settle();
        self.refused(upstream)
    }

    /// Tells of each refusal, for ever; run it on the control thread. Returns at once where there are no
    /// programs, or when it runs already.
    ///
    /// `tell` is given what was refused; `untold` how many refusals were not told, because they were too
    /// many.
    pub async fn watch_denials(&self, mut tell: impl FnMut(Denied), mut untold: impl FnMut(u64)) {
        let Some(programs) = self.programs.clone() else { return };
        let Some(mut events) = Events::take(&mut programs.lock()) else { return };
        let mut asked = self.refusals.read();
        let mut tell = |event: &airlock_ebpf::Event| {
            if let Some(denied) = self.names.name(event) {
                self.refusals.count(&denied);
                tell(denied);
            }
        };
        let mut lost = 0;
        // The count of events too many to tell comes after those that were told, so it is asked for as well.
        let mut second = tokio::time::interval(std::time::Duration::from_secs(1));
        second.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let told = tokio::select! {
                told = events.next(&mut tell) => told,
                Some(done) = asked.recv() => {
                    events.drain(&mut tell);
                    // Whoever asked may have given up.
                    let _ = done.send(());
                    Ok(())
                }
                _ = second.tick() => Ok(()),
            };
            if let Err(error) = told {
                tracing::warn!(%error, "events of the kernel programs cannot be read any more");
                return;
            }
            let now = events::lost(&programs.lock());
            if now > lost {
                untold(now - lost);
                lost = now;
            }
        }
    }

    /// The end that was asked for: what would hold servers and units when this process is gone is taken back,
    /// so that it ends with this value. Without it the units of a slice stay in their cage, whatever the
    /// process dies of, until the next one starts.
    pub fn end(&self) {
        if let Some(pins) = self.pinning.as_ref().and_then(|pinning| pinning.pins.as_ref()) {
            pins.remove();
        }
        if let Some(Ok(slice)) = &self.slice {
            slice.unpin();
        }
    }
}
