//! The memory of this process is nobody's to look at: it holds the tokens, keys and calls of everybody.

use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};

use super::failure::Failure;
use crate::kernel::swap_in_reach;

/// From here on the process leaves no core when it dies, and no other process of its user may trace it, read
/// its memory or open what it has open. Root still may.
pub(super) fn close() -> Result<(), Failure> {
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })
        .map_err(|error| format!("core dumps cannot be forbidden: {error}; allow setrlimit"))?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .map_err(|error| format!("the process cannot be closed to others: {error}; allow prctl"))?;
    Ok(())
}

/// Warns where the host may write this memory to its swap: nothing of the process can tell then what is left
/// behind there.
pub(super) fn warn_of_swap() {
    if let Some(swap) = swap_in_reach() {
        tracing::warn!(
            swap,
            "the memory of this process, tokens and keys included, may be written to swap; set MemorySwapMax=0 in the unit, \
             or encrypt the swap"
        );
    }
}
