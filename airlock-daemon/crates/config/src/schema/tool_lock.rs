//! `tool_lock`: tools, prompts and resource templates stay what they were.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// `tool_lock`: tools, prompts and resource templates stay what they were.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct ToolLock {
    /// How a definition comes to be trusted.
    pub mode: ToolLockMode,
    /// The file of the locks; `tools.lock` beside `audit.dir` when absent, which is
    /// `/var/lib/airlock/tools.lock`. It is read again on SIGHUP and when it changes. One that Airlock may
    /// only read is obeyed and never added to.
    pub file: Option<PathBuf>,
}

/// `tool_lock.mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ToolLockMode {
    /// Nothing is compared.
    #[default]
    Off,
    /// All that a server lists at its first use is locked as it is. A definition that is new or another
    /// afterwards is held back until somebody approves it, and a tool that is not listed cannot be called.
    TrustFirstUse,
    /// Nothing is offered before somebody has approved it.
    Approve,
}
