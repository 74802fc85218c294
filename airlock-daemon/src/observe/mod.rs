//! Logs, metrics, and what systemd is told.

pub mod escape;
mod escaped;
pub mod logging;
pub mod metrics;
pub mod notify;
mod offload;
pub(crate) mod seldom;
mod sentence;
