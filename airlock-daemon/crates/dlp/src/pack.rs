//! Packs: files of detectors, as YAML.

use crate::detector::Detector;

/// The detectors of one file.
#[derive(Debug)]
pub struct Pack {
    /// The name that `dlp.packs` switches on.
    pub name: String,
    /// In the order of the file.
    pub detectors: Vec<Detector>,
}

/// Reasons why a pack does not load, with file and line.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct PackError(String);
