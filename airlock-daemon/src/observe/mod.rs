//! Logs, metrics, and what systemd is told.

pub mod logging;
pub mod metrics;
pub mod notify;
