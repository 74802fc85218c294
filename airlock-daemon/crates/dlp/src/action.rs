//! Actions: what is done with a finding.

use crate::placeholder;

/// An answer to a finding, from the mildest to the strictest but one that is off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Action {
    /// The detector does not run.
    Off,
    /// It is counted and passes.
    Report,
    /// The last four letters or digits stay.
    Mask,
    /// A keyed digest takes its place, the same for the same text within a tenant.
    Hash,
    /// A placeholder with the detector's name takes its place.
    Redact,
    /// The whole message is refused.
    Block,
}

impl Action {
    /// Parses the name that rules use.
    pub fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "off" => Self::Off,
            "report" => Self::Report,
            "mask" => Self::Mask,
            "hash" => Self::Hash,
            "redact" => Self::Redact,
            "block" => Self::Block,
            _ => return None,
        })
    }

    /// The name that rules use.
    pub fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Report => "report",
            Self::Mask => "mask",
            Self::Hash => "hash",
            Self::Redact => "redact",
            Self::Block => "block",
        }
    }

    /// The text that takes the place of a finding: ASCII that needs no escape in JSON. Nothing where it
    /// stays.
    pub(crate) fn replacement(self, name: &str, found: &str, digest: &Digest<'_>) -> Option<String> {
        match self {
            Self::Off | Self::Report => None,
            Self::Redact | Self::Block => Some(placeholder::naming(name)),
            Self::Hash => Some(placeholder::digesting(name, digest(found.as_bytes()))),
            Self::Mask => Some(placeholder::masking(found)),
        }
    }
}

/// A keyed digest of a finding, whose key is the tenant's.
pub type Digest<'a> = dyn Fn(&[u8]) -> u64 + 'a;
