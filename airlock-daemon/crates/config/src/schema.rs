//! The configuration as types: every key, its safe default, and what it means; a file for each section.
//!
//! The doc comments here are the reference of the configuration file.

mod audit;
mod auth;
mod budget;
mod dlp;
mod kernel;
mod limits;
mod merged;
mod observability;
mod policy;
mod server;
mod shares;
mod tool_lock;
mod upstream;

use serde::{Deserialize, Serialize};

pub use self::audit::*;
pub use self::auth::*;
pub use self::budget::*;
pub use self::dlp::*;
pub use self::kernel::*;
pub use self::limits::*;
pub use self::merged::*;
pub use self::observability::*;
pub use self::policy::*;
pub use self::server::*;
pub use self::shares::*;
pub use self::tool_lock::*;
pub use self::upstream::*;

/// The whole file.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where Airlock listens and how it runs.
    pub server: Server,
    /// The issuers whose tokens are believed.
    pub auth: Auth,
    /// The policy: who may do what.
    pub policy: Policy,
    /// Redaction: what must not pass.
    pub dlp: Dlp,
    /// Quotas.
    pub rate_limiting: RateLimiting,
    /// How much of one tool a principal may have in a day.
    pub budget: DayBudget,
    /// How much there is of what all share, and how much of it one may have.
    pub limits: Shares,
    /// The MCP servers behind this door.
    pub upstreams: Vec<Upstream>,
    /// The locks that keep tools what they were.
    pub tool_lock: ToolLock,
    /// The endpoint `/mcp`, where all servers stand together.
    pub merged: Merged,
    /// The audit log.
    pub audit: Audit,
    /// Logs and metrics.
    pub observability: Observability,
    /// The kernel half.
    pub kernel: Kernel,
}

impl Config {
    /// The file of the tool locks.
    pub fn tool_lock_file(&self) -> std::path::PathBuf {
        self.tool_lock.file.clone().unwrap_or_else(|| self.audit.dir.with_file_name("tools.lock"))
    }

    /// The file that keeps over a restart what an operator has stopped.
    pub fn stops_file(&self) -> std::path::PathBuf {
        self.audit.dir.with_file_name("stops.json")
    }

    /// The file whose being there stops everything: beside the socket of the admin interface.
    pub fn stop_file(&self) -> std::path::PathBuf {
        let socket = self.observability.admin_listen.socket();
        socket.unwrap_or(std::path::Path::new(AdminListen::DEFAULT)).with_file_name("stop")
    }
}
