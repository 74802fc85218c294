//! The abilities of this host, found out by trying them.

mod attempts;
mod canary;
pub(super) mod ladder;
pub(super) mod layers;
pub(super) mod permitted;
