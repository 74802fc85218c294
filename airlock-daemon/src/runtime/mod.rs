//! Threads, sockets and time: thread-per-core workers over `io_uring`, with an epoll twin behind the same trait.

pub mod backend;
pub mod epoll;
pub mod listener;
pub mod stream;
#[cfg(test)]
mod tests;
pub mod uring;
pub mod worker;
