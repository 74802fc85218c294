//! Revisions of the protocol, and the two eras they fall into.

use std::fmt;

/// A revision that Airlock speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Revision {
    /// 2024-11-05, over the transport of 2025-03-26: clients whose SDK knows both ask for it there.
    V20241105,
    /// 2025-03-26, the only one with batches here.
    V20250326,
    /// 2025-06-18.
    V20250618,
    /// 2025-11-25, the last with sessions.
    V20251125,
    /// 2026-07-28, the first without.
    V20260728,
}

/// The two kinds of revisions: with sessions and without.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Era {
    /// Up to 2025-11-25: `initialize`, sessions.
    Legacy,
    /// From 2026-07-28: every request stands alone.
    Modern,
}

impl Revision {
    /// All revisions, oldest first.
    pub const ALL: [Self; 5] =
        [Self::V20241105, Self::V20250326, Self::V20250618, Self::V20251125, Self::V20260728];
    /// The newest revision with sessions.
    pub const LATEST_LEGACY: Self = Self::V20251125;
    /// The newest revision.
    pub const LATEST: Self = Self::V20260728;

    /// The revision as written in messages and headers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V20241105 => "2024-11-05",
            Self::V20250326 => "2025-03-26",
            Self::V20250618 => "2025-06-18",
            Self::V20251125 => "2025-11-25",
            Self::V20260728 => "2026-07-28",
        }
    }

    /// Reads a revision; `None` for one that Airlock does not speak.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|revision| revision.as_str() == text)
    }

    /// The era of the revision.
    pub const fn era(self) -> Era {
        match self {
            Self::V20260728 => Era::Modern,
            _ => Era::Legacy,
        }
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
