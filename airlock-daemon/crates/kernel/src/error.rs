//! The reasons for which a kernel half that is demanded does not start.

use super::cgroup::hierarchy::CgroupError;
use super::drop::error::DropError;
use super::ebpf::loader::LoadError;
use super::ebpf::pins::fault::PinsError;
use super::report::rung_name;
use super::slice::dialers::SliceError;
use airlock_config::schema::Rung;

/// Why the kernel half is not there.
#[derive(Debug, thiserror::Error)]
pub enum KernelError {
    /// `kernel.mode: required`, and the host gives less than the configuration demands.
    #[error(
        "this host pins servers on rung `{}`, and the configuration demands `{}`:{missing}\n\
         or set `kernel.mode: preferred` to start without it; `airlock kernel doctor` shows every layer",
        rung_name(*rung), rung_name(Some(*minimum))
    )]
    BelowMinimum {
        /// The rung that was proved.
        rung: Option<Rung>,
        /// The rung that is demanded.
        minimum: Rung,
        /// The layers that are missing, one a line.
        missing: String,
    },
    /// The cgroups.
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
    /// The early drop is configured, required, and does not work.
    #[error("early drop: {0}")]
    Drop(#[from] DropError),
    /// A socket that the units of the slice are to have a door to.
    #[error(
        "kernel.slice: no door to a socket can be opened: {0}; at most 1,024 can, to sockets that listen"
    )]
    Door(#[source] std::io::Error),
    /// The journal, to which `pin.sockets` gives a door.
    #[error(
        "pin.sockets: no door to `journal` can be opened: {path}: {error}; start {unit} before Airlock, and load the \
         kernel's module unix_diag, or remove `journal`, without which the output of the slice's units is lost"
    )]
    Journal {
        /// Where it should listen.
        path: &'static str,
        /// The unit that listens there.
        unit: &'static str,
        /// The fault there.
        error: std::io::Error,
    },
    /// The filter of system calls.
    #[error("the filter of system calls cannot be made: {0}; report this")]
    Filter(String),
    /// Pins of links that are not known to be ours.
    #[error("pinned links: {}; {}", .0, .0.remedy())]
    Pins(#[from] PinsError),
    /// The process that starts servers.
    #[error(
        "the process that starts servers does not answer: {0}; start airlock again, and report this if it stays so"
    )]
    Spawner(#[source] std::io::Error),
    /// The programs.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// `kernel.slice` cannot be pinned, or not on the rung that is demanded.
    #[error(transparent)]
    Slice(#[from] SliceError),
}
