//! The form in which each file has its tests.

/// Tests by the names that packs use.
pub(super) type Checks = &'static [(&'static str, fn(&str) -> bool)];
