//! MCP Airlock: a zero-trust gateway for the Model Context Protocol.
//!
//! The modules follow a call from the socket to the audit record; [`pipeline`] reads as the list of the
//! checks.

// Both panic where the reader has gone: commands write by `cli::print`, a daemon to its log.
#![warn(clippy::print_stdout, clippy::print_stderr)]

pub use airlock_config as config;
pub use airlock_kernel as kernel;
pub use airlock_mcp as mcp;

pub mod audit;
pub mod auth;
pub mod call;
pub mod cli;
pub mod coding;
pub mod downstream;
pub mod http;
pub mod limits;
pub mod observe;
pub mod pipeline;
pub mod policy;
pub mod redaction;
pub mod runtime;
pub mod stage;
pub mod stops;
pub mod tool_locks;
pub mod upstream;
pub mod wipe;

/// Tests that cannot run here say so in the same way everywhere.
#[cfg(test)]
#[path = "../../tests/src/skip.rs"]
mod skip;
