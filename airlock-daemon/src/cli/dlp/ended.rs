//! How the command ends.

/// The text passes as it came.
pub(super) const CLEAN: u8 = 0;
/// Something of the text does not pass.
pub(super) const FOUND: u8 = 1;
/// The question was wrong: what was to be read cannot be.
pub(super) const WRONG: u8 = 2;
