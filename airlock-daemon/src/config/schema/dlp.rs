//! `dlp`: what must not leave.

use serde::{Deserialize, Serialize};

/// `dlp`.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Dlp {
    /// Detector packs to switch on.
    pub packs: Vec<String>,
    /// Detectors of one's own.
    pub detectors: Vec<Detector>,
}

/// `dlp.detectors[]`.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Detector {
    /// A unique name.
    pub name: String,
    /// A regular expression.
    pub pattern: String,
    /// What happens to a match.
    pub action: DlpAction,
    /// Which way it looks.
    #[serde(default)]
    pub direction: Direction,
}

/// `dlp.detectors[].action`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DlpAction {
    /// Replaced by the detector's name.
    Redact,
    /// All but the last characters are hidden.
    Mask,
    /// Replaced by a keyed digest.
    Hash,
    /// The message is refused.
    Block,
    /// Only recorded.
    Report,
}

/// `dlp.detectors[].direction`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// What clients send.
    Request,
    /// What servers send.
    Response,
    /// Both ways.
    #[default]
    Both,
}
