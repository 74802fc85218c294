//! The files that records go to, and the memory that they wait in.

pub(super) mod file;
pub(super) mod mapping;
pub(super) mod space;
pub(super) mod spool;
