//! Hits: places where detectors find something.

use std::cmp::Reverse;
use std::ops::Range;

/// A place where a detector has found something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hit {
    /// The place of the detector in [`Detectors::all`](crate::Detectors::all).
    pub detector: usize,
    /// The part that is to be taken out, in bytes.
    pub range: Range<usize>,
}

impl Hit {
    /// By place; of those that begin together, the longest first.
    pub(crate) fn order(&self) -> (usize, Reverse<usize>, usize) {
        (self.range.start, Reverse(self.range.end), self.detector)
    }
}
