//! Logs, metrics, and what systemd is told.

pub mod denials;
pub mod escape;
pub mod logging;
pub mod metrics;
pub mod notify;
mod offload;
