//! `audit`: what is kept of every call.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::units::{ByteSize, Period};

/// `audit`.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Audit {
    /// Directory of the log's segments.
    pub dir: PathBuf,
    /// True where records also go to journald, where there is one.
    pub journald: bool,
    /// The answer to a store that fails.
    pub on_failure: OnAuditFailure,
    /// How long a request waits while the disk does not keep up, before it is refused with 503: at most a
    /// minute.
    pub wait: Period,
    /// Room that is to stay free on the file system of `dir`, at most a twentieth of it. Below this, refusals
    /// of requests without a good token are counted and not written; below half of it, requests are refused.
    pub reserve: ByteSize,
}

/// `audit.on_failure`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OnAuditFailure {
    /// Buffer a bounded number of records, then refuse calls.
    #[default]
    Buffer,
    /// Refuse calls at once.
    Refuse,
}

impl Default for Audit {
    fn default() -> Self {
        Self {
            dir: PathBuf::from("/var/lib/airlock/audit"),
            journald: true,
            on_failure: OnAuditFailure::Buffer,
            wait: Period::secs(2),
            reserve: ByteSize(256 * 1024 * 1024),
        }
    }
}
