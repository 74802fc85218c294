//! The side of servers: transports below, one driver an era above, and the pool that says whose process is
//! whose.

mod advice;
mod backoff;
pub(crate) mod credential;
pub mod era;
pub mod error;
mod hub;
pub mod lists;
mod locked;
pub mod message;
pub mod pool;
pub mod subscription;
mod tool_lists;
pub mod transport;

pub use error::UpstreamError;
