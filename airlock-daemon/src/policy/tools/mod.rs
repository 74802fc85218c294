//! Tools of a policy's author: why it decides as it does, and as it would decide what is on record.

pub(super) mod explain;
pub(super) mod recorded;
pub(super) mod replay;
mod unprobed;
