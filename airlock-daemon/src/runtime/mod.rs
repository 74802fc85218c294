//! Threads, sockets and time: thread-per-core workers over `io_uring`, with an epoll twin behind the same
//! trait.

pub mod allocator;
pub mod apart;
pub mod backend;
pub mod certificate;
pub mod epoll;
pub mod listen_error;
pub mod listener;
pub mod pacer;
pub mod proxy_protocol;
pub mod room;
pub mod stream;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
pub mod tls;
pub mod tls_client;
pub mod unix_socket;
pub mod uring;
pub mod watched;
pub mod worker;
