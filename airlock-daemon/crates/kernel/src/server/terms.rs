//! The terms on which servers are started: the same for all of them, and found out before the first.

use std::path::PathBuf;
use std::sync::Arc;

use super::spawn::Cell;
use crate::KernelError;
use crate::cgroup::Leaf;
use crate::confine::namespaces::Permitted;
use crate::confine::seccomp::{self, Sockets};
use crate::ebpf::pinning::Pinning;
use airlock_config::schema::{KernelMode, Pin, PinNetwork};

/// The terms that hold for every server.
#[derive(Debug)]
pub(crate) struct Terms {
    mode: KernelMode,
    permitted: Option<Permitted>,
    /// The programs of the cage are in force where pinned servers are.
    in_force: bool,
    hidden: Vec<PathBuf>,
}

impl Terms {
    /// A path that is hidden and not there yet, or cannot be resolved, is hidden under the name that is
    /// given.
    pub(crate) fn new(
        mode: KernelMode,
        permitted: Option<Permitted>,
        in_force: bool,
        hidden: impl IntoIterator<Item = PathBuf>,
    ) -> Self {
        let mut terms = Self { mode, permitted, in_force, hidden: Vec::new() };
        terms.hide(hidden);
        terms
    }

    /// Hides more from servers that are started from now on.
    pub(crate) fn hide(&mut self, paths: impl IntoIterator<Item = PathBuf>) {
        let resolved = |path: PathBuf| std::fs::canonicalize(&path).unwrap_or(path);
        self.hidden.extend(paths.into_iter().map(resolved));
    }

    /// A place for one server process.
    pub(crate) fn cell(
        &self,
        upstream: &str,
        pin: &Pin,
        leaf: Option<Leaf>,
        pinning: Option<Arc<Pinning>>,
    ) -> Result<Cell, KernelError> {
        let pinned = leaf.is_some() && self.in_force && pin.network == PinNetwork::None;
        let sockets = match pin.network {
            PinNetwork::Host => Sockets::All,
            PinNetwork::None if pinned => Sockets::Caged,
            PinNetwork::None => Sockets::Unix,
        };
        let filters = match self.mode {
            KernelMode::Off => None,
            KernelMode::Required | KernelMode::Preferred => {
                Some(seccomp::filters(sockets).map_err(KernelError::Filter)?)
            }
        };
        Ok(Cell {
            upstream: upstream.to_owned(),
            network: pin.network,
            hidden: self.hidden.clone(),
            filters,
            permitted: self.permitted,
            open_files: pin.open_files,
            tmp: pin.tmp,
            file_size: pin.file_size,
            strict: self.mode == KernelMode::Required,
            pinned,
            leaf,
            pinning,
        })
    }
}
