//! The cgroups of servers, and the programs that refuse on them.

use super::cgroup::Cgroups;
use super::links::Links;
use super::pins::Pins;
use aya::Ebpf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The cgroups and what refuses on them. It stays while a cell does.
#[derive(Debug)]
pub(super) struct Pinning {
    // First: from its end on the programs end with this process again.
    pub(super) pins: Option<Pins>,
    pub(super) _programs: Option<Arc<Programs>>,
    pub(super) _links: Links,
    // Last: its directories can only go when nothing hangs on them.
    pub(crate) cgroups: Cgroups,
}

/// The loaded object: its programs, and the links that end with it.
#[derive(Debug)]
pub(super) struct Programs(pub(super) Mutex<Ebpf>);

impl Programs {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Ebpf> {
        // The state that it guards lives in the kernel; a panic elsewhere cannot have left it half changed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
