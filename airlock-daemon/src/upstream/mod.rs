//! The side of servers: transports below, one driver an era above, and the pool that says whose process is
//! whose.

mod advice;
pub mod ask;
mod asks;
mod backoff;
mod blank;
mod body;
mod breaker;
pub mod connect;
pub mod connections;
mod credential;
pub mod dial_in;
pub mod driver;
pub mod error;
mod exchange;
mod flood;
pub mod frame;
pub mod handle;
pub mod http;
mod hub;
mod intake;
mod left_out;
pub mod legacy;
mod level;
pub mod link;
pub mod listed;
mod listener;
mod long;
pub mod modern;
mod passing;
pub mod pool;
pub mod probe;
pub mod safe_names;
pub mod schemas;
mod secret;
pub mod sse;
mod standalone;
mod stderr;
pub mod stdio;
pub mod subscription;
mod summed;
mod token_endpoint;
pub mod unix;

pub use error::UpstreamError;
