//! `dlp`: what must not pass, in either direction.

use std::path::PathBuf;

use airlock_dlp::Action;
use serde::{Deserialize, Serialize};

/// `dlp`: what is taken out of messages, and what stops them. Every text and every number of a message is
/// looked at, in both directions, whatever way it is spelled.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Dlp {
    /// The fate of a finding: something is done, or it is only counted.
    pub mode: DlpMode,
    /// The packs of detectors that are in use, `secrets` and `payment` by default. `pii` is another one that
    /// comes with Airlock; packs of one's own are named here too.
    pub packs: Vec<String>,
    /// The regions whose own form of telephone numbers is looked for, as codes of ISO 3166-1 (`US`); without
    /// any they are those that the packs name. The international form is looked for in any case.
    pub phone_regions: Vec<String>,
    /// A directory with packs of one's own, a file `*.yaml` each. One with the name of a pack that comes with
    /// Airlock takes its place. None by default.
    pub directory: Option<PathBuf>,
    /// The action on what is found in what goes to a server.
    pub request: DlpAction,
    /// The action on what is found in what a server says.
    pub response: DlpAction,
    /// Actions for some detectors, servers or tools: the first rule that fits decides.
    pub rules: Vec<DlpRule>,
    /// Single detectors of one's own.
    pub detectors: Vec<DlpDetector>,
    /// The fate of images, audio and all other content that is no text.
    pub binary: DlpBinary,
    /// A file with the key of the action `hash`: an absolute path, or the name of a systemd credential. With
    /// it a text has the same digest after a restart; by default the key is made at the start and kept
    /// nowhere.
    pub hash_key_file: Option<PathBuf>,
}

/// `dlp.mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DlpMode {
    /// Actions are carried out.
    #[default]
    Enforce,
    /// Findings are counted (`redactions` on record, `airlock_redactions_total`), and every message passes as
    /// it came.
    Report,
    /// Nothing is looked at. A call that the policy obliges to be redacted is refused.
    Off,
}

/// An action on a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DlpAction {
    /// `[redacted:DETECTOR]` takes its place.
    #[default]
    Redact,
    /// Its last four letters or digits stay, behind `****`.
    Mask,
    /// `[DETECTOR:DIGEST]` takes its place: the same for the same text within a tenant, never across.
    Hash,
    /// The message is refused.
    Block,
    /// It is counted and passes.
    Report,
    /// It is not looked for.
    Off,
}

/// `dlp.rules`: everything but `action` says for what the rule is; what is left out fits anything.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct DlpRule {
    /// A detector.
    pub detector: Option<String>,
    /// All detectors of a pack.
    pub pack: Option<String>,
    /// The direction: towards the server, or from it.
    pub direction: Option<DlpDirection>,
    /// An upstream; `*` stands for any text.
    pub upstream: Option<String>,
    /// A tool, by the name that its server gives it; `*` stands for any text. Fits calls of tools only.
    pub tool: Option<String>,
    /// The action.
    pub action: DlpAction,
}

/// A direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DlpDirection {
    /// From clients: arguments, and answers to what servers ask.
    Request,
    /// From servers: results, errors, notifications, questions, lists.
    Response,
}

/// `dlp.detectors`: a detector that is not worth a pack.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct DlpDetector {
    /// Its name in placeholders, records and rules: lower case letters, digits and dashes.
    pub name: String,
    /// A regular expression (`docs.rs/regex`). Its group `secret`, if it has one, is what is taken out. Every
    /// match has a literal of three characters, four digits or an `@`.
    pub pattern: String,
    /// A match stands alone: no letter, digit or underscore touches it. True by default.
    #[serde(default = "yes")]
    pub word: bool,
    /// The action, where it is another than that of the direction.
    pub action: Option<DlpAction>,
    /// The direction that it is for; both by default.
    pub direction: Option<DlpDirection>,
}

/// `dlp.binary`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DlpBinary {
    /// It passes: nothing is looked for in it.
    #[default]
    Pass,
    /// The message is refused.
    Refuse,
}

impl DlpAction {
    /// The same, as the scanner knows it.
    pub const fn action(self) -> Action {
        match self {
            Self::Redact => Action::Redact,
            Self::Mask => Action::Mask,
            Self::Hash => Action::Hash,
            Self::Block => Action::Block,
            Self::Report => Action::Report,
            Self::Off => Action::Off,
        }
    }
}

impl DlpDirection {
    /// The word for it in rules, records and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Response => "response",
        }
    }
}

fn yes() -> bool {
    true
}

impl Default for Dlp {
    fn default() -> Self {
        Self {
            mode: DlpMode::Enforce,
            packs: ["secrets", "payment"].map(str::to_owned).to_vec(),
            phone_regions: Vec::new(),
            directory: None,
            request: DlpAction::Redact,
            response: DlpAction::Redact,
            rules: Vec::new(),
            detectors: Vec::new(),
            binary: DlpBinary::Pass,
            hash_key_file: None,
        }
    }
}
