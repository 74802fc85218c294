//! The programs that pin a server: what they refuse, they refuse to every process below a cage, whatever its
//! user.
//!
//! - `ip`: cgroup hooks of IP sockets, and of packets as a belt;
//! - `unix`: cgroup hooks of unix sockets;
//! - `lsm`: the hooks that seal a cage, once for cgroups and once for the whole host;
//! - `guard`: nobody in a cage comes into another cgroup;
//! - `signals`: nobody in a cage signals who is not of the same server or unit;
//! - `layout`: where the last three find what they look at.
//!
//! Each refusal counts and, within a pace, is told to the daemon. The line for the log is written only where
//! the loader set the log level to `debug`: the level is read-only data, so that the verifier removes the
//! whole branch otherwise.

mod guard;
mod ip;
mod layout;
mod lsm;
mod refusal;
mod signals;
mod unix;
