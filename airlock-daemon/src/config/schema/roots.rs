//! `roots`: the virtual file systems.

use serde::{Deserialize, Serialize};

/// `roots[]`.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Root {
    /// A unique name.
    pub name: String,
    /// Where the root really is.
    #[serde(rename = "type")]
    pub kind: RootKind,
    /// The URI prefix that clients see.
    pub r#virtual: String,
    /// The path or `s3://` URL behind it.
    pub real: String,
    /// Whether writes are refused.
    #[serde(default = "yes")]
    pub read_only: bool,
    /// Prefixes below which writes are allowed.
    #[serde(default)]
    pub write_prefixes: Vec<String>,
}

/// `roots[].type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RootKind {
    /// A directory of this host.
    Fs,
    /// An S3 bucket.
    S3,
}

fn yes() -> bool {
    true
}
