//! MCP Airlock: a zero-trust gateway for the Model Context Protocol.
//!
//! The modules follow a call from the socket to the audit record; `pipeline` reads as the list of the checks.

pub mod audit;
pub mod auth;
/// The commands.
pub mod cli {
    pub mod kernel;
}
pub mod config;
pub mod kernel;
pub mod observe;
pub mod policy;
