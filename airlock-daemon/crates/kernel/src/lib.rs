//! The kernel half: servers are pinned by cgroup programs, abusive sources are dropped by XDP.
//!
//! It is told what to do (give me a cell, drop this address) and knows nothing of HTTP or MCP. The abilities
//! of a host are found out by really attaching the programs and sending a process to break out ([`Report`]),
//! never from a version or a file.

mod cage;
mod cgroup;
pub mod command;
mod confine;
mod directories;
mod door;
mod drop;
mod ebpf;
mod error;
mod half;
mod netlink;
mod probe;
pub mod process;
pub mod promises;
mod purpose;
mod report;
mod server;
mod slice;
pub mod spawner;
pub mod spawner_process;

pub use airlock_ebpf::{Hook, Verdict};

pub use self::cage::Cage;
pub use self::cgroup::hierarchy::{CgroupError, swap_in_reach};
pub use self::cgroup::{LIMITS, Limit};
pub use self::command::{DEFAULT_PATH, ServerCommand, SpawnError};
pub use self::confine::seccomp::confine_daemon;
pub use self::door::Door;
pub use self::drop::error::DropError;
pub use self::drop::interfaces::{Attached, exists as interface_exists};
pub use self::drop::network::protected;
pub use self::drop::sockets::SocketsError;
pub use self::drop::{Blocked, EarlyDrop, Reason, Stage};
pub use self::ebpf::events::Denied;
pub use self::ebpf::loader::LoadError;
pub use self::ebpf::pins::fault::PinsError;
pub use self::ebpf::refused::Refused;
pub use self::error::KernelError;
pub use self::half::KernelHalf;
pub use self::process::exit::Exit;
pub use self::process::privileges::{keep_for_start, keep_nothing};
pub use self::process::step::StartStep;
pub use self::process::users::{ROOT_BY_OMISSION, has_default_user, is_root_by_omission};
pub use self::report::{Layer, Report};
pub use self::server::ServerProcess;
pub use self::server::spawn::Cell;
pub use self::slice::dialers::{Slice, SliceError, user_id};
pub use self::slice::peer::Peer;
pub use self::slice::unit::is_of_unit;
pub use self::spawner::Spawner;

/// Tests that cannot run here say so in the same way everywhere.
#[cfg(test)]
#[path = "../../../../tests/src/skip.rs"]
mod skip;
