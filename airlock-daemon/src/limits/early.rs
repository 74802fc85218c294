//! The verdict of the early drop on a block.

/// The kernel's part against an address.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Early {
    /// On which interfaces.
    pub interfaces: Vec<String>,
    /// Packets dropped since the block began.
    pub packets: u64,
}
