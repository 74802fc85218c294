//! Servers of a slice, which systemd starts: their cage, and the process at the other end of a socket.

pub(super) mod dialers;
pub(super) mod peer;
pub(super) mod unit;
