//! What a server sees: transports below, one driver an era above, and the pool that says whose process is whose.

pub mod driver;
pub mod error;
pub mod frame;
pub mod legacy;
pub mod link;
pub mod modern;
pub mod pool;
pub mod probe;
pub mod stdio;

pub use error::UpstreamError;
