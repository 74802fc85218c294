//! One stop.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::target::StopTarget;
use crate::observe::escape::steers;

/// Most stops by order of an operator; one of everything has room besides.
pub const MOST: usize = 1_024;
/// Longest reason of an operator, in characters.
pub const MAX_REASON: usize = 200;

/// A stop. Its JSON form in the state file is a stable contract; times are seconds since the Unix epoch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StopOrder {
    /// For whom, or where.
    pub target: StopTarget,
    /// Why, in the operator's words; clients are told it.
    pub reason: String,
    /// The user who ordered it; none where a file does.
    pub by: Option<u32>,
    /// From when on.
    pub since: u64,
    /// Until when; none where it lasts until it is taken back.
    pub until: Option<u64>,
}

impl StopOrder {
    /// How long it still lasts, where that is known.
    pub fn left(&self) -> Option<Duration> {
        self.until.map(|until| Duration::from_secs(until.saturating_sub(now())))
    }

    /// True once its time is over.
    pub fn is_over(&self, now: u64) -> bool {
        self.until.is_some_and(|until| until <= now)
    }
}

/// True for a reason that may be given.
pub(super) fn is_reason(text: &str) -> bool {
    !text.trim().is_empty() && text.chars().count() <= MAX_REASON && !text.contains(steers)
}

/// Seconds since the Unix epoch.
pub(super) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
