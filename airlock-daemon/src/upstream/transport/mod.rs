//! Links to servers: lines over a pipe or a socket, or Streamable HTTP.

pub mod connect;
pub mod dial_in;
mod flood;
pub mod frame;
pub mod handle;
pub mod http;
mod intake;
mod level;
pub mod link;
mod long;
pub mod processes;
mod stderr;
pub mod stdio;
pub mod unix;
pub(super) mod watched;
