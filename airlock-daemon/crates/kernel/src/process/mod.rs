//! Processes as the kernel makes and ends them: birth, streams, users, capabilities, and the words between a
//! parent and its child.

pub(super) mod clone;
mod end_channel;
pub(super) mod exit;
pub(super) mod init;
pub(super) mod privileges;
mod shed;
pub mod step;
pub(super) mod streams;
pub(super) mod users;
pub(super) mod wire;
