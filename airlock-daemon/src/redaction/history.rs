//! The course that reloads of packs have taken.

use std::time::SystemTime;

use serde::Serialize;

use crate::config::packs::Fault;
use crate::config::schema::DlpMode;

/// The result of a reload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reloaded {
    /// The packs on disk are those in force.
    Same,
    /// The packs on disk are in force now.
    Changed,
}

/// The state of redaction that `airlock status` shows. Times are RFC 3339, in UTC.
#[derive(Debug, Clone, Serialize)]
pub struct RedactionStatus {
    /// `dlp.mode`.
    pub mode: DlpMode,
    /// SHA-256 of the files of `dlp.directory` in force, in hex; none without it.
    pub digest: Option<String>,
    /// Since when they are in force.
    pub loaded_at: String,
    /// The packs, in the order in which they are tried.
    pub packs: Vec<PackStatus>,
    /// How often packs were put in force since the start, the start included.
    pub loaded: u64,
    /// How often packs were refused since the start.
    pub rejections: u64,
    /// The packs on disk are not good, and not those in force.
    pub rejected: Option<Rejected>,
}

/// A pack that is loaded.
#[derive(Debug, Clone, Serialize)]
pub struct PackStatus {
    /// Its name.
    pub name: String,
    /// The file of `dlp.directory` that it is from; none for one that comes with Airlock.
    pub file: Option<String>,
    /// How many detectors it has.
    pub detectors: usize,
    /// True where it is in use.
    pub on: bool,
}

/// Why the packs on disk are not in force.
#[derive(Debug, Clone, Serialize)]
pub struct Rejected {
    /// When they were refused.
    pub at: String,
    /// Where, why, and what to do.
    pub error: String,
}

/// Attempts so far.
#[derive(Debug)]
pub(super) struct History {
    /// When the packs in force took their place.
    pub(super) loaded_at: SystemTime,
    pub(super) rejected: Option<(SystemTime, String)>,
    pub(super) loaded: u64,
    pub(super) rejections: u64,
    /// The files on disk at the last attempt.
    pub(super) tried: Option<Result<[u8; 32], Vec<Fault>>>,
}

impl History {
    /// The start, with packs of these files.
    pub(super) fn new(digest: Option<[u8; 32]>) -> Self {
        Self { loaded_at: SystemTime::now(), rejected: None, loaded: 1, rejections: 0, tried: digest.map(Ok) }
    }
}
