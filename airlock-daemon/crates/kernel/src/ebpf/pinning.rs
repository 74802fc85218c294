//! The cgroups of servers, and the programs that refuse on them.

use super::links::Links;
use super::pins::Pins;
use crate::cgroup::Cgroups;
use aya::Ebpf;
use parking_lot::{Mutex, MutexGuard};
use std::sync::Arc;

/// The cgroups and what refuses on them. It stays while a cell does.
#[derive(Debug)]
pub(crate) struct Pinning {
    // First: from its end on the programs end with this process again.
    pub(crate) pins: Option<Pins>,
    pub(crate) _programs: Option<Arc<Programs>>,
    pub(crate) _links: Links,
    // Last: its directories can only go when nothing hangs on them.
    pub(crate) cgroups: Cgroups,
}

/// The loaded object: its programs, and the links that end with it.
#[derive(Debug)]
pub(crate) struct Programs(pub(crate) Mutex<Ebpf>);

impl Programs {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Ebpf> {
        // The state that it guards lives in the kernel; a panic elsewhere cannot have left it half changed.
        self.0.lock()
    }
}
