//! `merged`: the endpoint `/mcp`, where all servers stand together.

use serde::{Deserialize, Serialize};

/// `merged`: the endpoint `/mcp`, where all servers stand together.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Merged {
    /// How tools and prompts are called there.
    pub names: MergedNames,
}

/// `merged.names`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum MergedNames {
    /// `NAME__tool`, whatever the server calls its tool.
    #[default]
    Plain,
    /// The same where APIs of models take it: at most 64 letters, digits, `_` and `-`. Any other name is cut
    /// and ends with a hash of the server's name and the tool's, which is the same after a restart and for
    /// every principal.
    Safe,
}
