//! The memory of this process is nobody's to look at: it holds the tokens, keys and calls of everybody.

use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};

use super::Failure;

/// From here on the process leaves no core when it dies, and no other process of its user may trace it, read its memory or open
/// what it has open. Root still may.
pub(super) fn close() -> Result<(), Failure> {
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })
        .map_err(|error| format!("core dumps cannot be forbidden: {error}; allow setrlimit"))?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .map_err(|error| format!("the process cannot be closed to others: {error}; allow prctl"))?;
    Ok(())
}
