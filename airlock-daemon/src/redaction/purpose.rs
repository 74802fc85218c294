//! For what a sieve is made: where a message goes, and to what the policy obliges.

use std::sync::Arc;

use airlock_dlp::Detector;

/// For what a sieve is made.
#[derive(Clone, Copy)]
pub struct Purpose<'a> {
    /// The server.
    pub upstream: &'a str,
    /// The tool that is called, by the server's name of it.
    pub tool: Option<&'a str>,
    /// Packs and detectors that the policy obliges to.
    pub obliged: &'a [Arc<str>],
}

/// True for the name of a detector, or of its pack.
pub(super) fn is_of(detector: &Detector, name: &str) -> bool {
    detector.name() == name || detector.spec().pack == name
}
