//! MCP Airlock: a zero-trust gateway for the Model Context Protocol.
//!
//! The modules follow a call from the socket to the audit record; `pipeline` reads as the list of the checks.

pub mod audit;
pub mod auth;
pub mod cli {
    //! The commands.
    pub mod check;
    //! The command line, one file a command.
    pub mod audit;
    //! One file a command.
    pub mod policy;
/// The commands.
pub mod cli {
    pub mod kernel;
}
pub mod config;
pub mod kernel;
pub mod mcp;
pub mod observe;
pub mod policy;
pub mod runtime;

/// The commands.
pub mod cli {
    pub mod token;
}
