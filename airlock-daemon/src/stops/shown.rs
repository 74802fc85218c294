//! Stops as an operator is shown them.

use std::time::{Duration, UNIX_EPOCH};

use serde::Serialize;

use super::keeper::Stops;
use super::order::StopOrder;
use super::target::StopTarget;

/// A stop that is in force. Its JSON form is a stable contract: members are added, never renamed or removed.
#[derive(Debug, Clone, Serialize)]
pub struct ShownStop {
    /// For whom, or where.
    pub target: StopTarget,
    /// The same in words.
    pub what: String,
    /// Why; empty where a file gives no reason.
    pub reason: String,
    /// The user who ordered it, or whose the file is; none where the state file cannot be read.
    pub by_uid: Option<u32>,
    /// From when on (RFC 3339).
    pub since: String,
    /// Until when; none where it lasts until it is taken back.
    pub until: Option<String>,
    /// How long it still lasts, in seconds.
    pub remaining_secs: Option<u64>,
}

impl From<&StopOrder> for ShownStop {
    fn from(order: &StopOrder) -> Self {
        let time =
            |secs| humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(secs)).to_string();
        Self {
            target: order.target.clone(),
            what: order.target.to_string(),
            reason: order.reason.clone(),
            by_uid: order.by,
            since: time(order.since),
            until: order.until.map(time),
            remaining_secs: order.left().map(|left| left.as_secs()),
        }
    }
}

impl Stops {
    /// All stops that are in force, those of everything first.
    pub fn shown(&self) -> Vec<ShownStop> {
        self.in_force().all().map(|order| ShownStop::from(&**order)).collect()
    }
}
