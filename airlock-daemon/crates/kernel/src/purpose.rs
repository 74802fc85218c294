//! The purpose for which the kernel's part is set up.

/// The purpose of a kernel half.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// To be in force.
    Serve,
    /// To say what would be.
    Look,
}
