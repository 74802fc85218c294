//! Directories of server processes: claimed by the daemon that made them, and removed after it.

pub(super) mod claim;
pub(super) mod own_dir;
mod sweep;
