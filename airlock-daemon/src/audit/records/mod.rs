//! Records: their fields, their one line, and the hashes that chain them.

pub(super) mod chain;
pub(super) mod event;
pub mod hash;
pub(super) mod input;
pub(super) mod line;
pub(super) mod message;
pub(super) mod record;
